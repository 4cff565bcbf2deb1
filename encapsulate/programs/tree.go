package programs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// File is a file of an image. It belongs to root.
type File struct {
	// Path is absolute and clean. Directories above it need not be listed: they have the mode 0755.
	Path string
	// Mode has the permissions, and Dir says that this is a directory.
	Mode uint32
	Dir  bool
	// Content is that of a regular file, and SameAs the path of the file of the same layer that this is another name of.
	Content []byte
	SameAs  string
}

// tree is a root filesystem in memory. It implements [rootfs.Tree].
type tree struct {
	entries  *rootfs.List
	contents [][]byte
}

// newTree returns the tree of some files.
func newTree(files []File) (*tree, error) {
	all := map[string]File{"/": {Path: "/", Mode: 0o755, Dir: true}}
	for _, f := range files {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path {
			return nil, fmt.Errorf("%q is not an absolute, clean path", f.Path)
		}
		all[f.Path] = f
		for dir := path.Dir(f.Path); dir != "/"; dir = path.Dir(dir) {
			if _, ok := all[dir]; !ok {
				all[dir] = File{Path: dir, Mode: 0o755, Dir: true}
			}
		}
	}
	list := make([]File, 0, len(all))
	for _, f := range all {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	builder, contents := rootfs.NewBuilder(len(list)), make([][]byte, len(list))
	first := make([]string, len(list)) // the file that each is a name of
	for i, f := range list {
		first[i] = f.Path
		if f.SameAs != "" {
			other, ok := all[f.SameAs]
			if !ok || other.Dir || other.SameAs != "" {
				return nil, fmt.Errorf("%s is another name of %s, which is not a file of the layer", f.Path, f.SameAs)
			}
			first[i], f.Mode, f.Content = f.SameAs, other.Mode, other.Content
		}
		e := rootfs.Entry{FileHeader: &object.FileHeader{Mode: object.ModeRegular | f.Mode}, Size: int64(len(f.Content))}
		if f.Dir {
			e.Mode, e.Size = object.ModeDir|f.Mode, 0
		}
		e.Dir, e.Name = rootfs.Split(f.Path)
		if err := builder.Add(e); err != nil {
			return nil, err
		}
		contents[i] = f.Content
	}
	t := &tree{}
	var order []uint32
	t.entries, order = builder.List(func(a, b int) int { return strings.Compare(first[a], first[b]) })
	for _, i := range order {
		t.contents = append(t.contents, contents[i])
	}
	return t, nil
}

// Entries implements [rootfs.Tree].
func (t *tree) Entries() *rootfs.List { return t.entries }

// Open implements [rootfs.Tree].
func (t *tree) Open(_ context.Context, i int) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(t.contents[i])), nil
}
