package tarfmt

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// maxEntries bounds the files and directories of one commit. A few bytes of dirtrees can name more paths than fit in
// any memory; no real tree comes near.
const maxEntries = 10_000_000

var errTooManyEntries = fmt.Errorf("the commit has more than %d files and directories", maxEntries)

// Files lists file objects with their paths in a commit, sorted by checksum. [Content] is one; others may make the paths when
// they are asked for. Implementations are safe for concurrent use.
type Files interface {
	// Len is the number of paths.
	Len() int
	// Checksum returns the object of one.
	Checksum(i int) object.Checksum
	// Path is absolute in the commit ("/usr/bin/bash"). The paths of one object are in the order in which a walk meets them: the
	// files of a directory before its subdirectories, each in stored order.
	Path(i int) string
}

// ObjectPath is a path of a commit with the file object there.
type ObjectPath struct {
	Checksum object.Checksum
	Path     string
}

// Content is a list of [Files] in memory.
type Content []ObjectPath

var _ Files = Content(nil)

// Len implements [Files].
func (c Content) Len() int { return len(c) }

// Checksum implements [Files].
func (c Content) Checksum(i int) object.Checksum { return c[i].Checksum }

// Path implements [Files].
func (c Content) Path(i int) string { return c[i].Path }

// CommitContent returns every file of a commit.
func CommitContent(ctx context.Context, src repo.Source, commit object.Checksum) (Content, error) {
	// Counted first: a tree may have a million files, and a list that grows is there twice.
	n := 0
	if err := eachDirectory(ctx, src, commit, func(_ string, list []object.FileEntry) error {
		n += len(list)
		return nil
	}); err != nil {
		return nil, err
	}
	content := make(Content, 0, n)
	if err := eachDirectory(ctx, src, commit, func(dir string, list []object.FileEntry) error {
		paths := joinAll(dir, list)
		for i, f := range list {
			content = append(content, ObjectPath{f.Checksum, paths[i]})
		}
		return nil
	}); err != nil {
		return nil, err
	}
	slices.SortStableFunc(content, func(a, b ObjectPath) int { return a.Checksum.Compare(b.Checksum) })
	return content, nil
}

