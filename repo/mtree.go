package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// ErrEmptyTree says that a tree to be written has no root directory.
var ErrEmptyTree = errors.New("cannot commit an empty tree: nothing was added to it")

// MutableTree is a directory tree in memory that refers to objects by their ids. Fill it, then call
// [MutableTree.WriteTo] to write it and get the ids of a commit's root.
//
// Paths are relative to the root, with or without a slash in front; "" and "/" are the root itself. A file does not
// replace a directory, nor the reverse: the error wraps [ErrConflict]. Remove the old entry first.
//
// A MutableTree is not safe for concurrent use.
type MutableTree struct{ root *treeNode }

// ErrConflict says that a directory would replace a file, or the reverse.
var ErrConflict = errors.New("conflict")

// treeNode is a directory. Until something in it is touched it has only the ids that it was read with.
type treeNode struct {
	meta  object.Checksum // zero if not set yet
	tree  object.Checksum // the dirtree of this content, zero once that changed
	src   Source          // where tree can be read; nil once it was read
	files map[string]object.Checksum
	dirs  map[string]*treeNode
}

func newNode() *treeNode {
	return &treeNode{files: map[string]object.Checksum{}, dirs: map[string]*treeNode{}}
}

// NewMutableTree returns an empty tree. Not even the metadata of its root directory is set.
func NewMutableTree() *MutableTree { return &MutableTree{root: newNode()} }

// TreeFromCommit returns the tree of a commit. A directory is read when it is first touched.
func TreeFromCommit(ctx context.Context, src Source, c object.Checksum) (*MutableTree, error) {
	commit, err := LoadCommit(ctx, src, c)
	if err != nil {
		return nil, err
	}
	return &MutableTree{root: lazyNode(src, commit.Tree, commit.Meta)}, nil
}

func lazyNode(src Source, tree, meta object.Checksum) *treeNode {
	return &treeNode{src: src, tree: tree, meta: meta}
}

// load reads a directory if it was not read before.
func (n *treeNode) load(ctx context.Context) error {
	if n.src == nil {
		return nil
	}
	d, err := LoadDirTree(ctx, n.src, n.tree)
	if err != nil {
		return err
	}
	n.files = make(map[string]object.Checksum, len(d.Files))
	n.dirs = make(map[string]*treeNode, len(d.Dirs))
	for _, f := range d.Files {
		n.files[f.Name] = f.Checksum
	}
	for _, e := range d.Dirs {
		n.dirs[e.Name] = lazyNode(n.src, e.Tree, e.Meta)
	}
	n.src = nil
	return nil
}

func (n *treeNode) checkFile(ctx context.Context, name string) error {
	if err := object.ValidateName(name); err != nil {
		return err
	}
	if err := n.load(ctx); err != nil {
		return err
	}
	if _, ok := n.dirs[name]; ok {
		return fmt.Errorf("%w: can't replace directory with file: %s", ErrConflict, name)
	}
	return nil
}

func (n *treeNode) setFile(ctx context.Context, name string, c object.Checksum) error {
	if err := n.checkFile(ctx, name); err != nil {
		return err
	}
	n.files[name], n.tree = c, object.Checksum{}
	return nil
}

func (n *treeNode) ensureDir(ctx context.Context, name string) (*treeNode, error) {
	if err := object.ValidateName(name); err != nil {
		return nil, err
	}
	if err := n.load(ctx); err != nil {
		return nil, err
	}
	if _, ok := n.files[name]; ok {
		return nil, fmt.Errorf("%w: can't replace file with directory: %s", ErrConflict, name)
	}
	d := n.dirs[name]
	if d == nil {
		d = newNode()
		n.dirs[name] = d
	}
	// A change inside the child changes this directory's dirtree too. Callers ask for the child in order to change it.
	n.tree = object.Checksum{}
	return d, nil
}

// splitTreePath returns the names in a path; "." and empty ones are dropped, ".." is an error.
func splitTreePath(p string) ([]string, error) {
	var parts []string
	for name := range strings.SplitSeq(p, "/") {
		if name == "" || name == "." {
			continue
		}
		if err := object.ValidateName(name); err != nil {
			return nil, fmt.Errorf("path %.80q: %w", p, err)
		}
		if parts = append(parts, name); len(parts) > object.MaxTreeDepth {
			return nil, fmt.Errorf("path %.80q: %w", p, object.ErrTooDeep)
		}
	}
	return parts, nil
}

