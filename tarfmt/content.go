package tarfmt

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

// maxEntries bounds the files and directories of one commit. A few bytes of dirtrees can name more paths than fit in
// any memory; no real tree comes near.
const maxEntries = 10_000_000

var errTooManyEntries = fmt.Errorf("the commit has more than %d files and directories", maxEntries)

// ObjectPaths is a file object and where it stands in a commit.
type ObjectPaths struct {
	Checksum repo.Checksum
	// Paths are absolute in the commit ("/usr/bin/bash"), in the order in which a walk meets them: the files of a
	// directory before its subdirectories, each in stored order.
	Paths []string
}

// Content is a set of file objects with their paths, sorted by checksum and without duplicates.
type Content []ObjectPaths

// CommitContent returns every file object of a commit.
func CommitContent(ctx context.Context, src repo.Source, commit repo.Checksum) (Content, error) {
	c, err := loadCommit(ctx, src, commit)
	if err != nil {
		return nil, err
	}
	// A tree may have a million files: each costs its checksum, its path, and little more, and lists do not grow by copying.
	n, err := countFiles(ctx, src, c.Tree)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	type file struct {
		checksum repo.Checksum
		path     string
	}
	files := make([]file, 0, n)
	w := treeWalk{src: src, files: func(dir string, list []repo.FileEntry) error {
		paths := joinAll(dir, list)
		for i, f := range list {
			files = append(files, file{f.Checksum, paths[i]})
		}
		return nil
	}}
	if err := w.walk(ctx, "/", c.Tree, 0); err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	slices.SortStableFunc(files, func(a, b file) int { return a.checksum.Compare(b.checksum) })
	objects := 0
	for i := range files {
		if i == 0 || files[i].checksum != files[i-1].checksum {
			objects++
		}
	}
	content := make(Content, 0, objects)
	paths := make([]string, len(files))
	for i := 0; i < len(files); {
		first := i
		for ; i < len(files) && files[i].checksum == files[first].checksum; i++ {
			paths[i] = files[i].path
		}
		content = append(content, ObjectPaths{Checksum: files[first].checksum, Paths: paths[first:i:i]})
	}
	return content, nil
}

// joinAll returns the paths of a directory's files, which share their memory.
func joinAll(dir string, files []repo.FileEntry) []string {
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

// countFiles counts the files of a tree.
func countFiles(ctx context.Context, src repo.Source, tree repo.Checksum) (n int, err error) {
	w := treeWalk{src: src, files: func(_ string, list []repo.FileEntry) error {
		n += len(list)
		return nil
	}}
	err = w.walk(ctx, "/", tree, 0)
	return n, err
}

// treeWalk visits a tree in the order of the format. Hooks that are nil are not called.
type treeWalk struct {
	src repo.Source
	// tree is called with each directory's dirtree before its entries.
	tree func(tree repo.Checksum, data []byte) error
	// files is called with a directory's files, unless there are none.
	files func(dir string, list []repo.FileEntry) error
	// dir is called before a subdirectory is entered; it is passed over if skip is returned.
	dir func(parent string, d repo.DirEntry) (skip bool, err error)

	entries int
}

func (w *treeWalk) walk(ctx context.Context, dir string, tree repo.Checksum, depth int) error {
	if depth > repo.MaxTreeDepth {
		return fmt.Errorf("directories nest deeper than %d", repo.MaxTreeDepth)
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

func loadCommit(ctx context.Context, src repo.Source, c repo.Checksum) (*repo.Commit, error) {
	data, err := src.Metadata(ctx, repo.ObjectName{Checksum: c, Type: repo.TypeCommit})
	if err != nil {
		return nil, err
	}
	commit, err := repo.ParseCommit(data)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", c, err)
	}
	return commit, nil
}

func loadDirTree(ctx context.Context, src repo.Source, c repo.Checksum) (*repo.DirTree, []byte, error) {
	data, err := src.Metadata(ctx, repo.ObjectName{Checksum: c, Type: repo.TypeDirTree})
	if err != nil {
		return nil, nil, err
	}
	dt, err := repo.ParseDirTree(data)
	if err != nil {
		return nil, nil, fmt.Errorf("dirtree %s: %w", c, err)
	}
	return dt, data, nil
}

func loadDirMeta(ctx context.Context, src repo.Source, c repo.Checksum) (*repo.DirMeta, []byte, error) {
	data, err := src.Metadata(ctx, repo.ObjectName{Checksum: c, Type: repo.TypeDirMeta})
	if err != nil {
		return nil, nil, err
	}
	dm, err := repo.ParseDirMeta(data)
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
	Commit repo.Checksum
	// Object is the first one missing, in the order of a walk, and Path where it stands.
	Object repo.ObjectName
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
func VerifyComplete(ctx context.Context, src repo.Source, has func(repo.ObjectName) (bool, error), commit repo.Checksum) error {
	c, err := loadCommit(ctx, src, commit)
	if err != nil {
		return err
	}
	v := completeness{ctx: ctx, src: src, has: has, commit: commit, seen: map[repo.ObjectName]bool{}}
	if err := v.check(repo.ObjectName{Checksum: c.Meta, Type: repo.TypeDirMeta}, "/"); err != nil {
		return err
	}
	return v.tree(c.Tree, "/", 0)
}

type completeness struct {
	ctx    context.Context
	src    repo.Source
	has    func(repo.ObjectName) (bool, error)
	commit repo.Checksum
	seen   map[repo.ObjectName]bool
}

// check looks at one object, unless that was done before.
func (v *completeness) check(name repo.ObjectName, p string) error {
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

func (v *completeness) tree(tree repo.Checksum, dir string, depth int) error {
	name := repo.ObjectName{Checksum: tree, Type: repo.TypeDirTree}
	if v.seen[name] {
		return nil
	}
	v.seen[name] = true
	if depth > repo.MaxTreeDepth {
		return fmt.Errorf("commit %s: directories nest deeper than %d", v.commit, repo.MaxTreeDepth)
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
		if err := v.check(repo.ObjectName{Checksum: f.Checksum, Type: repo.TypeFile}, path.Join(dir, f.Name)); err != nil {
			return err
		}
	}
	for _, d := range dt.Dirs {
		p := path.Join(dir, d.Name)
		if err := v.check(repo.ObjectName{Checksum: d.Meta, Type: repo.TypeDirMeta}, p); err != nil {
			return err
		}
		if err := v.tree(d.Tree, p, depth+1); err != nil {
			return err
		}
	}
	return nil
}