// EachFile calls f for every file of a commit in the order of a walk, and ends with its error.
func EachFile(ctx context.Context, src repo.Source, commit object.Checksum, f func(ObjectPath) error) error {
	return eachDirectory(ctx, src, commit, func(dir string, list []object.FileEntry) error {
		paths := joinAll(dir, list)
		for i, file := range list {
			if err := f(ObjectPath{file.Checksum, paths[i]}); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachDirectory calls f for every directory of a commit that has files.
func eachDirectory(ctx context.Context, src repo.Source, commit object.Checksum, f func(dir string, list []object.FileEntry) error) error {
	c, err := loadCommit(ctx, src, commit)
	if err != nil {
		return err
	}
	w := treeWalk{src: src, files: f}
	if err := w.walk(ctx, "/", c.Tree, 0); err != nil {
		return fmt.Errorf("commit %s: %w", commit, err)
	}
	return nil
}

// joinAll returns the paths of a directory's files, which share their memory.
func joinAll(dir string, files []object.FileEntry) []string {
	if dir != "/" {
		dir += "/"
	}
	size := 0
	for _, f := range files {
		size += len(dir) + len(f.Name)
	}
	var all strings.Builder
	all.Grow(size)
	for _, f := range files {
		all.WriteString(dir)
		all.WriteString(f.Name)
	}
	text, paths := all.String(), make([]string, len(files))
	for i, f := range files {
		n := len(dir) + len(f.Name)
		paths[i], text = text[:n], text[n:]
	}
	return paths
}

// treeWalk visits a tree in the order of the format. Hooks that are nil are not called.
type treeWalk struct {
	src repo.Source
	// tree is called with each directory's dirtree before its entries.
	tree func(tree object.Checksum, data []byte) error
	// files is called with a directory's files, unless there are none.
	files func(dir string, list []object.FileEntry) error
	// dir is called before a subdirectory is entered; it is passed over if skip is returned.
	dir func(parent string, d object.DirEntry) (skip bool, err error)

	entries int
}

func (w *treeWalk) walk(ctx context.Context, dir string, tree object.Checksum, depth int) error {
	if depth > object.MaxTreeDepth {
		return fmt.Errorf("directories nest deeper than %d", object.MaxTreeDepth)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	dt, data, err := loadDirTree(ctx, w.src, tree)
	if err != nil {
		return fmt.Errorf("directory %q: %w", dir, err)
	}
	if w.entries += len(dt.Files) + len(dt.Dirs); w.entries > maxEntries {
		return errTooManyEntries
	}
	if w.tree != nil {
		if err := w.tree(tree, data); err != nil {
			return err
		}
	}
	if w.files != nil && len(dt.Files) > 0 {
		if err := w.files(dir, dt.Files); err != nil {
			return err
		}
	}
	for _, d := range dt.Dirs {
		if w.dir != nil {
			if skip, err := w.dir(dir, d); err != nil {
				return err
			} else if skip {
				continue
			}
		}
		if err := w.walk(ctx, path.Join(dir, d.Name), d.Tree, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func loadCommit(ctx context.Context, src repo.Source, c object.Checksum) (*object.Commit, error) {
	data, err := src.Metadata(ctx, object.Name{Checksum: c, Type: object.TypeCommit})
	if err != nil {
		return nil, err
	}
	commit, err := object.ParseCommit(data)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", c, err)
	}
	return commit, nil
}

func loadDirTree(ctx context.Context, src repo.Source, c object.Checksum) (*object.DirTree, []byte, error) {
	data, err := src.Metadata(ctx, object.Name{Checksum: c, Type: object.TypeDirTree})
	if err != nil {
		return nil, nil, err
	}
	dt, err := object.ParseDirTree(data)
	if err != nil {
		return nil, nil, fmt.Errorf("dirtree %s: %w", c, err)
	}
	return dt, data, nil
}

func loadDirMeta(ctx context.Context, src repo.Source, c object.Checksum) (*object.DirMeta, []byte, error) {
	data, err := src.Metadata(ctx, object.Name{Checksum: c, Type: object.TypeDirMeta})
	if err != nil {
		return nil, nil, err
	}
	dm, err := object.ParseDirMeta(data)
	if err != nil {
		return nil, nil, fmt.Errorf("dirmeta %s: %w", c, err)
	}
	return dm, data, nil
}

// mapEtc turns a path in a commit, relative to the root and without "./", into the one in a layer.
func mapEtc(p string) string {
	if p == "usr/etc" || strings.HasPrefix(p, "usr/etc/") {
		return p[len("usr/"):]
	}
	return p
}

// IncompleteError says that a commit reaches an object that is not there. It wraps [repo.ErrObjectNotFound].
type IncompleteError struct {
	Commit object.Checksum
	// Object is the first one missing, in the order of a walk, and Path where it stands.
	Object object.Name
	Path   string
}

// Error implements error.
func (e *IncompleteError) Error() string {
	return fmt.Sprintf("commit %s is incomplete: %s of %q is missing", e.Commit, e.Object, e.Path)
}

// Unwrap returns [repo.ErrObjectNotFound].
func (e *IncompleteError) Unwrap() error { return repo.ErrObjectNotFound }

// VerifyComplete checks that every object which a commit reaches is present, as has tells, and returns an
// [*IncompleteError] about the first that is not. It reads tree metadata only, each object once. An importer's caller
// runs it when all of a commit's layers are in, before the commit loses its mark as partial.
func VerifyComplete(ctx context.Context, src repo.Source, has func(object.Name) (bool, error), commit object.Checksum) error {
	c, err := loadCommit(ctx, src, commit)
	if err != nil {
		return err
	}
	v := completeness{ctx: ctx, src: src, has: has, commit: commit, seen: map[object.Name]bool{}}
	if err := v.check(object.Name{Checksum: c.Meta, Type: object.TypeDirMeta}, "/"); err != nil {
		return err
	}
	return v.tree(c.Tree, "/", 0)
}

type completeness struct {
	ctx    context.Context
	src    repo.Source
	has    func(object.Name) (bool, error)
	commit object.Checksum
	seen   map[object.Name]bool
}

// check looks at one object, unless that was done before.
func (v *completeness) check(name object.Name, p string) error {
	if v.seen[name] {
		return nil
	}
	v.seen[name] = true
	ok, err := v.has(name)
	if err != nil {
		return err
	}
	if !ok {
		return &IncompleteError{Commit: v.commit, Object: name, Path: p}
	}
	return nil
}

func (v *completeness) tree(tree object.Checksum, dir string, depth int) error {
	name := object.Name{Checksum: tree, Type: object.TypeDirTree}
	if v.seen[name] {
		return nil
	}
	v.seen[name] = true
	if depth > object.MaxTreeDepth {
		return fmt.Errorf("commit %s: directories nest deeper than %d", v.commit, object.MaxTreeDepth)
	}
	if err := v.ctx.Err(); err != nil {
		return err
	}
	dt, _, err := loadDirTree(v.ctx, v.src, tree)
	if errors.Is(err, repo.ErrObjectNotFound) {
		return &IncompleteError{Commit: v.commit, Object: name, Path: dir}
	}
	if err != nil {
		return fmt.Errorf("commit %s: directory %q: %w", v.commit, dir, err)
	}
	for _, f := range dt.Files {
		if err := v.check(object.Name{Checksum: f.Checksum, Type: object.TypeFile}, path.Join(dir, f.Name)); err != nil {
			return err
		}
	}
	for _, d := range dt.Dirs {
		p := path.Join(dir, d.Name)
		if err := v.check(object.Name{Checksum: d.Meta, Type: object.TypeDirMeta}, p); err != nil {
			return err
		}
		if err := v.tree(d.Tree, p, depth+1); err != nil {
			return err
		}
	}
	return nil
}
