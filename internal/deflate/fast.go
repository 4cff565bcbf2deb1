package deflate

const (
	// fastTokens is the number of tokens of a block at the fast level, which does not look for a better place to end it.
	fastTokens = 12 << 10
	// patience is the number of consecutive positions without a match after which only every second position is tried;
	// after twice that, every third, and so on.
	patience = 32
)

// compressFast is compress for the lowest level. It tries one candidate for a position, uses the first match, and skips
// positions after a long time without a match.
func (e *Encoder) compressFast(start int) {
	buf, head := e.buf, &e.m.head
	end := len(buf) - 4
	for pos := 0; pos < min(start, end); pos++ {
		head[hash4(load32(buf, pos))] = int32(pos + 1)
	}
	e.tokens = e.tokens[:0]
	tokens := e.tokens[:cap(e.tokens)]
	n, blockStart, missed := 0, start, 0
	pos := start
	for pos < end {
		v := load32(buf, pos)
		h := hash4(v)
		cand := int(head[h])
		head[h] = int32(pos + 1)
		if cand > 0 && pos+1-cand <= windowSize && load32(buf, cand-1) == v {
			length := extend(buf[cand-1:], buf[pos:pos+min(maxMatch, len(buf)-pos)])
			tokens[n] = matchFlag | uint32(length-minMatch)<<lengthShift | uint32(pos-cand)
			n++
			if next := pos + length; next < end {
				head[hash4(load32(buf, pos+1))] = int32(pos + 2)
				head[hash4(load32(buf, next-1))] = int32(next)
			}
			pos, missed = pos+length, 0
		} else {
			step := min(1+missed/patience, maxStep, end-pos)
			for _, b := range buf[pos : pos+step] {
				tokens[n] = uint32(b)
				n++
			}
			pos, missed = pos+step, missed+1
		}
		if n >= fastTokens {
			e.blocks.write(&e.w, tokens[:n], buf[blockStart:pos])
			n, blockStart = 0, pos
		}
	}
	for _, b := range buf[pos:] {
		tokens[n] = uint32(b)
		n++
	}
	if n > 0 {
		e.blocks.write(&e.w, tokens[:n], buf[blockStart:])
	}
}
