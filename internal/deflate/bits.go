package deflate

import "encoding/binary"

// bitWriter appends bits to a byte slice, lowest bit first.
type bitWriter struct {
	out  []byte
	acc  uint64
	have uint // bits in acc, always fewer than 8 after flush
}

// put adds up to 32 bits. The caller must call flush before more than 56 bits have been put.
func (w *bitWriter) put(v uint64, n uint) {
	w.acc |= v << w.have
	w.have += n
}

// flush moves whole bytes out of the accumulator.
func (w *bitWriter) flush() {
	w.out = binary.LittleEndian.AppendUint64(w.out, w.acc)
	whole := w.have / 8
	w.out = w.out[:len(w.out)-8+int(whole)]
	w.acc >>= whole * 8
	w.have &= 7
}

// align fills the last byte with zero bits.
func (w *bitWriter) align() {
	w.flush()
	if w.have > 0 {
		w.out = append(w.out, byte(w.acc))
		w.acc, w.have = 0, 0
	}
}

// stored appends data as stored blocks, which are byte-aligned and hold up to 65535 bytes each.
func (w *bitWriter) stored(data []byte, final bool) {
	for {
		n := min(len(data), 0xffff)
		last := n == len(data)
		header := uint64(0)
		if last && final {
			header = 1
		}
		w.put(header, 3)
		w.align()
		w.out = binary.LittleEndian.AppendUint16(w.out, uint16(n))
		w.out = binary.LittleEndian.AppendUint16(w.out, ^uint16(n))
		w.out = append(w.out, data[:n]...)
		if data = data[n:]; last {
			return
		}
	}
}
