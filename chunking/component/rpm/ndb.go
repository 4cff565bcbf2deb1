package rpm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// The form ndb has pages of slots. Each slot has the offset of the blob of a package. Numbers are little-endian.
const (
	ndbMagic     = 'R' | 'p'<<8 | 'm'<<16 | 'P'<<24
	ndbSlotMagic = 'S' | 'l'<<8 | 'o'<<16 | 't'<<24
	ndbBlobMagic = 'B' | 'l'<<8 | 'b'<<16 | 'S'<<24
	ndbPage      = 4096
	ndbSlot      = 16 // bytes; also the unit of offsets
	ndbHeader    = 32
)

// ndbHeaders reads the form ndb.
func ndbHeaders(ctx context.Context, h *headers, name string) (err error) {
	f, err := openFile(ctx, h.r.X, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	return eachNDB(ctx, f, h)
}

// eachNDB adds the packages of an ndb file.
func eachNDB(ctx context.Context, f *file, h *headers) error {
	page := make([]byte, ndbPage)
	if f.size < ndbPage {
		return broken("the file has no ndb header")
	}
	if err := f.read(page, 0); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(page) != ndbMagic {
		return broken("the file has no ndb header")
	}
	pages := int64(binary.LittleEndian.Uint32(page[12:]))
	if pages == 0 || pages*ndbPage > f.size {
		return broken("the file has %d bytes, but claims %d pages of slots", f.size, pages)
	}
	n := &ndbFile{file: f, headers: h, seen: map[uint32]bool{}}
	for i := range pages {
		if err := f.read(page, i*ndbPage); err != nil {
			return err
		}
		start := 0
		if i == 0 {
			start = ndbHeader
		}
		for at := start; at < ndbPage; at += ndbSlot {
			if err := n.slot(ctx, page[at:at+ndbSlot], i*ndbPage+int64(at)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ndbFile is the state of reading an ndb file.
type ndbFile struct {
	*file
	*headers
	seen map[uint32]bool // packages by index
}

// slot adds the package of the slot at an offset. A slot that is not valid is a fault.
func (n *ndbFile) slot(ctx context.Context, slot []byte, at int64) error {
	index := binary.LittleEndian.Uint32(slot[4:])
	record := fmt.Sprintf("slot at %d", at)
	if binary.LittleEndian.Uint32(slot) != ndbSlotMagic {
		n.broken(record, broken("the slot has no magic number"))
		return nil
	}
	if index == 0 {
		return nil // free
	}
	record = fmt.Sprintf("package %d, %s", index, record)
	if n.seen[index] {
		n.broken(record, broken("the package has a second slot"))
		return nil
	}
	n.seen[index] = true
	offset := ndbSlot * int64(binary.LittleEndian.Uint32(slot[8:]))
	if offset+ndbSlot > n.size {
		n.broken(record, broken("the blob at %d is after the end of the file, which has %d bytes", offset, n.size))
		return nil
	}
	var head [ndbSlot]byte
	if err := n.read(head[:], offset); err != nil {
		return err
	}
	size := int64(binary.LittleEndian.Uint32(head[12:]))
	if binary.LittleEndian.Uint32(head[:]) != ndbBlobMagic || binary.LittleEndian.Uint32(head[4:]) != index ||
		size > n.size-offset-ndbSlot || size > maxHeader {
		n.broken(record, broken("the blob at %d is not that of the package", offset))
		return nil
	}
	blob := make([]byte, size)
	if err := n.read(blob, offset+ndbSlot); err != nil {
		return err
	}
	return n.add(ctx, record, blob)
}
