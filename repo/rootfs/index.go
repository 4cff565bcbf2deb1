package rootfs

import (
	"cmp"
	"context"
	"io"
	"io/fs"
	"iter"
	"strings"
	"sync"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

// Index finds paths in a tree. Symlinks are resolved inside the tree: neither ".." nor an absolute target leads out of
// it. It is safe for concurrent use.
type Index struct {
	tree    Tree
	entries *List
	ends    sync.Map // of links: [place] without the name → end
}

// NewIndex returns the index of a tree.
func NewIndex(tree Tree) *Index { return &Index{tree: tree, entries: tree.Entries()} }

// maxSymlinks is how many symlinks are followed for one path, as in Linux.
const maxSymlinks = 40

// Find returns the index of exactly this path, which must be absolute and clean. It follows no symlinks.
func (x *Index) Find(p string) (int, bool) { return x.entries.find(p) }

// Entry returns the entry at an index.
func (x *Index) Entry(i int) Entry { return x.entries.At(i) }

// Canonical resolves the symlinks in the parent directories of a path, but not in its last element. The result need not
// exist. It reports false if a parent is a file, or if there are too many symlinks, or several that lead nowhere.
func (x *Index) Canonical(p string) (string, bool) {
	w := walker{x: x, at: "/"}
	if w.walk(p, false) != nil {
		return "", false
	}
	return w.at, true
}

// Resolve follows all symlinks of a path and returns the index of the entry that it leads to. The error wraps
// [fs.ErrNotExist] or [repo.ErrTooManySymlinks].
func (x *Index) Resolve(p string) (int, error) {
	w := walker{x: x, at: "/"}
	err := w.walk(p, true)
	if err == nil {
		if i, ok := x.Find(w.at); ok {
			return i, nil
		}
		err = fs.ErrNotExist
	}
	return 0, &fs.PathError{Op: "open", Path: p, Err: err}
}

// Exists reports whether a path leads to anything.
func (x *Index) Exists(_ context.Context, p string) (bool, error) {
	_, err := x.Resolve(p)
	return err == nil, nil
}

// ReadFile returns the content of the regular file that a path leads to. If there is no regular file, the error wraps
// [fs.ErrNotExist]; if it has more than limit bytes, [repo.ErrTooLarge].
func (x *Index) ReadFile(ctx context.Context, p string, limit int64) ([]byte, error) {
	r, e, err := x.Open(ctx, p)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return repo.ReadContent(p, r, e.Size, limit)
}

// Open opens the regular file that a path leads to.
func (x *Index) Open(ctx context.Context, p string) (io.ReadCloser, Entry, error) {
	i, err := x.Resolve(p)
	if err != nil {
		return nil, Entry{}, err
	}
	e := x.entries.At(i)
	if !e.IsRegular() {
		return nil, Entry{}, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
	}
	r, err := x.tree.Open(ctx, i)
	return r, e, err
}

// Below yields the indexes of everything below a directory, at any depth, without the directory itself. Symlinks in the
// path are not followed.
func (x *Index) Below(dir string) iter.Seq[int] {
	dir = strings.TrimSuffix(dir, "/")
	return func(yield func(int) bool) {
		i, _ := x.Find(dir + "/")
		if dir == "" {
			i = 1
		}
		for ; i < x.entries.Len() && x.entries.isBelow(i, dir) && yield(i); i++ {
		}
	}
}

// Children yields the indexes of the entries of a directory. It skips subtrees without walking them.
func (x *Index) Children(dir string) iter.Seq[int] {
	l := x.entries
	dir = strings.TrimSuffix(dir, "/")
	in := cmp.Or(dir, "/")
	return func(yield func(int) bool) {
		i, _ := x.Find(dir + "/")
		if dir == "" {
			i = 1
		}
		for i < l.Len() && l.isBelow(i, dir) {
			at := l.dirs[l.places[i].dir]
			if at == in {
				if !yield(i) {
					return
				}
				i++
				continue
			}
			child := at
			if n := strings.IndexByte(at[len(dir)+1:], '/'); n >= 0 {
				child = at[:len(dir)+1+n]
			}
			i = l.behind(i, child)
		}
	}
}
