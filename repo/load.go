package repo

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

func loadFrom[T any](ctx context.Context, src Source, n ObjectName, parse func([]byte) (T, error)) (T, error) {
	var none T
	data, err := src.Metadata(ctx, n)
	if err != nil {
		return none, err
	}
	v, err := parse(data)
	if err != nil {
		return none, fmt.Errorf("object %s: %w", n, err)
	}
	return v, nil
}

func loadCommit(ctx context.Context, src Source, c Checksum) (*Commit, error) {
	return loadFrom(ctx, src, ObjectName{Checksum: c, Type: TypeCommit}, ParseCommit)
}

func loadDirTree(ctx context.Context, src Source, c Checksum) (*DirTree, error) {
	return loadFrom(ctx, src, ObjectName{Checksum: c, Type: TypeDirTree}, ParseDirTree)
}

func loadDirMeta(ctx context.Context, src Source, c Checksum) (*DirMeta, error) {
	return loadFrom(ctx, src, ObjectName{Checksum: c, Type: TypeDirMeta}, ParseDirMeta)
}

// treeItem is what a path in a commit leads to.
type treeItem struct {
	path string // absolute
	dir  bool
	file Checksum
	tree Checksum
	meta Checksum
}

// lookup follows a path from the root of a commit. It does not follow symlinks.
func lookup(ctx context.Context, src Source, c Checksum, path string) (treeItem, error) {
	commit, err := loadCommit(ctx, src, c)
	if err != nil {
		return treeItem{}, err
	}
	parts, err := splitTreePath(path)
	if err != nil {
		return treeItem{}, err
	}
	at := treeItem{path: "/", dir: true, tree: commit.Tree, meta: commit.Meta}
	for _, name := range parts {
		next, ok, err := at.child(ctx, src, name)
		if err != nil {
			return treeItem{}, err
		}
		if !ok {
			return treeItem{}, fmt.Errorf("commit %s: %w", c, &fs.PathError{Op: "lookup", Path: path, Err: fs.ErrNotExist})
		}
		at = next
	}
	return at, nil
}

func (i treeItem) child(ctx context.Context, src Source, name string) (treeItem, bool, error) {
	if !i.dir {
		return treeItem{}, false, nil
	}
	d, err := loadDirTree(ctx, src, i.tree)
	if err != nil {
		return treeItem{}, false, err
	}
	path := joinTreePath(i.path, name)
	if e, ok := d.dir(name); ok {
		return treeItem{path: path, dir: true, tree: e.Tree, meta: e.Meta}, true, nil
	}
	if e, ok := d.file(name); ok {
		return treeItem{path: path, file: e.Checksum}, true, nil
	}
	return treeItem{}, false, nil
}

// dir finds a subdirectory by name.
func (t *DirTree) dir(name string) (DirEntry, bool) {
	i, ok := slices.BinarySearchFunc(t.Dirs, name, func(e DirEntry, n string) int { return strings.Compare(e.Name, n) })
	if !ok {
		return DirEntry{}, false
	}
	return t.Dirs[i], true
}

// file finds a file by name.
func (t *DirTree) file(name string) (FileEntry, bool) {
	i, ok := slices.BinarySearchFunc(t.Files, name, func(e FileEntry, n string) int { return strings.Compare(e.Name, n) })
	if !ok {
		return FileEntry{}, false
	}
	return t.Files[i], true
}
