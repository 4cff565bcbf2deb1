package plan

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/plain"
)

// lister lists the files of a layer. The sequence ends after an error.
type lister func(ctx context.Context, r io.Reader) iter.Seq2[plain.File, error]

// listObjects lists a layer of objects.
func listObjects(ctx context.Context, r io.Reader) iter.Seq2[plain.File, error] {
	return func(yield func(plain.File, error) bool) {
		for f, err := range tarfmt.ListObjectSet(ctx, r) {
			if !yield(plain.File{Path: f.Path, Object: f.Checksum}, err) {
				return
			}
		}
	}
}

// matcher finds the files of a layer in a tree.
type matcher struct {
	index   *rootfs.Index
	seen    []bool
	entries []uint32 // in the order of the layer, without directories
}

// match returns the entries of a tree that are in a layer, without directories. all reports whether the tree has
// every entry of the layer; if not, match stops at the first entry that the tree does not have. The error wraps
// [tarfmt.ErrInvalidStream] if the layer is invalid.
func match(tree rootfs.Tree, layer iter.Seq2[plain.File, error]) (entries []uint32, all bool, err error) {
	m := matcher{index: rootfs.NewIndex(tree), seen: make([]bool, tree.Entries().Len())}
	for f, err := range layer {
		if err != nil {
			return nil, false, err
		}
		if ok, err := m.file(&f); err != nil || !ok {
			return nil, false, err
		}
	}
	return m.entries, true, nil
}

// file reports whether the tree has the same file at the same path.
func (m *matcher) file(f *plain.File) (bool, error) {
	i, ok := m.index.Find(f.Path)
	if !ok {
		return false, nil
	}
	e := m.index.Entry(i)
	obj := f.Object
	if f.Link != "" {
		j, ok := m.index.Find(f.Link)
		if !ok || !m.seen[j] {
			return false, fmt.Errorf("%.200s: %w: a link to %.200s, which is not in the layer",
				f.Path, tarfmt.ErrInvalidStream, f.Link)
		}
		obj = m.index.Entry(j).Object
	}
	if e.IsDir() {
		return f.Link == "" && sameDirectory(e, obj), nil
	}
	if m.seen[i] {
		return false, fmt.Errorf("%.200s: %w: the path occurs twice", f.Path, tarfmt.ErrInvalidStream)
	}
	m.seen[i] = true
	m.entries = append(m.entries, uint32(i))
	return e.Object == obj, nil
}

// sameDirectory reports whether an entry is a directory with the given dirmeta.
func sameDirectory(e rootfs.Entry, want object.Checksum) bool {
	data, err := object.EncodeDirMeta(&object.DirMeta{UID: e.UID, GID: e.GID, Mode: e.Mode, Xattrs: e.Xattrs})
	return err == nil && object.HashMetadata(data) == want
}
