package deflate

import (
	"fmt"
	"math/bits"
)

// Encoder compresses blocks of data. It may be reused, by one goroutine at a time. The output for a block does not
// depend on earlier blocks.
type Encoder struct {
	p      params
	m      matcher
	copied []byte // dictionary and block, if the caller passed them separately
	buf    []byte // dictionary and block
	tokens []uint32
	stats  splitter
	w      bitWriter
	blocks blockWriter
	missed int // consecutive positions without a match
}

// A token is a literal, or a match: matchFlag, the length minus 3 in eight bits, the distance minus 1 in 15 bits.
const (
	matchFlag   = 1 << 31
	lengthShift = 16
)

const (
	// maxTokens is the most tokens of a block: enough for the codes to pay off, few enough for them to fit the data.
	maxTokens = 1 << 15
	// slowPatience is the number of consecutive positions without a match after which only every second position is tried;
	// after twice that, every third, and so on. So compressed data is passed quickly, but its positions are still
	// inserted.
	slowPatience = 256
	// maxStep bounds the distance between tried positions.
	maxStep = 16
	// minTokens is the least number of tokens between two checks for changed statistics.
	minTokens = 1500
)

// NewEncoder returns an encoder for a level from [MinLevel] to [MaxLevel].
func NewEncoder(level int) (*Encoder, error) {
	if level < MinLevel || level > MaxLevel {
		return nil, fmt.Errorf("gzip has the levels %d to %d, not %d", MinLevel, MaxLevel, level)
	}
	return &Encoder{p: levels[level], tokens: make([]uint32, 0, maxTokens+maxStep)}, nil
}

// AppendBlock compresses src and appends the result to dst. dict is the data before src in the stream; only its last 32
// KiB are used. If final is set, the stream ends after src. Otherwise the result ends at a byte boundary, so that the
// next block can follow.
func (e *Encoder) AppendBlock(dst, dict, src []byte, final bool) []byte {
	dict = dict[max(0, len(dict)-windowSize):]
	e.copied = append(append(e.copied[:0], dict...), src...)
	return e.appendBlock(dst, e.copied, len(dict), final)
}

// appendBlock is AppendBlock for a block in one buffer with its dictionary, which ends at start.
func (e *Encoder) appendBlock(dst, data []byte, start int, final bool) []byte {
	e.m.reset()
	e.buf, e.w = data, bitWriter{out: dst}
	if e.p.fast {
		e.compressFast(start)
	} else {
		e.compress(start)
	}
	if final {
		// Write an empty block with fixed codes: three bits of header and seven of its end.
		e.w.put(1|1<<1, 10)
		e.w.align()
	} else {
		e.w.stored(nil, false)
	}
	out := e.w.out
	e.buf, e.w = nil, bitWriter{} // do not keep the caller's buffers
	return out
}

// compress writes the data of buf from start as blocks, none of them the last.
func (e *Encoder) compress(start int) {
	buf := e.buf
	end := len(buf) - 4 // after it no hash can be computed
	e.m.insert(buf, 0, min(start, end))
	blockStart := start
	e.tokens = e.tokens[:0]
	e.stats.reset()
	e.missed = 0
	for pos := start; pos < len(buf); {
		pos = e.next(pos, end)
		if len(e.tokens) >= maxTokens-1 || len(e.tokens) >= e.stats.due && e.stats.changed(len(e.tokens)) {
			e.blocks.write(&e.w, e.tokens, buf[blockStart:pos])
			e.tokens, blockStart = e.tokens[:0], pos
			e.stats.reset()
		}
	}
	if len(e.tokens) > 0 {
		e.blocks.write(&e.w, e.tokens, buf[blockStart:])
	}
}

// next emits the tokens from pos up to and including one match, and returns where that ends.
func (e *Encoder) next(pos, end int) int {
	buf := e.buf
	if pos >= end {
		e.literal(buf[pos])
		return pos + 1
	}
	length, dist := e.m.insertFind(buf, pos, 0, e.p.chain, &e.p)
	if dist == 0 {
		e.missed++
		to := min(pos+1+e.missed/slowPatience, pos+maxStep, end)
		for _, b := range buf[pos:to] {
			e.literal(b)
		}
		e.m.insert(buf, pos+1, to)
		return to
	}
	e.missed = 0
	for length < e.p.lazy && pos+1 < end {
		chain := e.p.chain / 2
		if length >= e.p.good {
			chain = e.p.chain / 4
		}
		l2, d2 := e.m.insertFind(buf, pos+1, length-1, chain, &e.p)
		if d2 == 0 || 4*(l2-length)+distanceGain(dist, d2) <= 2 {
			// The next match is not better. The position after this one is inserted already.
			e.match(length, dist)
			return e.skip(pos+2, pos+length, end)
		}
		e.literal(buf[pos])
		pos, length, dist = pos+1, l2, d2
	}
	e.match(length, dist)
	return e.skip(pos+1, pos+length, end)
}

// distanceGain returns approximately how many bits a nearer match saves.
func distanceGain(from, to int) int { return bits.Len(uint(from)) - bits.Len(uint(to)) }

// skip inserts the positions of a range, or only those at its ends if it is long, and returns its end.
func (e *Encoder) skip(from, to, end int) int {
	if to-from > 2*e.p.edge {
		e.m.insert(e.buf, from, min(from+e.p.edge, end))
		from = to - e.p.edge
	}
	e.m.insert(e.buf, from, min(to, end))
	return to
}

func (e *Encoder) literal(b byte) {
	e.tokens = append(e.tokens, uint32(b))
	e.stats.seen[b>>5&0x6|b&1]++
}

func (e *Encoder) match(length, dist int) {
	e.tokens = append(e.tokens, matchFlag|uint32(length-minMatch)<<lengthShift|uint32(dist-1))
	class := 8
	if length >= 9 {
		class = 9
	}
	e.stats.seen[class]++
}

// splitter counts the kinds of tokens in a block and detects when the latest ones differ from those before.
type splitter struct {
	seen [10]uint32 // since the last check: literals by three of their bits, short and long matches
	old  [10]uint32 // before the last check
	sum  int        // number of tokens in before
	due  int        // number of tokens at which to check again
}

// look is how many tokens are counted between two checks.
const look = 256

func (s *splitter) reset() { *s = splitter{due: look} }

// changed reports whether a new block should begin after a number of tokens.
func (s *splitter) changed(tokens int) bool {
	s.due = tokens + look
	n := tokens - s.sum
	if s.sum > 0 {
		// This is the distance of the two distributions, scaled by both numbers of tokens.
		delta := 0
		for i := range s.seen {
			expected, actual := int(s.old[i])*n, int(s.seen[i])*s.sum
			delta += max(expected, actual) - min(expected, actual)
		}
		// The longer the block, the smaller a change ends it.
		if tokens >= minTokens && delta+tokens/4096*s.sum >= n*220/512*s.sum {
			return true
		}
	}
	for i := range s.seen {
		s.old[i] += s.seen[i]
		s.seen[i] = 0
	}
	s.sum = tokens
	return false
}
