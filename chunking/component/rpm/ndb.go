package rpm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// The form ndb has pages of slots, each of which says where the blob of a package is. Numbers are little-endian.
const (
	ndbMagic     = 'R' | 'p'<<8 | 'm'<<16 | 'P'<<24
	ndbSlotMagic = 'S' | 'l'<<8 | 'o'<<16 | 't'<<24
	ndbBlobMagic = 'B' | 'l'<<8 | 'b'<<16 | 'S'<<24
	ndbPage      = 4096
	ndbSlot      = 16 // bytes; also the unit of offsets
	ndbHeader    = 32
)

func ndbHeaders(ctx context.Context, h *headers, name string) (err error) {
	f, err := openFile(ctx, h.r.X, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	return eachNDB(ctx, f, h)
}

func eachNDB(ctx context.Context, f *file, h *headers) error {
	page := make([]byte, ndbPage)
	if f.size < ndbPage {
		return broken("no ndb header")
	}
	if err := f.read(page, 0); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(page) != ndbMagic {
		return broken("no ndb header")
	}
	pages := int64(binary.LittleEndian.Uint32(page[12:]))
	if pages == 0 || pages*ndbPage > f.size {
		return broken("%d pages of slots in %d bytes", pages, f.size)
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

type ndbFile struct {
	*file
	*headers
	seen map[uint32]bool // packages by index
}

// slot adds the package of a slot at an offset. What is wrong with one is a fault.
func (n *ndbFile) slot(ctx context.Context, slot []byte, at int64) error {
	index := binary.LittleEndian.Uint32(slot[4:])
	record := fmt.Sprintf("slot at %d", at)
	if binary.LittleEndian.Uint32(slot) != ndbSlotMagic {
		n.broken(record, broken("it is not a slot"))
		return nil
	}
	if index == 0 {
		return nil // free
	}
	record = fmt.Sprintf("package %d, %s", index, record)
	if n.seen[index] {
		n.broken(record, broken("a second slot of one package"))
		return nil
	}
	n.seen[index] = true
	offset := ndbSlot * int64(binary.LittleEndian.Uint32(slot[8:]))
	if offset+ndbSlot > n.size {
		n.broken(record, broken("a blob at %d of %d bytes", offset, n.size))
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
