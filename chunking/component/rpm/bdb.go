package rpm

import (
	"context"
	"encoding/binary"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// The form bdb is a hash file of Berkeley DB. Its pages have pairs of key and value; long values are on chains of
// overflow pages. Numbers are in the byte order of the machine that wrote the file.
const (
	bdbHashMagic    = 0x061561
	bdbMinPage      = 512
	bdbMaxPage      = 64 << 10
	bdbPageHeader   = 26
	bdbTypeUnsorted = 2 // hash pages
	bdbTypeOverflow = 7
	bdbTypeHash     = 13
	bdbItemInline   = 1
	bdbItemOverflow = 3
	bdbOverflowItem = 12 // bytes
	// bdbMinValue is the least length of a header. Shorter values are rpm's own bookkeeping.
	bdbMinValue = 16
)

func bdbHeaders(ctx context.Context, x *rootfs.Index, name string, f func([]byte) error) error {
	data, err := x.ReadFile(ctx, name, maxDatabase)
	if err != nil {
		return err
	}
	return eachBDB(data, f)
}

type bdbFile struct {
	data  []byte
	order binary.ByteOrder
	page  uint32 // bytes
	pages uint32
	// budget bounds the overflow pages that are read, since a page belongs to only one value.
	budget uint32
}

func eachBDB(data []byte, f func([]byte) error) error {
	if len(data) < bdbMinPage {
		return broken("a file of %d bytes", len(data))
	}
	b := &bdbFile{data: data, order: binary.LittleEndian}
	if binary.BigEndian.Uint32(data[12:]) == bdbHashMagic {
		b.order = binary.BigEndian
	}
	b.page = b.order.Uint32(data[20:])
	if b.order.Uint32(data[12:]) != bdbHashMagic || b.page < bdbMinPage || b.page > bdbMaxPage || b.page&(b.page-1) != 0 {
		return broken("no hash file of Berkeley DB")
	}
	if data[24] != 0 {
		return broken("it is encrypted")
	}
	b.pages = uint32(uint64(len(data)) / uint64(b.page))
	if last := b.order.Uint32(data[32:]); last >= b.pages {
		return broken("page %d of %d", last, b.pages)
	}
	b.budget = b.pages
	for n := uint32(1); n < b.pages; n++ {
		if err := b.hashPage(b.at(n), f); err != nil {
			return err
		}
	}
	return nil
}

func (b *bdbFile) at(n uint32) []byte {
	return b.data[uint64(n)*uint64(b.page):][:b.page]
}

// hashPage calls f with the values of a page, if it is a page of pairs.
func (b *bdbFile) hashPage(page []byte, f func([]byte) error) error {
	switch typ := page[25]; {
	case typ > bdbTypeHash:
		return broken("a page of type %d", typ)
	case typ != bdbTypeHash && typ != bdbTypeUnsorted:
		return nil
	}
	n := int(b.order.Uint16(page[20:]))
	if n%2 != 0 || bdbPageHeader+2*n > len(page) {
		return broken("a page with %d items", n)
	}
	for i := 1; i < n; i += 2 {
		start := int(b.order.Uint16(page[bdbPageHeader+2*i:]))
		end := int(b.order.Uint16(page[bdbPageHeader+2*(i-1):])) // items are stored backwards
		if start < bdbPageHeader+2*n || end > len(page) || start >= end {
			return broken("an item from %d to %d", start, end)
		}
		value, err := b.value(page[start:end])
		if err != nil {
			return err
		}
		if len(value) < bdbMinValue {
			continue
		}
		if err := f(value); err != nil {
			return err
		}
	}
	return nil
}

// value returns the value of an item.
func (b *bdbFile) value(item []byte) ([]byte, error) {
	switch item[0] {
	case bdbItemInline:
		return item[1:], nil
	case bdbItemOverflow:
		if len(item) < bdbOverflowItem {
			return nil, broken("an item of %d bytes", len(item))
		}
		return b.overflow(b.order.Uint32(item[4:]), b.order.Uint32(item[8:]))
	}
	return nil, broken("an item of type %d", item[0])
}

// overflow reads a value from its chain of pages.
func (b *bdbFile) overflow(n, size uint32) ([]byte, error) {
	if size > maxData || uint64(size) > uint64(len(b.data)) {
		return nil, broken("a value of %d bytes", size)
	}
	value := make([]byte, 0, size)
	for uint32(len(value)) < size {
		if n == 0 || n >= b.pages || b.budget == 0 {
			return nil, broken("a value's chain of pages ends early, or never")
		}
		b.budget--
		page := b.at(n)
		if page[25] != bdbTypeOverflow {
			return nil, broken("page %d is of type %d", n, page[25])
		}
		length := min(int(b.order.Uint16(page[22:])), len(page)-bdbPageHeader, int(size)-len(value))
		if length <= 0 {
			return nil, broken("page %d is empty", n)
		}
		value = append(value, page[bdbPageHeader:bdbPageHeader+length]...)
		n = b.order.Uint32(page[16:])
	}
	return value, nil
}
