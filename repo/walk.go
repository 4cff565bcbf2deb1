package repo

import (
	"context"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// TreeDir is a directory that [WalkTree] visits.
type TreeDir struct {
	Path     string // absolute
	Checksum object.Checksum
	Data     []byte // of the dirtree object
	*object.DirTree
}

// TreeVisitor holds the functions that [WalkTree] calls. Functions that are nil are not called; an error ends the walk.
type TreeVisitor struct {
	// Tree is called with each directory before its subdirectories.
	Tree func(d *TreeDir) error
	// Dir is called before a subdirectory is entered. If it returns skip, the subdirectory is skipped.
	Dir func(parent string, d object.DirEntry) (skip bool, err error)
}

// WalkTree visits a directory, given by its dirtree, and all directories below it, in stored order. A dirtree with
// several paths is visited at each. If the tree exceeds a limit, the error wraps [object.ErrTooDeep] or
// [object.ErrTooMany].
func WalkTree(ctx context.Context, src Source, tree object.Checksum, v TreeVisitor) error {
	w := treeWalk{src: src, TreeVisitor: v}
	return w.walk(ctx, "/", tree, 0)
}

type treeWalk struct {
	TreeVisitor
	src     Source
	entries int
}

func (w *treeWalk) walk(ctx context.Context, path string, tree object.Checksum, depth int) error {
	if depth > object.MaxTreeDepth {
		return object.ErrTooDeep
	}
	dir, err := w.read(ctx, path, tree)
	if err != nil {
		return fmt.Errorf("directory %q: %w", path, err)
	}
	if w.entries += len(dir.Files) + len(dir.Dirs); w.entries > object.MaxTreeEntries {
		return object.ErrTooMany
	}
	if w.Tree != nil {
		if err := w.Tree(dir); err != nil {
			return err
		}
	}
	for _, d := range dir.Dirs {
		if w.Dir != nil {
			if skip, err := w.Dir(path, d); err != nil {
				return err
			} else if skip {
				continue
			}
		}
		if err := w.walk(ctx, joinTreePath(path, d.Name), d.Tree, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *treeWalk) read(ctx context.Context, path string, tree object.Checksum) (*TreeDir, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir := &TreeDir{Path: path, Checksum: tree}
	n := object.Name{Checksum: tree, Type: object.TypeDirTree}
	list, err := load(ctx, w.src, n, func(data []byte) (*object.DirTree, error) {
		dir.Data = data
		return object.ParseDirTree(data)
	})
	dir.DirTree = list
	return dir, err
}
