package inflate

import (
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// Reader decompresses gzip streams. It verifies their checksums and sizes.
type Reader struct {
	d     *decoder
	multi bool
	crc   uint32
	size  uint32
	err   error
}

// NewReader returns a reader of the gzip members of r, and reads the header of the first one. It may read more of r
// than the members. Errors are those of [compress/gzip] and [compress/flate]: [gzip.ErrHeader], [gzip.ErrChecksum],
// flate.CorruptInputError, [io.ErrUnexpectedEOF].
func NewReader(r io.Reader) (*Reader, error) {
	z := &Reader{d: newDecoder(r), multi: true}
	return z, z.header()
}

// Multistream says whether reading continues after the first member, which is the default, or ends there.
func (z *Reader) Multistream(ok bool) { z.multi = ok }

// The flags of a header.
const (
	flagSum     = 1 << 1
	flagExtra   = 1 << 2
	flagName    = 1 << 3
	flagComment = 1 << 4
)

// maxText bounds the name and the comment in a header, in bytes.
const maxText = 512

// header reads a member's header. It returns [io.EOF] if there is no more input.
func (z *Reader) header() error {
	var buf [10]byte
	n, err := z.read(buf[:])
	if n == 0 && err == io.ErrUnexpectedEOF {
		return io.EOF
	}
	if err != nil {
		return err
	}
	if buf[0] != 0x1f || buf[1] != 0x8b || buf[2] != 8 {
		return gzip.ErrHeader
	}
	sum := crc32.ChecksumIEEE(buf[:])
	flags := buf[3]
	if flags&flagExtra != 0 {
		if _, err := z.read(buf[:2]); err != nil {
			return err
		}
		sum = crc32.Update(sum, crc32.IEEETable, buf[:2])
		extra := make([]byte, binary.LittleEndian.Uint16(buf[:2]))
		if _, err := z.read(extra); err != nil {
			return err
		}
		sum = crc32.Update(sum, crc32.IEEETable, extra)
	}
	for _, flag := range []byte{flagName, flagComment} {
		for left := maxText; flags&flag != 0; left-- {
			if left == 0 {
				return gzip.ErrHeader
			}
			if _, err := z.read(buf[:1]); err != nil {
				return err
			}
			sum = crc32.Update(sum, crc32.IEEETable, buf[:1])
			if buf[0] == 0 {
				break
			}
		}
	}
	if flags&flagSum != 0 {
		if _, err := z.read(buf[:2]); err != nil {
			return err
		}
		if binary.LittleEndian.Uint16(buf[:2]) != uint16(sum) {
			return gzip.ErrHeader
		}
	}
	z.d.reset()
	z.crc, z.size = 0, 0
	return nil
}

// read reads input outside of blocks. Input that is too short is an error.
func (z *Reader) read(p []byte) (n int, err error) {
	d := z.d
	for n < len(p) {
		d.fill(1)
		if d.ip == d.end {
			return n, d.missing()
		}
		m := copy(p[n:], d.in[d.ip:d.end])
		n, d.ip = n+m, d.ip+m
	}
	return n, nil
}

// Read implements [io.Reader].
func (z *Reader) Read(p []byte) (int, error) {
	d := z.d
	for d.rp == d.op {
		if z.err != nil {
			return 0, z.err
		}
		if d.state == atEnd {
			z.err = z.next()
			continue
		}
		z.err = d.decode()
		made := d.out[d.rp:d.op]
		z.crc = crc32.Update(z.crc, crc32.IEEETable, made)
		z.size += uint32(len(made))
	}
	n := copy(p, d.out[d.rp:d.op])
	d.rp += n
	return n, nil
}

// next checks the end of a member and begins the next one, or returns io.EOF.
func (z *Reader) next() error {
	var buf [8]byte
	if _, err := z.read(buf[:]); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(buf[:]) != z.crc || binary.LittleEndian.Uint32(buf[4:]) != z.size {
		return gzip.ErrChecksum
	}
	if !z.multi {
		return io.EOF
	}
	return z.header()
}
