package tarfmt

import (
	"container/list"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// maxXattrCache bounds the memory of an [xattrCache], in bytes. An operating system has a few hundred distinct sets of
// a few dozen bytes.
const maxXattrCache = 32 << 20

// xattrCache holds xattr bodies by their checksums. It evicts the least recently used bodies to stay within its bound.
type xattrCache struct {
	bodies map[object.Checksum]*list.Element
	recent list.List // of *xattrBody, the most recently used first
	size   int
}

type xattrBody struct {
	sum    object.Checksum
	data   []byte
	xattrs object.Xattrs
	parsed bool
}

// cost estimates the memory of a body, including its parsed form.
func (b *xattrBody) cost() int { return 512 + 4*len(b.data) }

func (c *xattrCache) add(sum object.Checksum, data []byte) {
	if el, ok := c.bodies[sum]; ok {
		c.recent.MoveToFront(el)
		return
	}
	if c.bodies == nil {
		c.bodies = map[object.Checksum]*list.Element{}
	}
	b := &xattrBody{sum: sum, data: data}
	c.bodies[sum] = c.recent.PushFront(b)
	c.size += b.cost()
	for c.size > maxXattrCache && c.recent.Len() > 1 {
		last := c.recent.Back()
		old := c.recent.Remove(last).(*xattrBody)
		delete(c.bodies, old.sum)
		c.size -= old.cost()
	}
}

func (c *xattrCache) get(sum object.Checksum) (object.Xattrs, error) {
	el, ok := c.bodies[sum]
	if !ok {
		return nil, invalidf("Failed to find xattrs content %s", sum)
	}
	c.recent.MoveToFront(el)
	b := el.Value.(*xattrBody)
	if !b.parsed {
		xattrs, err := object.ParseXattrs(b.data)
		if err != nil {
			return nil, invalid(err, "xattrs %s", sum)
		}
		b.xattrs, b.parsed = xattrs, true
	}
	return b.xattrs, nil
}
