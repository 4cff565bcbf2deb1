package inflate

import "encoding/binary"

// fixed sets the tables to the fixed codes (RFC 1951, section 3.2.6).
func (d *decoder) fixed() {
	var lengths [288]uint8
	for s := range lengths {
		switch {
		case s < 144 || s >= 280:
			lengths[s] = 8
		case s < 256:
			lengths[s] = 9
		default:
			lengths[s] = 7
		}
	}
	fill(d.lit[:], litBits, lengths[:], litSymbols[:])
	for s := range distSymbols {
		lengths[s] = 5
	}
	fill(d.dist[:], distBits, lengths[:len(distSymbols)], distSymbols[:])
}

// metaOrder is the order in which the code length code lengths are stored.
var metaOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the codes of a block (RFC 1951, section 3.2.7).
func (d *decoder) dynamic() error {
	d.need()
	numLit, numDist, numMeta := 257+d.take(5), 1+d.take(5), 4+d.take(4)
	if d.overrun() {
		return d.missing()
	}
	if numLit > maxLitLen || numDist > maxDist {
		return d.corrupt()
	}
	var metaLengths [len(metaOrder)]uint8
	for _, s := range metaOrder[:numMeta] {
		d.need()
		metaLengths[s] = uint8(d.take(3))
		if d.overrun() {
			return d.missing()
		}
	}
	if !fill(d.meta[:], metaBits, metaLengths[:], metaSymbols[:]) {
		return d.corrupt()
	}
	lengths := d.lengths[:numLit+numDist]
	for i := 0; i < len(lengths); {
		d.need()
		e := d.meta[d.acc&(1<<metaBits-1)]
		d.take(uint(e & 0xff))
		s, times, value := uint8(e>>16), 1, uint8(0)
		switch {
		case e&entryOther != 0 || s == 16 && i == 0:
			if d.overrun() {
				return d.missing()
			}
			return d.corrupt()
		case s < 16:
			value = s
		case s == 16:
			value, times = lengths[i-1], 3+d.take(2)
		case s == 17:
			times = 3 + d.take(3)
		default:
			times = 11 + d.take(7)
		}
		if d.overrun() {
			return d.missing()
		}
		if times > len(lengths)-i {
			return d.corrupt()
		}
		for ; times > 0; times-- {
			lengths[i] = value
			i++
		}
	}
	if !fill(d.lit[:], litBits, lengths[:numLit], litSymbols[:]) ||
		!fill(d.dist[:], distBits, lengths[numLit:], distSymbols[:]) {
		return d.corrupt()
	}
	return nil
}

// codes decodes symbols until the block ends or there is no room for more output.
func (d *decoder) codes() error {
	for d.state == inCodes && d.op < len(d.out)-slack {
		d.fill(ahead)
		if left := d.end - d.ip; left >= ahead {
			if !d.symbols(d.end - ahead) {
				return d.corrupt()
			}
			continue
		}
		// The input ends soon: output decoded from bits beyond its end is invalid.
		op := d.op
		ok := d.symbols(-1)
		if d.overrun() {
			d.op = op
			return d.missing()
		}
		if !ok {
			return d.corrupt()
		}
	}
	return nil
}

// symbols decodes steps of up to three literals and a match, or the end of the block. It decodes at least one step, and
// more while at most lastIP of the input is consumed and there is room. It reports false for an invalid code, or a
// distance that reaches before the output.
//
// After the accumulator was filled to 56 bits, it has three codes of the first table, 33 bits, and a code with a second
// lookup and a length's extra bits, 20 bits. After it was filled again, it has the 28 bits of a distance.
func (d *decoder) symbols(lastIP int) bool {
	var (
		in, out = d.in, d.out
		lastOP  = len(out) - slack - 1
		acc, n  = d.acc, d.n
		ip, op  = d.ip, d.op
		ok      = true
	)
	for {
		acc |= binary.LittleEndian.Uint64(in[ip:ip+8:ip+8]) << (n & 63)
		ip += int(63-n) >> 3
		n |= 56
		e := d.lit[acc&(1<<litBits-1)]
		if e >= entryLiteral {
			out[op] = byte(e >> 16)
			op++
			acc >>= e & 63
			n -= uint(e & 63)
			if e = d.lit[acc&(1<<litBits-1)]; e >= entryLiteral {
				out[op] = byte(e >> 16)
				op++
				acc >>= e & 63
				n -= uint(e & 63)
				if e = d.lit[acc&(1<<litBits-1)]; e >= entryLiteral {
					out[op] = byte(e >> 16)
					op++
					acc >>= e & 63
					n -= uint(e & 63)
					if ip <= lastIP && op <= lastOP {
						continue
					}
					break
				}
			}
		}
		if e&entryOther != 0 {
			if e&entryMore != 0 {
				acc >>= litBits
				n -= litBits
				e = d.lit[e>>16+uint32(acc)&(1<<(e>>8&15)-1)]
			}
			if e >= entryLiteral {
				out[op] = byte(e >> 16)
				op++
				acc >>= e & 63
				n -= uint(e & 63)
				if ip <= lastIP && op <= lastOP {
					continue
				}
				break
			}
			if e&entryOther != 0 {
				acc >>= e & 63
				n -= uint(e & 63)
				if ok = e&entryEnd != 0; ok {
					d.state = atBlock
				}
				break
			}
		}
		length := int(e>>16) + int(acc&(1<<(e&63)-1)>>(e>>8&15))
		acc >>= e & 63
		n -= uint(e & 63)

		acc |= binary.LittleEndian.Uint64(in[ip:ip+8:ip+8]) << (n & 63)
		ip += int(63-n) >> 3
		n |= 56
		e = d.dist[acc&(1<<distBits-1)]
		if e&entryOther != 0 {
			if e&entryMore != 0 {
				acc >>= distBits
				n -= distBits
				e = d.dist[e>>16+uint32(acc)&(1<<(e>>8&15)-1)]
			}
			if e&entryOther != 0 {
				ok = false
				break
			}
		}
		dist := int(e>>16) + int(acc&(1<<(e&63)-1)>>(e>>8&15))
		acc >>= e & 63
		n -= uint(e & 63)
		if dist > op {
			ok = false
			break
		}
		from, to := op-dist, op+length
		switch {
		case dist >= 8:
			// The last word may extend beyond the end of the match, where there is room.
			for ; op < to; op, from = op+8, from+8 {
				binary.LittleEndian.PutUint64(out[op:op+8:op+8], binary.LittleEndian.Uint64(out[from:from+8:from+8]))
			}
		case dist == 1:
			word := uint64(out[from]) * 0x0101010101010101
			for ; op < to; op += 8 {
				binary.LittleEndian.PutUint64(out[op:op+8:op+8], word)
			}
		default:
			for ; op < to; op, from = op+1, from+1 {
				out[op] = out[from]
			}
		}
		op = to
		if ip > lastIP || op > lastOP {
			break
		}
	}
	d.acc, d.n, d.ip, d.op = acc, n, ip, op
	if d.state == atBlock {
		d.ended()
	}
	return ok
}
