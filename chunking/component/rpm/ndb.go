package rpm

import (
	"context"
	"encoding/binary"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
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

func ndbHeaders(ctx context.Context, x *rootfs.Index, name string, f func([]byte) error) error {
	data, err := x.ReadFile(ctx, name, maxDatabase)
	if err != nil {
		return err
	}
	return eachNDB(data, f)
}

func eachNDB(data []byte, f func([]byte) error) error {
	if len(data) < ndbHeader || binary.LittleEndian.Uint32(data) != ndbMagic {
		return broken("no ndb header")
	}
	pages := uint64(binary.LittleEndian.Uint32(data[12:]))
	if pages == 0 || pages*ndbPage > uint64(len(data)) {
		return broken("%d pages of slots in %d bytes", pages, len(data))
	}
	for at := uint64(ndbHeader); at < pages*ndbPage; at += ndbSlot {
		slot := data[at:]
		if binary.LittleEndian.Uint32(slot) != ndbSlotMagic {
			return broken("slot at %d", at)
		}
		index, offset := binary.LittleEndian.Uint32(slot[4:]), ndbSlot*uint64(binary.LittleEndian.Uint32(slot[8:]))
		if index == 0 {
			continue // free
		}
		if offset+ndbSlot > uint64(len(data)) {
			return broken("a blob at %d of %d bytes", offset, len(data))
		}
		blob := data[offset:]
		size := uint64(binary.LittleEndian.Uint32(blob[12:]))
		if binary.LittleEndian.Uint32(blob) != ndbBlobMagic || binary.LittleEndian.Uint32(blob[4:]) != index ||
			size > uint64(len(blob)-ndbSlot) {
			return broken("the blob at %d is not that of package %d", offset, index)
		}
		if err := f(blob[ndbSlot : ndbSlot+size]); err != nil {
			return err
		}
	}
	return nil
}
