package rootfs

import (
	"cmp"
	"context"
	"io"
)

// Without returns a view of a tree without the entries that drop reports, and without everything below a directory
// among them. The root stays. Hard links between the entries that stay are kept.
func Without(tree Tree, drop func(Entry) bool) Tree {
	entries := tree.Entries()
	out := newBuilder(entries.Len(), entries.names)
	var kept, first []uint32  // by the order of adding: the index in the tree, and that of the first name of the file
	gone := map[string]bool{} // directories
	for i, e := range entries.All() {
		if i > 0 && (gone[e.Dir] || drop(e)) {
			if e.IsDir() {
				gone[e.Path()] = true
			}
			continue
		}
		out.add(entries.places[i].name, &e)
		kept, first = append(kept, uint32(i)), append(first, uint32(e.Link))
	}
	list, order := out.List(func(a, b int) int { return cmp.Compare(first[a], first[b]) })
	return &partial{tree, list, reorder(kept, order)}
}

// partial is a view of some entries of a tree.
type partial struct {
	tree    Tree
	entries *List
	inner   []uint32 // the index in the tree
}

// Entries implements [Tree].
func (p *partial) Entries() *List { return p.entries }

// Open implements [Tree].
func (p *partial) Open(ctx context.Context, i int) (io.ReadCloser, error) {
	return p.tree.Open(ctx, int(p.inner[i]))
}