// dir finds or makes the directory of the given names.
func (t *MutableTree) dir(ctx context.Context, parts []string) (*treeNode, error) {
	n := t.root
	for _, name := range parts {
		next, err := n.ensureDir(ctx, name)
		if err != nil {
			return nil, err
		}
		n = next
	}
	return n, nil
}

// EnsureDir makes a directory and its parents if they are missing. The metadata of new directories must be set before
// the tree is written.
func (t *MutableTree) EnsureDir(ctx context.Context, path string) error {
	parts, err := splitTreePath(path)
	if err != nil {
		return err
	}
	_, err = t.dir(ctx, parts)
	return err
}

// SetFile sets the file object at a path, replacing an existing one. Missing parent directories are made.
func (t *MutableTree) SetFile(ctx context.Context, path string, c object.Checksum) error {
	parts, err := splitTreePath(path)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		return fmt.Errorf("%w: can't replace directory with file: /", ErrConflict)
	}
	n, err := t.dir(ctx, parts[:len(parts)-1])
	if err != nil {
		return err
	}
	return n.setFile(ctx, parts[len(parts)-1], c)
}

// SetDirMeta sets the dirmeta object of a directory, which is made if it is missing.
func (t *MutableTree) SetDirMeta(ctx context.Context, path string, c object.Checksum) error {
	parts, err := splitTreePath(path)
	if err != nil {
		return err
	}
	n, err := t.dir(ctx, parts)
	if err != nil {
		return err
	}
	n.meta = c
	return nil
}

// Remove removes a file, or a directory with everything in it. If the path does not exist, the error wraps
// [fs.ErrNotExist].
func (t *MutableTree) Remove(ctx context.Context, path string) error {
	parts, err := splitTreePath(path)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		*t = *NewMutableTree()
		return nil
	}
	e, err := t.Lookup(ctx, path)
	if err != nil {
		return err
	}
	n, err := t.dir(ctx, parts[:len(parts)-1])
	if err != nil {
		return err
	}
	name := parts[len(parts)-1]
	n.tree = object.Checksum{}
	if e.Dir {
		delete(n.dirs, name)
	} else {
		delete(n.files, name)
	}
	return nil
}

// TreeEntry is a file or directory of a [MutableTree].
type TreeEntry struct {
	Dir bool
	// File is the id of a file object. Meta is the id of a directory's dirmeta, or zero before it is set.
	File, Meta object.Checksum
}

// Lookup returns the entry at a path. If the path does not exist, the error wraps [fs.ErrNotExist].
func (t *MutableTree) Lookup(ctx context.Context, path string) (TreeEntry, error) {
	parts, err := splitTreePath(path)
	if err != nil {
		return TreeEntry{}, err
	}
	n := t.root
	for i, name := range parts {
		if err := n.load(ctx); err != nil {
			return TreeEntry{}, err
		}
		if c, ok := n.files[name]; ok && i == len(parts)-1 {
			return TreeEntry{File: c}, nil
		}
		next := n.dirs[name]
		if next == nil {
			return TreeEntry{}, &fs.PathError{Op: "lookup", Path: path, Err: fs.ErrNotExist}
		}
		n = next
	}
	return TreeEntry{Dir: true, Meta: n.meta}, nil
}

// Walk calls visit for each entry: a directory before its content, in the order of the names. The path of the root is
// "/". An error of visit ends the walk and is returned, but [fs.SkipDir] for a directory skips its content.
func (t *MutableTree) Walk(ctx context.Context, visit func(path string, e TreeEntry) error) error {
	return t.root.walk(ctx, "/", 0, visit)
}

