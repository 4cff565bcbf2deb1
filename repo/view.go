package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// maxSymlinks is how many symlinks are followed for one path, as in Linux.
const maxSymlinks = 40

// Errors about paths in a tree.
var (
	// ErrTooManySymlinks says that resolving a path takes more symlinks than Linux follows.
	ErrTooManySymlinks = errors.New("too many levels of symbolic links")
	// ErrTooLarge says that a file has more bytes than its reader accepts.
	ErrTooLarge = errors.New("file too large")
)

// TreeView reads the tree of a commit by path. Each call reads only the directories on the path, and caches nothing. It
// is safe for concurrent use.
//
// [TreeView.Lookup] takes paths as they are. The other methods follow symlinks with the tree as the root directory:
// neither ".." nor an absolute target leads out of it. If a path does not exist, the error wraps [fs.ErrNotExist].
type TreeView struct {
	src  Source
	root TreeItem
}

// TreeItem is a file or directory of a commit.
type TreeItem struct {
	// Path is absolute in the commit.
	Path string
	// File is the id of a file object, which may be a symlink. It is zero for directories.
	File object.Checksum
	// Tree and Meta are the ids of a directory's dirtree and dirmeta, zero for files.
	Tree, Meta object.Checksum
}

// IsDir reports whether the item is a directory.
func (i *TreeItem) IsDir() bool { return i.File.IsZero() }

// ViewCommit returns the view of a commit.
func ViewCommit(ctx context.Context, src Source, c object.Checksum) (*TreeView, error) {
	commit, err := LoadCommit(ctx, src, c)
	if err != nil {
		return nil, err
	}
	return ViewTree(src, commit.Tree, commit.Meta), nil
}

// ViewTree returns the view of a tree, which need not be committed. meta may be zero if it is not asked for.
func ViewTree(src Source, tree, meta object.Checksum) *TreeView {
	return &TreeView{src: src, root: TreeItem{Path: "/", Tree: tree, Meta: meta}}
}

// Lookup returns what is at a path. It follows no symlinks, and a path with ".." is an error.
func (v *TreeView) Lookup(ctx context.Context, path string) (TreeItem, error) {
	parts, err := splitTreePath(path)
	if err != nil {
		return TreeItem{}, err
	}
	at := v.root
	for _, name := range parts {
		next, ok, err := v.child(ctx, &at, name)
		if err != nil {
			return TreeItem{}, err
		}
		if !ok {
			return TreeItem{}, notInTree("lookup", path)
		}
		at = next
	}
	return at, nil
}

// lookupIn is [TreeView.Lookup] in a commit, whose id is in the error.
func lookupIn(ctx context.Context, src Source, c object.Checksum, path string) (TreeItem, error) {
	v, err := ViewCommit(ctx, src, c)
	if err != nil {
		return TreeItem{}, err
	}
	item, err := v.Lookup(ctx, path)
	if err != nil {
		return item, fmt.Errorf("commit %s: %w", c, err)
	}
	return item, nil
}

func notInTree(op, path string) error { return &fs.PathError{Op: op, Path: path, Err: fs.ErrNotExist} }

// child returns the entry of a directory with the given name. A file has no entries.
func (v *TreeView) child(ctx context.Context, dir *TreeItem, name string) (TreeItem, bool, error) {
	if !dir.IsDir() {
		return TreeItem{}, false, nil
	}
	d, err := LoadDirTree(ctx, v.src, dir.Tree)
	if err != nil {
		return TreeItem{}, false, err
	}
	path := joinTreePath(dir.Path, name)
	if e, ok := d.Dir(name); ok {
		return TreeItem{Path: path, Tree: e.Tree, Meta: e.Meta}, true, nil
	}
	if e, ok := d.File(name); ok {
		return TreeItem{Path: path, File: e.Checksum}, true, nil
	}
	return TreeItem{}, false, nil
}

// Resolve follows all symlinks of a path and returns the file or directory that it leads to. If symlinks form a loop,
// the error wraps [ErrTooManySymlinks].
func (v *TreeView) Resolve(ctx context.Context, path string) (TreeItem, error) {
	way, links := []TreeItem{v.root}, 0 // the directories from the root to the current one
	for rest := path; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		at := &way[len(way)-1]
		switch {
		case name == "":
			continue
		case !at.IsDir():
			return TreeItem{}, notInTree("open", path)
		case name == ".":
			continue
		case name == "..":
			way = way[:max(len(way)-1, 1)]
			continue
		}
		next, ok, err := v.child(ctx, at, name)
		if err != nil {
			return TreeItem{}, err
		}
		if !ok {
			return TreeItem{}, notInTree("open", path)
		}
		if !next.IsDir() {
			info, err := v.src.FileInfo(ctx, next.File)
			if err != nil {
				return TreeItem{}, err
			}
			if info.IsSymlink() {
				if links++; links > maxSymlinks {
					return TreeItem{}, &fs.PathError{Op: "open", Path: path, Err: ErrTooManySymlinks}
				}
				if strings.HasPrefix(info.Target, "/") {
					way = way[:1]
				}
				rest = info.Target + "/" + rest
				continue
			}
		}
		way = append(way, next)
	}
	return way[len(way)-1], nil
}

// Exists reports whether a path leads to a file or directory.
func (v *TreeView) Exists(ctx context.Context, path string) (bool, error) {
	_, err := v.Resolve(ctx, path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrTooManySymlinks) {
		return false, nil
	}
	return err == nil, err
}

// Open opens the regular file that a path leads to.
func (v *TreeView) Open(ctx context.Context, path string) (io.ReadCloser, *object.FileInfo, error) {
	item, err := v.Resolve(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	if item.IsDir() {
		return nil, nil, notInTree("open", path)
	}
	return v.src.OpenFile(ctx, item.File)
}

// ReadFile returns the content of the regular file that a path leads to. If it has more than limit bytes, the error
// wraps [ErrTooLarge].
func (v *TreeView) ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	r, info, err := v.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	data, err := ReadContent(path, r, info.Size, limit)
	return data, errors.Join(err, r.Close())
}

// ReadContent reads the content of a file of a tree, which has size bytes. If that is more than limit, the error wraps
// [ErrTooLarge].
func ReadContent(path string, r io.Reader, size, limit int64) ([]byte, error) {
	if size > limit {
		err := fmt.Errorf("%w: %d bytes, more than %d", ErrTooLarge, size, limit)
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return data, nil
}

// ReadDir returns the entries of the directory that a path leads to.
func (v *TreeView) ReadDir(ctx context.Context, path string) (*object.DirTree, error) {
	item, err := v.Resolve(ctx, path)
	if err != nil {
		return nil, err
	}
	if !item.IsDir() {
		return nil, notInTree("readdir", path)
	}
	return LoadDirTree(ctx, v.src, item.Tree)
}
