package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// content is the part of a commit that goes into a layer. It refers to entries of the commit's tree, to save a copy
// of their paths and checksums.
type content struct {
	entries *rootfs.List
	order   []uint32
}

var _ repo.Files = (*content)(nil)

func newContent(entries *rootfs.List, indexes []uint32) *content {
	c := &content{entries, slices.Clone(indexes)}
	slices.SortFunc(c.order, func(i, j uint32) int {
		if order := entries.Object(int(i)).Compare(entries.Object(int(j))); order != 0 {
			return order
		}
		return compareWalked(entries.At(int(i)), entries.At(int(j)))
	})
	return c
}

// Len implements [repo.Files].
func (c *content) Len() int { return len(c.order) }

// Checksum implements [repo.Files].
func (c *content) Checksum(i int) object.Checksum { return c.entries.Object(int(c.order[i])) }

// Path implements [repo.Files].
func (c *content) Path(i int) string { return c.entries.At(int(c.order[i])).Path() }

// compareWalked compares two files by the order in which a walk visits them: the files of a directory before its
// subdirectories, both sorted by name.
func compareWalked(a, b rootfs.Entry) int {
	n := min(len(a.Dir), len(b.Dir))
	for i := range n {
		switch x, y := a.Dir[i], b.Dir[i]; {
		case x == y:
		case x == '/': // a name sorts before every longer name that it begins
			return -1
		case y == '/':
			return 1
		default:
			return cmp.Compare(x, y)
		}
	}
	return cmp.Or(cmp.Compare(len(a.Dir), len(b.Dir)), strings.Compare(a.Name, b.Name))
}