func (n *treeNode) walk(ctx context.Context, path string, depth int, visit func(string, TreeEntry) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > object.MaxTreeDepth {
		return object.ErrTooDeep
	}
	if err := visit(path, TreeEntry{Dir: true, Meta: n.meta}); err != nil {
		if errors.Is(err, fs.SkipDir) {
			return nil
		}
		return err
	}
	if err := n.load(ctx); err != nil {
		return err
	}
	names := slices.Concat(slices.Collect(maps.Keys(n.files)), slices.Collect(maps.Keys(n.dirs)))
	slices.Sort(names)
	for _, name := range names {
		child := joinTreePath(path, name)
		var err error
		if d := n.dirs[name]; d != nil {
			err = d.walk(ctx, child, depth+1, visit)
		} else {
			err = visit(child, TreeEntry{File: n.files[name]})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func joinTreePath(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}

// Overlay adds the tree of a commit: its files replace existing files, and directories merge and get the metadata of
// the commit.
func (t *MutableTree) Overlay(ctx context.Context, src Source, c object.Checksum) error {
	commit, err := LoadCommit(ctx, src, c)
	if err != nil {
		return err
	}
	return t.root.overlay(ctx, src, commit.Tree, commit.Meta, 0)
}

func (n *treeNode) overlay(ctx context.Context, src Source, tree, meta object.Checksum, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > object.MaxTreeDepth {
		return object.ErrTooDeep
	}
	n.meta = meta
	if n.tree == tree {
		return nil
	}
	if n.src == nil && n.tree.IsZero() && len(n.files)+len(n.dirs) == 0 {
		*n = *lazyNode(src, tree, meta)
		return nil
	}
	d, err := LoadDirTree(ctx, src, tree)
	if err != nil {
		return err
	}
	for _, f := range d.Files {
		if err := n.setFile(ctx, f.Name, f.Checksum); err != nil {
			return err
		}
	}
	for _, e := range d.Dirs {
		child, err := n.ensureDir(ctx, e.Name)
		if err != nil {
			return err
		}
		if err := child.overlay(ctx, src, e.Tree, e.Meta, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// MetadataWriter stores metadata objects. A [Txn] is one.
type MetadataWriter interface {
	WriteMetadataAs(ctx context.Context, name object.Name, data []byte) error
}

// WriteTo stores the dirtrees and returns the ids of the root. Unchanged directories are not written, so the objects of
// a commit that the tree was read from must be in the repository, or be written in the same transaction. If the tree
// has no root, the error wraps [ErrEmptyTree].
func (t *MutableTree) WriteTo(ctx context.Context, w MetadataWriter) (tree, meta object.Checksum, err error) {
	if t.root.meta.IsZero() {
		return tree, meta, ErrEmptyTree
	}
	tree, err = t.root.write(ctx, w, "/", 0)
	return tree, t.root.meta, err
}

func (n *treeNode) write(ctx context.Context, w MetadataWriter, path string, depth int) (object.Checksum, error) {
	if !n.tree.IsZero() {
		return n.tree, nil
	}
	if depth > object.MaxTreeDepth {
		return object.Checksum{}, object.ErrTooDeep
	}
	d := &object.DirTree{Files: make([]object.FileEntry, 0, len(n.files)), Dirs: make([]object.DirEntry, 0, len(n.dirs))}
	for _, name := range slices.Sorted(maps.Keys(n.files)) {
		d.Files = append(d.Files, object.FileEntry{Name: name, Checksum: n.files[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(n.dirs)) {
		child := n.dirs[name]
		childPath := joinTreePath(path, name)
		if child.meta.IsZero() {
			return object.Checksum{}, fmt.Errorf("directory %s has no metadata", childPath)
		}
		tree, err := child.write(ctx, w, childPath, depth+1)
		if err != nil {
			return object.Checksum{}, err
		}
		d.Dirs = append(d.Dirs, object.DirEntry{Name: name, Tree: tree, Meta: child.meta})
	}
	data, err := object.EncodeDirTree(d)
	if err != nil {
		return object.Checksum{}, fmt.Errorf("directory %s: %w", path, err)
	}
	c := object.HashMetadata(data)
	if err := w.WriteMetadataAs(ctx, object.Name{Checksum: c, Type: object.TypeDirTree}, data); err != nil {
		return object.Checksum{}, err
	}
	n.tree = c
	return c, nil
}
