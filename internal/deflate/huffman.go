package deflate

import (
	"math/bits"
	"slices"
)

// code is a prefix code: for each symbol its bits, lowest first, and their number.
type code struct {
	bits [288]uint16
	len  [288]uint8
}

// huffman makes a code for n symbols of at most maxBits bits from their frequencies. It is optimal if the limit does
// not apply. A symbol that does not occur has no code; a single symbol gets a code of one bit.
type huffman struct {
	order []uint64 // frequency<<16 | symbol, of symbols that occur
	work  []uint32
}

func (h *huffman) build(c *code, freq []uint32, maxBits int) {
	h.order = h.order[:0]
	for s, f := range freq {
		c.len[s] = 0
		if f > 0 {
			h.order = append(h.order, uint64(f)<<16|uint64(s))
		}
	}
	switch len(h.order) {
	case 0:
		return
	case 1:
		s := int(h.order[0] & 0xffff)
		c.len[s], c.bits[s] = 1, 0
		return
	}
	slices.Sort(h.order)
	counts := h.lengths(maxBits)
	// The rarest symbols get the longest codes.
	i := 0
	for n := maxBits; n > 0; n-- {
		for range counts[n] {
			c.len[h.order[i]&0xffff] = uint8(n)
			i++
		}
	}
	assign(c, len(freq), &counts)
}

// lengths returns the number of codes of each length, for the symbols in order. The tree is built in place: first the
// weights of inner nodes, then their parents, then depths (Moffat and Katajainen). Codes that are too long are then
// shortened at the cost of the longest of the others.
func (h *huffman) lengths(maxBits int) (counts [16]int) {
	n := len(h.order)
	if cap(h.work) < n {
		h.work = make([]uint32, n)
	}
	a := h.work[:n]
	for i, o := range h.order {
		a[i] = uint32(o >> 16)
	}
	a[0] += a[1]
	root, leaf := 0, 2
	for next := 1; next < n-1; next++ {
		if leaf >= n || a[root] < a[leaf] {
			a[next], a[root] = a[root], uint32(next)
			root++
		} else {
			a[next] = a[leaf]
			leaf++
		}
		if leaf >= n || root < next && a[root] < a[leaf] {
			a[next] += a[root]
			a[root] = uint32(next)
			root++
		} else {
			a[next] += a[leaf]
			leaf++
		}
	}
	a[n-2] = 0
	for next := n - 3; next >= 0; next-- {
		a[next] = a[a[next]] + 1
	}
	// Count leaves by depth.
	available, used, depth := 1, 0, 0
	next := n - 2
	for available > 0 {
		for next >= 0 && int(a[next]) == depth {
			used++
			next--
		}
		leaves := available - used
		counts[min(depth, maxBits)] += leaves
		available, used = 2*used, 0
		depth++
	}
	limit(&counts, maxBits)
	return counts
}

// limit makes the lengths fit. While the codes need more room than there is, it moves one of the longest codes up
// beside a shorter one, which becomes one bit longer.
func limit(counts *[16]int, maxBits int) {
	room := 0
	for n := 1; n <= maxBits; n++ {
		room += counts[n] << (maxBits - n)
	}
	for room > 1<<maxBits {
		n := maxBits - 1
		for counts[n] == 0 {
			n--
		}
		counts[n]--
		counts[n+1] += 2
		counts[maxBits]--
		room--
	}
}

// assign numbers the codes of each length in the order of the symbols (RFC 1951, section 3.2.2).
func assign(c *code, n int, counts *[16]int) {
	var next [16]uint16
	value := 0
	for l := 1; l < 16; l++ {
		value = (value + counts[l-1]) << 1
		next[l] = uint16(value)
	}
	for s := range n {
		if l := c.len[s]; l > 0 {
			c.bits[s] = bits.Reverse16(next[l]) >> (16 - l)
			next[l]++
		}
	}
}

// cost returns the size in bits of the symbols with the code.
func (c *code) cost(freq []uint32) int {
	total := 0
	for s, f := range freq {
		total += int(f) * int(c.len[s])
	}
	return total
}
