package deflate

import (
	"encoding/binary"
	"slices"
)

// blockWriter writes blocks in the cheapest of the three forms.
type blockWriter struct {
	huff         huffman
	litLen, dist code
	meta         code
	litFreq      [numLitLen]uint32
	distFreq     [numDist]uint32
	metaFreq     [19]uint32
	lengths      []uint8 // code lengths of both alphabets, one after the other
	out          tokenWriter
	runs         []uint16 // the same, run-length coded: symbol, with its extra bits from bit 5
}

// metaOrder is the order in which the code length code lengths are written.
var metaOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

var fixedLitLen, fixedDist = fixedCodes()

// fixedCodes are the fixed codes of RFC 1951, section 3.2.6.
func fixedCodes() (litLen, dist *code) {
	litLen, dist = &code{}, &code{}
	var counts [16]int
	for s := range 288 {
		n := uint8(8)
		switch {
		case s >= 280:
		case s >= 256:
			n = 7
		case s >= 144:
			n = 9
		}
		litLen.len[s] = n
		counts[n]++
	}
	assign(litLen, 288, &counts)
	for s := range 30 {
		dist.len[s] = 5
	}
	assign(dist, 30, &[16]int{5: 32})
	return litLen, dist
}

// write writes a block that is not the last. raw is the data that the tokens represent.
func (b *blockWriter) write(w *bitWriter, tokens []uint32, raw []byte) {
	b.count(tokens)
	b.huff.build(&b.litLen, b.litFreq[:], maxCodeBits)
	b.huff.build(&b.dist, b.distFreq[:], maxCodeBits)
	headerBits, numLit, numDst, numMeta := b.header()

	extra := 0
	for c := range lengthExtra {
		extra += int(b.litFreq[257+c]) * int(lengthExtra[c])
	}
	for c := range distExtra {
		extra += int(b.distFreq[c]) * int(distExtra[c])
	}
	dynamic := headerBits + b.litLen.cost(b.litFreq[:]) + b.dist.cost(b.distFreq[:]) + extra
	fixed := fixedLitLen.cost(b.litFreq[:]) + fixedDist.cost(b.distFreq[:]) + extra
	stored := 8*len(raw) + 40*(len(raw)/0xffff+1)
	switch {
	case stored < dynamic && stored < fixed:
		w.flush()
		w.stored(raw, false)
	case fixed <= dynamic:
		w.put(1<<1, 3)
		w.flush()
		b.tokens(w, tokens, fixedLitLen, fixedDist, fixed)
	default:
		w.put(2<<1, 3)
		w.put(uint64(numLit-257), 5)
		w.put(uint64(numDst-1), 5)
		w.put(uint64(numMeta-4), 4)
		w.flush()
		b.writeHeader(w, numMeta)
		b.tokens(w, tokens, &b.litLen, &b.dist, dynamic)
	}
}

func (b *blockWriter) tokens(w *bitWriter, tokens []uint32, litLen, dist *code, size int) {
	b.out.prepare(litLen, dist)
	b.out.write(w, tokens, packed(litLen.bits[endOfBlock])|packed(litLen.len[endOfBlock])<<32, size)
}

func (b *blockWriter) count(tokens []uint32) {
	clear(b.litFreq[:])
	clear(b.distFreq[:])
	for _, t := range tokens {
		if t < matchFlag {
			b.litFreq[t&0xff]++
			continue
		}
		b.litFreq[257+int(lengthCode[uint8(t>>lengthShift)])]++
		b.distFreq[distCode(t&(windowSize-1))]++
	}
	b.litFreq[endOfBlock] = 1
}

// header prepares the description of the codes. It returns its size in bits and the three counts at its start.
func (b *blockWriter) header() (bits, numLit, numDst, numMeta int) {
	numLit, numDst = numLitLen, numDist
	for numLit > 257 && b.litLen.len[numLit-1] == 0 {
		numLit--
	}
	for numDst > 1 && b.dist.len[numDst-1] == 0 {
		numDst--
	}
	b.lengths = append(append(b.lengths[:0], b.litLen.len[:numLit]...), b.dist.len[:numDst]...)
	b.runLengths()
	b.huff.build(&b.meta, b.metaFreq[:], maxMetaBits)
	numMeta = len(metaOrder)
	for numMeta > 4 && b.meta.len[metaOrder[numMeta-1]] == 0 {
		numMeta--
	}
	bits = 3 + 5 + 5 + 4 + 3*numMeta + b.meta.cost(b.metaFreq[:]) +
		2*int(b.metaFreq[16]) + 3*int(b.metaFreq[17]) + 7*int(b.metaFreq[18])
	return bits, numLit, numDst, numMeta
}

