package inflate

import (
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
)

const (
	inputSize = 128 << 10
	// spare is how many bytes may be read beyond the input. At its end they are zeros.
	spare = 32
	// ahead is how many bytes of input one decoding step may consume and look at.
	ahead = 16
	// outputSize is how many bytes are decoded at once, in addition to the window before them.
	outputSize = 128 << 10
	// maxIdle is how many times in a row a reader may return no data and no error.
	maxIdle = 100
	// slack is more than one step adds to the output: three literals, a match, and the excess of its last word.
	slack = 3 + maxMatch + 8
)

// state says what is next in the input.
type state uint8

const (
	atBlock state = iota
	inStored
	inCodes
	atEnd
)

// decoder inflates one stream after the other.
type decoder struct {
	r       io.Reader
	in      []byte // with spare bytes after end
	ip, end int
	readErr error // of r, io.EOF included

	// acc has the next bits of the input, lowest first. n of them are valid and consumed from in. The bits above may be
	// set to following input already.
	acc uint64
	n   uint

	out    []byte // the window, then decoded data
	rp, op int    // decoded data that was not read yet

	state  state
	final  bool
	stored int // bytes left in a stored block

	offset  int64 // of in[0] in the input
	lengths [maxLitLen + 32]uint8
	lit     [litEntries]uint32
	dist    [distEntries]uint32
	meta    [1 << metaBits]uint32
}

func newDecoder(r io.Reader) *decoder {
	return &decoder{r: r, in: make([]byte, inputSize+spare), out: make([]byte, windowSize+outputSize+slack)}
}

// reset begins a new stream.
func (d *decoder) reset() {
	d.acc, d.n, d.rp, d.op = 0, 0, 0, 0
	d.state, d.final = atBlock, false
}

// fill reads input until want bytes are buffered, at most ahead, or the input ends.
func (d *decoder) fill(want int) {
	if d.end-d.ip >= want || d.readErr != nil {
		return
	}
	// Keep the bytes of the accumulator, since unread may return them.
	kept := min(d.ip, 8)
	d.offset += int64(d.ip - kept)
	d.end = copy(d.in, d.in[d.ip-kept:d.end])
	d.ip = kept
	for idle := 0; d.end-d.ip < want && d.readErr == nil; idle++ {
		var n int
		n, d.readErr = d.r.Read(d.in[d.end:inputSize])
		d.end += n
		if n > 0 {
			idle = 0
		} else if idle == maxIdle {
			d.readErr = io.ErrNoProgress
		}
	}
	if d.readErr != nil {
		clear(d.in[d.end : d.end+spare])
	}
}

// missing returns the error for input that ended too early.
func (d *decoder) missing() error {
	if d.readErr == nil || errors.Is(d.readErr, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return d.readErr
}

// corrupt returns an error with the current offset in the input.
func (d *decoder) corrupt() error {
	return flate.CorruptInputError(d.offset + int64(d.ip) - int64(d.n/8))
}

// overrun reports whether more bits were taken than the input has.
func (d *decoder) overrun() bool { return d.ip-int(d.n/8) > d.end }

// need makes at least 32 bits available. Bits beyond the end of the input are zeros.
func (d *decoder) need() {
	d.fill(ahead)
	d.acc |= binary.LittleEndian.Uint64(d.in[d.ip:]) << (d.n & 63)
	d.ip += int(63-d.n) >> 3
	d.n |= 56
}

// take removes and returns up to 32 available bits.
func (d *decoder) take(n uint) int {
	v := int(d.acc & (1<<n - 1))
	d.acc >>= n
	d.n -= n
	return v
}

// unread returns whole bytes to the input and drops the rest of a partly used byte.
func (d *decoder) unread() {
	d.ip -= int(d.n / 8)
	d.acc, d.n = 0, 0
}

// decode produces output until there is no room for more or the stream ends. The output before an error is valid.
func (d *decoder) decode() error {
	if keep := d.op - windowSize; keep > 0 && d.rp == d.op {
		d.op = copy(d.out, d.out[keep:d.op])
		d.rp = d.op
	}
	for d.state != atEnd && d.op < len(d.out)-slack {
		var err error
		switch d.state {
		case atBlock:
			err = d.header()
		case inStored:
			err = d.copyStored()
		case inCodes:
			err = d.codes()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ended continues after a block.
func (d *decoder) ended() {
	d.state = atBlock
	if d.final {
		d.state = atEnd
		d.unread()
	}
}

// header reads the header of a block.
func (d *decoder) header() error {
	d.need()
	d.final = d.take(1) == 1
	kind := d.take(2)
	if d.overrun() {
		return d.missing()
	}
	switch kind {
	case 0:
		return d.storedHeader()
	case 1:
		d.fixed()
	case 2:
		if err := d.dynamic(); err != nil {
			return err
		}
	default:
		return d.corrupt()
	}
	d.state = inCodes
	return nil
}

func (d *decoder) storedHeader() error {
	d.unread()
	d.fill(4)
	if d.end-d.ip < 4 {
		return d.missing()
	}
	size, inverted := binary.LittleEndian.Uint16(d.in[d.ip:]), binary.LittleEndian.Uint16(d.in[d.ip+2:])
	if size != ^inverted {
		return d.corrupt()
	}
	d.ip += 4
	d.stored, d.state = int(size), inStored
	return nil
}

func (d *decoder) copyStored() error {
	room := d.out[d.op : len(d.out)-slack]
	for d.stored > 0 && len(room) > 0 {
		d.fill(1)
		if d.ip == d.end {
			return d.missing()
		}
		n := copy(room, d.in[d.ip:min(d.end, d.ip+d.stored)])
		d.ip, d.op, d.stored, room = d.ip+n, d.op+n, d.stored-n, room[n:]
	}
	if d.stored == 0 {
		d.ended()
	}
	return nil
}
