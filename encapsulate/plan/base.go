package plan

import (
	"context"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/plain"
)

// NewBase compares a tree with the tree of a base image, and returns what the image of the tree can leave to the
// layers of the base: entries that are equal except for their times. Paths that only the base has become whiteouts.
func NewBase(ctx context.Context, image *oci.Image, base, tree rootfs.Tree) (*Base, error) {
	below, err := rootfs.Hash(ctx, plain.View(base))
	if err != nil {
		return nil, err
	}
	above, err := rootfs.Hash(ctx, plain.View(tree))
	if err != nil {
		return nil, err
	}
	b := &Base{Image: image}
	x, y := rootfs.NewIndex(below), rootfs.NewIndex(above)
	has := make([]bool, above.Entries().Len())
	for i, e := range above.Entries().All() {
		if j, ok := x.Find(e.Path()); ok {
			has[i] = same(e, x.Entry(j)) && below.Entries().At(x.Entry(j).Link).Path() == above.Entries().At(e.Link).Path()
		}
	}
	keepLinks(above.Entries(), has)
	b.Has = func(i int) bool { return has[i] }
	for _, e := range below.Entries().All() {
		p := e.Path()
		if _, ok := y.Find(p); ok || p == "/" {
			continue
		}
		// A whiteout hides everything below its path. It needs a parent that still is a directory.
		if j, ok := y.Find(e.Dir); ok && y.Entry(j).IsDir() {
			b.Whiteouts = append(b.Whiteouts, p)
		}
	}
	return b, nil
}

// keepLinks writes all names of a file above the base if one of them is written there. A layer can link only files that
// it has.
func keepLinks(entries *rootfs.List, has []bool) {
	written := map[int]bool{} // by the index of the first name
	for i, e := range entries.All() {
		if !has[i] && e.IsRegular() {
			written[e.Link] = true
		}
	}
	for i, e := range entries.All() {
		if has[i] && written[e.Link] {
			has[i] = false
		}
	}
}

// same reports whether two entries are equal except for their times.
func same(a, b rootfs.Entry) bool {
	if !a.IsDir() || !b.IsDir() {
		return !a.IsDir() && !b.IsDir() && a.Object == b.Object
	}
	return a.UID == b.UID && a.GID == b.GID && a.Mode == b.Mode &&
		string(object.EncodeXattrs(a.Xattrs)) == string(object.EncodeXattrs(b.Xattrs))
}