// runLengths codes the lengths with the symbols for repetition (RFC 1951, section 3.2.7).
func (b *blockWriter) runLengths() {
	clear(b.metaFreq[:])
	b.runs = b.runs[:0]
	emit := func(symbol, extra int) {
		b.runs = append(b.runs, uint16(symbol|extra<<5))
		b.metaFreq[symbol]++
	}
	for i := 0; i < len(b.lengths); {
		v := b.lengths[i]
		run := 1
		for i+run < len(b.lengths) && b.lengths[i+run] == v {
			run++
		}
		i += run
		if v == 0 {
			for run >= 11 {
				n := min(run, 138)
				emit(18, n-11)
				run -= n
			}
			if run >= 3 {
				emit(17, run-3)
				run = 0
			}
		} else if run >= 4 {
			emit(int(v), 0)
			for run--; run >= 3; {
				n := min(run, 6)
				emit(16, n-3)
				run -= n
			}
		}
		for ; run > 0; run-- {
			emit(int(v), 0)
		}
	}
}

func (b *blockWriter) writeHeader(w *bitWriter, numMeta int) {
	for _, s := range metaOrder[:numMeta] {
		w.put(uint64(b.meta.len[s]), 3)
		w.flush()
	}
	extraBits := [19]uint{16: 2, 17: 3, 18: 7}
	for _, r := range b.runs {
		s := r & 31
		w.put(uint64(b.meta.bits[s]), uint(b.meta.len[s]))
		w.put(uint64(r>>5), extraBits[s])
		w.flush()
	}
}

// packed is a code with its extra bits: the bits, and their number from bit 32.
type packed uint64

// tokenWriter writes the tokens of a block. Its tables have the code of every literal, length and distance.
type tokenWriter struct {
	literal [256]packed
	length  [256]packed // by length minus 3, extra bits included
	dist    [numDist]packed
}

func (t *tokenWriter) prepare(litLen, dist *code) {
	for s := range t.literal {
		t.literal[s] = packed(litLen.bits[s]) | packed(litLen.len[s])<<32
	}
	for n := range t.length {
		c := lengthCode[n]
		s := 257 + int(c)
		extra := packed(n) - packed(lengthBase[c])
		t.length[n] = packed(litLen.bits[s]) | extra<<litLen.len[s] | packed(litLen.len[s]+lengthExtra[c])<<32
	}
	for c := range t.dist {
		t.dist[c] = packed(dist.bits[c]) | packed(dist.len[c])<<32
	}
}

// write writes tokens and the end of the block. size is at least their size in bits.
func (t *tokenWriter) write(w *bitWriter, tokens []uint32, end packed, size int) {
	w.out = slices.Grow(w.out, size/8+16)
	out, n := w.out[:cap(w.out)], len(w.out)
	acc, have := w.acc, w.have&63
	for _, token := range tokens {
		// There is room for a match, which takes up to 48 bits, since fewer than 16 bits are pending.
		if token < matchFlag {
			p := t.literal[token&0xff]
			acc |= uint64(uint32(p)) << (have & 63)
			have += uint(p >> 32)
			if have < 16 {
				continue
			}
		} else {
			p := t.length[uint8(token>>lengthShift)]
			acc |= uint64(uint32(p)) << (have & 63)
			have += uint(p >> 32)
			d := token & (windowSize - 1)
			c := distCode(d)
			p = t.dist[c]
			acc |= uint64(uint32(p)) << (have & 63)
			have += uint(p >> 32)
			acc |= uint64(d-uint32(distBase[c])) << (have & 63)
			have += uint(distExtra[c])
		}
		binary.LittleEndian.PutUint64(out[n:n+8], acc)
		n += int(have >> 3)
		acc >>= have &^ 7 & 63
		have &= 7
	}
	w.out, w.acc, w.have = out[:n], acc, have
	w.put(uint64(uint32(end)), uint(end>>32))
	w.flush()
}
