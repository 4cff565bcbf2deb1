package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// LoadCommit reads a commit.
func LoadCommit(ctx context.Context, src Source, c object.Checksum) (*object.Commit, error) {
	return load(ctx, src, object.Name{Checksum: c, Type: object.TypeCommit}, object.ParseCommit)
}

// LoadDirTree reads a dirtree.
func LoadDirTree(ctx context.Context, src Source, c object.Checksum) (*object.DirTree, error) {
	return load(ctx, src, object.Name{Checksum: c, Type: object.TypeDirTree}, object.ParseDirTree)
}

// LoadDirMeta reads a dirmeta.
func LoadDirMeta(ctx context.Context, src Source, c object.Checksum) (*object.DirMeta, error) {
	return load(ctx, src, object.Name{Checksum: c, Type: object.TypeDirMeta}, object.ParseDirMeta)
}

// LoadDetachedMetadata reads what is stored beside a commit, and returns nil where there is nothing.
func LoadDetachedMetadata(ctx context.Context, src Source, c object.Checksum) (gvariant.Dict, error) {
	d, err := load(ctx, src, object.Name{Checksum: c, Type: object.TypeCommitMeta}, gvariant.ParseDict)
	if errors.Is(err, ErrObjectNotFound) {
		return nil, nil
	}
	return d, err
}

// load reads a metadata object and parses it.
func load[T any](ctx context.Context, src Source, n object.Name, parse func([]byte) (T, error)) (T, error) {
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

// treeItem is what a path in a commit leads to.
type treeItem struct {
	path string // absolute
	dir  bool
	file object.Checksum
	tree object.Checksum
	meta object.Checksum
}

// lookup follows a path from the root of a commit. It does not follow symlinks.
func lookup(ctx context.Context, src Source, c object.Checksum, path string) (treeItem, error) {
	commit, err := LoadCommit(ctx, src, c)
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
	d, err := LoadDirTree(ctx, src, i.tree)
	if err != nil {
		return treeItem{}, false, err
	}
	path := joinTreePath(i.path, name)
	if e, ok := d.Dir(name); ok {
		return treeItem{path: path, dir: true, tree: e.Tree, meta: e.Meta}, true, nil
	}
	if e, ok := d.File(name); ok {
		return treeItem{path: path, file: e.Checksum}, true, nil
	}
	return treeItem{}, false, nil
}
