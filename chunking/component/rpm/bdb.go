package rpm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
)

// The form bdb is a hash file of Berkeley DB. Each bucket is a chain of pages with pairs of a key and a value. Long
// values are in chains of overflow pages. Numbers are in the byte order of the machine that wrote the file.
const (
	bdbHashMagic    = 0x061561
	bdbMinPage      = 512
	bdbMaxPage      = 64 << 10
	bdbPageHeader   = 26
	bdbSpares       = 96 // the offset of the table with the first page of each doubling of buckets
	bdbSparesLen    = 32
	bdbTypeInvalid  = 0 // a page that was never used
	bdbTypeUnsorted = 2 // hash pages
	bdbTypeOverflow = 7
	bdbTypeHash     = 13
	bdbItemInline   = 1
	bdbItemOverflow = 3
	bdbOverflowItem = 12 // the size of an item in bytes
	// bdbMinValue is the least length of a header. Shorter values are rpm's own bookkeeping.
	bdbMinValue = 16
)

// bdbHeaders reads the form bdb.
func bdbHeaders(ctx context.Context, h *headers, name string) (err error) {
	f, err := openFile(ctx, h.r.X, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	return eachBDB(ctx, f, h)
}

// bdbFile is the state of reading a file of Berkeley DB.
type bdbFile struct {
	*file
	*headers
	order binary.ByteOrder
	page  int64  // the size of a page in bytes
	pages uint32 // the number of pages
	// seen says which pages of buckets were read. In a valid file each belongs to one bucket.
	seen []bool
	// budget limits the number of overflow pages that are read. In a valid file each belongs to one value.
	budget int64
}

// eachBDB adds the packages of a file of Berkeley DB.
func eachBDB(ctx context.Context, f *file, h *headers) error {
	if f.size < bdbMinPage {
		return broken("the file has only %d bytes", f.size)
	}
	meta := make([]byte, bdbMinPage)
	if err := f.read(meta, 0); err != nil {
		return err
	}
	b := &bdbFile{file: f, headers: h, order: binary.LittleEndian}
	if binary.BigEndian.Uint32(meta[12:]) == bdbHashMagic {
		b.order = binary.BigEndian
	}
	b.page = int64(b.order.Uint32(meta[20:]))
	if b.order.Uint32(meta[12:]) != bdbHashMagic || b.page < bdbMinPage || b.page > bdbMaxPage || b.page&(b.page-1) != 0 {
		return broken("the file is not a hash file of Berkeley DB")
	}
	if meta[24] != 0 {
		return broken("the file is encrypted")
	}
	b.pages = uint32(f.size / b.page)
	if last := b.order.Uint32(meta[32:]); last >= b.pages {
		b.broken("page 0", broken("the file is truncated: it has %d pages, and the last one is page %d", b.pages, last))
	}
	b.seen, b.budget = make([]bool, b.pages), 4*int64(b.pages)
	buckets := b.order.Uint32(meta[72:]) // the number of the last bucket
	if buckets >= b.pages {
		return broken("the file claims %d buckets in %d pages", buckets, b.pages)
	}
	for bucket := range buckets + 1 {
		first := b.order.Uint32(meta[bdbSpares+4*(bits.Len32(bucket)%bdbSparesLen):])
		if err := b.bucket(ctx, bucket+first); err != nil {
			return err
		}
	}
	return nil
}

// read reads a page. The error wraps [pkgdb.ErrBroken] if the file has no such page.
func (b *bdbFile) read(n uint32, page []byte) error {
	if n == 0 || n >= b.pages {
		return broken("there is no page %d: the file has %d pages", n, b.pages)
	}
	return b.file.read(page, int64(n)*b.page)
}

// bucket adds the packages of a chain of pages. A page that is not valid is a fault and ends the chain.
func (b *bdbFile) bucket(ctx context.Context, n uint32) error {
	page := make([]byte, b.page)
	for {
		record := fmt.Sprintf("page %d", n)
		err := b.read(n, page)
		if err == nil && b.seen[n] {
			err = broken("the page belongs to several buckets, or twice to one")
		}
		if errors.Is(err, pkgdb.ErrBroken) {
			b.broken(record, err)
			return nil
		}
		if err != nil {
			return err
		}
		b.seen[n] = true
		switch typ := page[25]; typ {
		case bdbTypeInvalid:
			return nil
		case bdbTypeHash, bdbTypeUnsorted:
		default:
			b.broken(record, broken("the page in a bucket has type %d", typ))
			return nil
		}
		if err := b.hashPage(ctx, record, page); err != nil {
			return err
		}
		if n = b.order.Uint32(page[16:]); n == 0 {
			return nil
		}
	}
}

// hashPage adds the packages of a page of pairs. An item that is not valid is a fault.
func (b *bdbFile) hashPage(ctx context.Context, record string, page []byte) error {
	n := int(b.order.Uint16(page[20:]))
	if n%2 != 0 || bdbPageHeader+2*n > len(page) {
		b.broken(record, broken("the page claims %d items", n))
		return nil
	}
	end := len(page) // the first item is at the end
	for i := range n {
		start := int(b.order.Uint16(page[bdbPageHeader+2*i:]))
		record := fmt.Sprintf("%s, item %d", record, i)
		if start < bdbPageHeader+2*n || start >= end {
			b.broken(record, broken("the item begins at %d and ends at %d", start, end))
			return nil
		}
		item := page[start:end]
		if end = start; i%2 == 0 {
			continue // the key
		}
		value, err := b.value(item)
		switch {
		case errors.Is(err, pkgdb.ErrBroken):
			b.broken(record, err)
			continue
		case err != nil:
			return err
		case len(value) < bdbMinValue:
			continue
		}
		if err := b.add(ctx, record, value); err != nil {
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
			return nil, broken("the item has only %d bytes", len(item))
		}
		return b.overflow(b.order.Uint32(item[4:]), b.order.Uint32(item[8:]))
	}
	return nil, broken("the item has type %d", item[0])
}

// overflow reads a value from its chain of pages.
func (b *bdbFile) overflow(n, size uint32) ([]byte, error) {
	if size > maxHeader || int64(size) > b.size {
		return nil, broken("the value claims %d bytes, which is too large", size)
	}
	value, page := make([]byte, 0, size), make([]byte, b.page)
	for n != 0 {
		if b.budget--; b.budget < 0 {
			return nil, fmt.Errorf("%w: its values have more pages than the file", pkgdb.ErrTooLarge)
		}
		if err := b.read(n, page); err != nil {
			return nil, err
		}
		if page[25] != bdbTypeOverflow {
			return nil, broken("page %d of a value has type %d", n, page[25])
		}
		length := int(b.order.Uint16(page[22:]))
		if length == 0 || length > len(page)-bdbPageHeader || length > int(size)-len(value) {
			return nil, broken("page %d has %d bytes of a value, but %d are missing", n, length, int(size)-len(value))
		}
		value = append(value, page[bdbPageHeader:bdbPageHeader+length]...)
		n = b.order.Uint32(page[16:])
	}
	if len(value) < int(size) {
		return nil, broken("the value claims %d bytes, but its pages have %d", size, len(value))
	}
	return value, nil
}
