package deflate

import (
	"encoding/binary"
	"math/bits"
)

const (
	hashBits  = 15
	hash3Bits = 12
)

// matcher finds earlier occurrences of the next bytes. Positions are indices of the buffer plus one; zero means none.
type matcher struct {
	head  [1 << hashBits]int32  // last position with a hash of four bytes
	head3 [1 << hash3Bits]int32 // last position with a hash of three bytes
	back  [windowSize]uint16    // distance to the previous position with the same hash; 0 for none or too far
}

func (m *matcher) reset() {
	clear(m.head[:])
	clear(m.head3[:])
}

func load32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i : i+4 : i+4]) }

func hash4(v uint32) uint32 { return v * 0x9e3779b1 >> (32 - hashBits) }

func hash3(v uint32) uint32 { return v << 8 * 0x85ebca6b >> (32 - hash3Bits) }

// distance16 is a distance that fits the window, or 0.
func distance16(d int) uint16 {
	if d > windowSize {
		return 0
	}
	return uint16(d)
}

// insert inserts the positions of a range; at least four bytes follow the last one. Inside matches only hashes of four
// bytes are inserted, since short matches there rarely pay off.
func (m *matcher) insert(buf []byte, from, to int) {
	if from >= to {
		return
	}
	_ = buf[to+2]
	for pos := from; pos < to; pos++ {
		h := hash4(load32(buf, pos))
		old := m.head[h]
		m.head[h] = int32(pos + 1)
		m.back[pos&(windowSize-1)] = distance16(pos + 1 - int(old))
	}
}

// insertFind inserts a position and finds the longest match there. It returns the length and distance of the match, or
// best and 0 if none is longer than best.
func (m *matcher) insertFind(buf []byte, pos, best, chain int, p *params) (length, dist int) {
	v := load32(buf, pos)
	h, h3 := hash4(v), hash3(v)
	cand, cand3 := int(m.head[h]), int(m.head3[h3])
	m.head[h], m.head3[h3] = int32(pos+1), int32(pos+1)
	m.back[pos&(windowSize-1)] = distance16(pos + 1 - cand)
	limit := max(pos+1-windowSize, 1) // no candidate is before this position

	if best < minMatch {
		best = minMatch
		if cand3 > 0 && pos+1-cand3 <= p.far3 && (load32(buf, cand3-1)^v)<<8 == 0 {
			dist = pos + 1 - cand3
		}
	}
	length = best
	limitLen := min(maxMatch, len(buf)-pos)
	if limitLen <= length || cand < limit {
		return length, dist
	}
	tail := load32(buf, pos+length-3)
	for {
		if load32(buf, cand+length-4) == tail && load32(buf, cand-1) == v {
			if n := extend(buf[cand-1:], buf[pos:pos+limitLen]); n > length {
				length, dist = n, pos+1-cand
				if n >= p.nice || n == limitLen {
					break
				}
				tail = load32(buf, pos+n-3)
			}
		}
		back := int(m.back[(cand-1)&(windowSize-1)])
		cand -= back
		if chain--; back == 0 || chain <= 0 || cand < limit {
			break
		}
	}
	return length, dist
}

// extend returns the length of the common prefix of a and b. It must be at least four, and b must not be longer than a.
func extend(a, b []byte) int {
	n := 4
	a = a[:len(b)]
	for ; n+8 <= len(b); n += 8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
	}
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
