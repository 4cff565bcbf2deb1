package rootfs

import (
	"bytes"
	"cmp"
	"context"
	"io"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// ViewBuilder makes a view of a tree that has other paths and other files. Nothing is copied: the content of the tree's
// own files is read from the tree.
type ViewBuilder struct {
	tree    Tree
	entries *List
	out     *Builder
	inner   []uint32 // the index in the tree, or behind its end that of made
	made    [][]byte // contents of added files
}

// NewViewBuilder returns a builder of views of a tree.
func NewViewBuilder(tree Tree) *ViewBuilder {
	entries := tree.Entries()
	return &ViewBuilder{tree: tree, entries: entries, out: newBuilder(entries.Len(), entries.names),
		inner: make([]uint32, 0, entries.Len())}
}

// Put adds the entry at an index of the tree under a path, which must be absolute and clean. An entry may be added
// under several paths; if it is a file, they are links of one file.
func (v *ViewBuilder) Put(i int, p string) error {
	e := v.entries.At(i)
	name, old := v.entries.places[i].name, e.Name
	if e.Dir, e.Name = Split(p); e.Name != old {
		var err error
		if name, err = v.out.list.names.add(e.Name); err != nil {
			return err
		}
	}
	v.out.add(name, &e)
	v.inner = append(v.inner, uint32(i))
	return nil
}

// Add adds an entry that the tree does not have. content is that of a regular file, and nil for anything else.
func (v *ViewBuilder) Add(p string, h *object.FileHeader, content []byte) error {
	e := Entry{FileHeader: h, Size: int64(len(content))}
	e.Dir, e.Name = Split(p)
	if err := v.out.Add(e); err != nil {
		return err
	}
	v.inner = append(v.inner, uint32(v.entries.Len()+len(v.made)))
	v.made = append(v.made, content)
	return nil
}

// View returns the view. Each path must have been added once, and its parent, too. The builder must not be used
// afterwards.
func (v *ViewBuilder) View() Tree {
	order := v.out.sort()
	t := &view{tree: v.tree, entries: v.out.done(), inner: reorder(v.inner, order), own: v.entries.Len(), made: v.made}
	file := func(i int) int {
		if at := int(t.inner[i]); at < t.own {
			return v.entries.links.of(at)
		}
		return int(t.inner[i])
	}
	t.entries.link(func(a, b int) int { return cmp.Compare(file(a), file(b)) })
	return t
}

// view is the result of a [ViewBuilder].
type view struct {
	tree    Tree
	entries *List
	inner   []uint32
	own     int // the number of entries of the tree
	made    [][]byte
}

// Entries implements [Tree].
func (t *view) Entries() *List { return t.entries }

// Open implements [Tree].
func (t *view) Open(ctx context.Context, index int) (io.ReadCloser, error) {
	at := int(t.inner[index])
	if at < t.own {
		return t.tree.Open(ctx, at)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(t.made[at-t.own])), nil
}
