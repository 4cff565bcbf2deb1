package inflate

import (
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
)

const (
	inputSize = 128 << 10
	// spare is what may be read behind the input: at its end there are zeros.
	spare = 32
	// ahead is how many bytes of input one step of decoding may take and look at.
	ahead = 16
	// outputSize is how much is decoded at once, beside the window before it.
	outputSize = 128 << 10
	// maxIdle is how often in a row a reader may return nothing and no error.
	maxIdle = 100
	// slack is more than what one step adds to the output: three literals, a match, and what its last word is too long.
	slack = 3 + maxMatch + 8
)

// state is what comes next in the input.
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
	in      []byte // with spare bytes behind end
	ip, end int
	readErr error // of r, io.EOF included

	// acc has the next bits of the input, the first one lowest: n of them are counted, and taken from in. What is above them may
	// be there already.
	acc uint64
	n   uint

	out    []byte // the window, then what was decoded
	rp, op int    // what was decoded and not read yet

	state  state
	final  bool
	stored int // bytes to come in a stored block

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

// fill reads input until there are want bytes, at most ahead, or no more come.
func (d *decoder) fill(want int) {
	if d.end-d.ip >= want || d.readErr != nil {
		return
	}
	// The accumulator's bytes stay, as they may be given back.
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

// missing is the error where the input has ended too early.
func (d *decoder) missing() error {
	if d.readErr == nil || errors.Is(d.readErr, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return d.readErr
}

// corrupt is the error about the place where the decoder is.
func (d *decoder) corrupt() error {
	return flate.CorruptInputError(d.offset + int64(d.ip) - int64(d.n/8))
}

// overrun reports whether bits were taken that the input does not have.
func (d *decoder) overrun() bool { return d.ip-int(d.n/8) > d.end }

// need makes at least 32 bits ready, of which those behind the end of the input are zeros.
func (d *decoder) need() {
	d.fill(ahead)
	d.acc |= binary.LittleEndian.Uint64(d.in[d.ip:]) << (d.n & 63)
	d.ip += int(63-d.n) >> 3
	d.n |= 56
}

// take returns and removes up to 32 bits that are ready.
func (d *decoder) take(n uint) int {
	v := int(d.acc & (1<<n - 1))
	d.acc >>= n
	d.n -= n
	return v
}

// unread gives whole bytes back to the input and drops the rest of one that was begun.
func (d *decoder) unread() {
	d.ip -= int(d.n / 8)
	d.acc, d.n = 0, 0
}

// decode makes output until there is no room for more, or the stream ends. The output that precedes an error is right.
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

// ended goes on behind a block.
func (d *decoder) ended() {
	d.state = atBlock
	if d.final {
		d.state = atEnd
		d.unread()
	}
}

// header reads the beginning of a block.
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
