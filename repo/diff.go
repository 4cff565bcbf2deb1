package repo

import (
	"context"
	"fmt"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// TreeDiff is the difference between two commits as `ostree-ext` reports it. All lists are sorted. Paths begin with a
// slash and are relative to the subdirectory. The content of a directory that was added or removed is not listed.
type TreeDiff struct {
	Subdir       string
	AddedFiles   []string
	AddedDirs    []string
	RemovedFiles []string
	RemovedDirs  []string
	ChangedFiles []string
	ChangedDirs  []string // owner, mode or xattrs changed
}

// String returns the counts in one line.
func (d *TreeDiff) String() string {
	return fmt.Sprintf("files(added:%d removed:%d changed:%d) dirs(added:%d removed:%d changed:%d)",
		len(d.AddedFiles), len(d.RemovedFiles), len(d.ChangedFiles), len(d.AddedDirs), len(d.RemovedDirs), len(d.ChangedDirs))
}

// Diff compares the trees of two commits, or the subtrees at a path that is a directory in both. The metadata of the
// root itself is ignored. A file that became a directory is a changed file; a directory that became a file is a removed
// directory and an added file.
func Diff(ctx context.Context, src Source, from, to object.Checksum, subdir string) (*TreeDiff, error) {
	var roots [2]TreeItem
	for i, c := range []object.Checksum{from, to} {
		item, err := lookupIn(ctx, src, c, subdir)
		if err != nil {
			return nil, err
		}
		if !item.IsDir() {
			return nil, fmt.Errorf("commit %s: %s is not a directory", c, item.Path)
		}
		roots[i] = item
	}
	d := &TreeDiff{Subdir: subdir}
	w := diffWalk{src: src, out: d}
	if err := w.walk(ctx, "/", roots[0].Tree, roots[1].Tree, 0); err != nil {
		return nil, err
	}
	for _, list := range []*[]string{&d.AddedFiles, &d.AddedDirs, &d.RemovedFiles, &d.RemovedDirs, &d.ChangedFiles,
		&d.ChangedDirs} {
		slices.Sort(*list)
	}
	return d, nil
}

type diffWalk struct {
	src Source
	out *TreeDiff
}

func (w *diffWalk) walk(ctx context.Context, path string, a, b object.Checksum, depth int) error {
	if a == b {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > object.MaxTreeDepth {
		return object.ErrTooDeep
	}
	from, to, err := loadBoth(ctx, w.src, a, b)
	if err != nil {
		return err
	}
	w.files(path, from, to)
	for _, e := range from.Dirs {
		child := joinTreePath(path, e.Name)
		other, ok := to.Dir(e.Name)
		if !ok {
			w.out.RemovedDirs = append(w.out.RemovedDirs, child)
			continue
		}
		if other.Meta != e.Meta {
			w.out.ChangedDirs = append(w.out.ChangedDirs, child)
		}
		if err := w.walk(ctx, child, e.Tree, other.Tree, depth+1); err != nil {
			return err
		}
	}
	for _, e := range to.Dirs {
		_, wasDir := from.Dir(e.Name)
		_, wasFile := from.File(e.Name)
		if !wasDir && !wasFile {
			w.out.AddedDirs = append(w.out.AddedDirs, joinTreePath(path, e.Name))
		}
	}
	return nil
}

func (w *diffWalk) files(path string, from, to *object.DirTree) {
	for _, f := range from.Files {
		child := joinTreePath(path, f.Name)
		if other, ok := to.File(f.Name); ok {
			if other.Checksum != f.Checksum {
				w.out.ChangedFiles = append(w.out.ChangedFiles, child)
			}
		} else if _, ok := to.Dir(f.Name); ok {
			w.out.ChangedFiles = append(w.out.ChangedFiles, child)
		} else {
			w.out.RemovedFiles = append(w.out.RemovedFiles, child)
		}
	}
	for _, f := range to.Files {
		if _, ok := from.File(f.Name); !ok {
			w.out.AddedFiles = append(w.out.AddedFiles, joinTreePath(path, f.Name))
		}
	}
}

func loadBoth(ctx context.Context, src Source, a, b object.Checksum) (from, to *object.DirTree, err error) {
	if from, err = LoadDirTree(ctx, src, a); err != nil {
		return nil, nil, err
	}
	to, err = LoadDirTree(ctx, src, b)
	return from, to, err
}

// Changes are the differences between two commits as `ostree diff` prints them, in its order. All paths are absolute.
type Changes struct {
	// Modified lists files and directories whose content or metadata changed.
	Modified []string
	// Removed does not list the content of a removed directory.
	Removed []string
	// Added lists the content of an added directory too.
	Added []string
}

// Lines returns the lines that `ostree diff` prints.
func (c *Changes) Lines() []string {
	lines := make([]string, 0, len(c.Modified)+len(c.Removed)+len(c.Added))
	for _, part := range []struct {
		letter string
		paths  []string
	}{{"M", c.Modified}, {"D", c.Removed}, {"A", c.Added}} {
		for _, p := range part.paths {
			lines = append(lines, part.letter+"    "+p)
		}
	}
	return lines
}

// DiffChanges compares the trees of two commits as `ostree diff` does.
func DiffChanges(ctx context.Context, src Source, from, to object.Checksum) (*Changes, error) {
	a, err := LoadCommit(ctx, src, from)
	if err != nil {
		return nil, err
	}
	b, err := LoadCommit(ctx, src, to)
	if err != nil {
		return nil, err
	}
	w := changeWalk{src: src, out: &Changes{}}
	return w.out, w.walk(ctx, "/", a.Tree, b.Tree, 0)
}

type changeWalk struct {
	src Source
	out *Changes
}

func (w *changeWalk) walk(ctx context.Context, path string, a, b object.Checksum, depth int) error {
	if a == b {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > object.MaxTreeDepth {
		return object.ErrTooDeep
	}
	from, to, err := loadBoth(ctx, w.src, a, b)
	if err != nil {
		return err
	}
	w.oldFiles(path, from, to)
	for _, e := range from.Dirs {
		child := joinTreePath(path, e.Name)
		other, ok := to.Dir(e.Name)
		if !ok {
			w.gone(child, e.Name, to)
			continue
		}
		if e.Tree != other.Tree || e.Meta != other.Meta {
			w.out.Modified = append(w.out.Modified, child)
		}
		if err := w.walk(ctx, child, e.Tree, other.Tree, depth+1); err != nil {
			return err
		}
	}
	return w.added(ctx, path, from, to, depth)
}

func (w *changeWalk) oldFiles(path string, from, to *object.DirTree) {
	for _, f := range from.Files {
		child := joinTreePath(path, f.Name)
		if other, ok := to.File(f.Name); !ok {
			w.gone(child, f.Name, to)
		} else if other.Checksum != f.Checksum {
			w.out.Modified = append(w.out.Modified, child)
		}
	}
}

// gone records a name that was removed. If the name exists with another type, it is modified instead.
func (w *changeWalk) gone(child, name string, to *object.DirTree) {
	_, file := to.File(name)
	_, dir := to.Dir(name)
	if file || dir {
		w.out.Modified = append(w.out.Modified, child)
	} else {
		w.out.Removed = append(w.out.Removed, child)
	}
}

func (w *changeWalk) added(ctx context.Context, path string, from, to *object.DirTree, depth int) error {
	isNew := func(name string) bool {
		_, file := from.File(name)
		_, dir := from.Dir(name)
		return !file && !dir
	}
	for _, f := range to.Files {
		if isNew(f.Name) {
			w.out.Added = append(w.out.Added, joinTreePath(path, f.Name))
		}
	}
	for _, e := range to.Dirs {
		if !isNew(e.Name) {
			continue
		}
		child := joinTreePath(path, e.Name)
		w.out.Added = append(w.out.Added, child)
		if err := w.addAll(ctx, child, e.Tree, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *changeWalk) addAll(ctx context.Context, path string, tree object.Checksum, depth int) error {
	if depth > object.MaxTreeDepth {
		return object.ErrTooDeep
	}
	d, err := LoadDirTree(ctx, w.src, tree)
	if err != nil {
		return err
	}
	return w.added(ctx, path, &object.DirTree{}, d, depth)
}
