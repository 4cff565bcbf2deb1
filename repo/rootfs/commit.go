package rootfs

import (
	"context"
	"fmt"
	"io"
	"path"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// maxEntries bounds the paths of one tree. A few bytes of dirtrees can name more than fit in any memory; no real tree comes
// near.
const maxEntries = 10_000_000

// commitTree is the tree of a commit.
type commitTree struct {
	src     repo.Source
	entries *List
}

// Commit returns the tree of a commit. Names of one object are links of one file; nothing has a time.
func Commit(ctx context.Context, src repo.Source, commit object.Checksum) (Tree, error) {
	data, err := src.Metadata(ctx, object.Name{Checksum: commit, Type: object.TypeCommit})
	if err != nil {
		return nil, err
	}
	c, err := object.ParseCommit(data)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	if s, ok := src.(*Source); ok && c.Tree == s.Tree && c.Meta == s.Meta {
		return s.committed(), nil
	}
	w := commitWalk{src: src, metas: map[object.Checksum]*object.FileHeader{}}
	// Counted first: a list of a million entries that grows is there twice.
	n, err := w.count(ctx, "/", c.Tree, 0)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	w.out = NewBuilder(n)
	w.out.list.objects = make([]object.Checksum, 0, n)
	if err := w.dir(ctx, "/", c.Tree, c.Meta, 0); err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	w.out.sort()
	if err := w.files(ctx); err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	return &commitTree{src: src, entries: w.out.done()}, nil
}

// Entries implements [Tree].
func (t *commitTree) Entries() *List { return t.entries }

// Open implements [Tree].
func (t *commitTree) Open(ctx context.Context, index int) (io.ReadCloser, error) {
	e := t.entries.At(index)
	r, _, err := t.src.OpenFile(ctx, e.Object)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Path(), err)
	}
	return r, nil
}

type commitWalk struct {
	src   repo.Source
	out   *Builder
	metas map[object.Checksum]*object.FileHeader
}

// list reads the directory of a commit.
func (w *commitWalk) list(ctx context.Context, tree object.Checksum, depth int) (*object.DirTree, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if depth > object.MaxTreeDepth {
		return nil, fmt.Errorf("more than %d directories deep", object.MaxTreeDepth)
	}
	data, err := w.src.Metadata(ctx, object.Name{Checksum: tree, Type: object.TypeDirTree})
	if err != nil {
		return nil, err
	}
	return object.ParseDirTree(data)
}

// count counts the paths of a directory, with itself.
func (w *commitWalk) count(ctx context.Context, dir string, tree object.Checksum, depth int) (int, error) {
	list, err := w.list(ctx, tree, depth)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", dir, err)
	}
	n := 1 + len(list.Files)
	for _, d := range list.Dirs {
		below, err := w.count(ctx, path.Join(dir, d.Name), d.Tree, depth+1)
		if err != nil {
			return 0, err
		}
		if n += below; n > maxEntries {
			return 0, fmt.Errorf("more than %d files and directories", maxEntries)
		}
	}
	return n, nil
}

// files reads what is known of the file objects, each once, and finds the names of one object.
func (w *commitWalk) files(ctx context.Context) error {
	l := &w.out.list
	for _, i := range l.link(func(a, b int) int { return l.objects[a].Compare(l.objects[b]) }) {
		if first := l.links.of(int(i)); first != int(i) {
			l.places[i].header = l.places[first].header
			l.sizes.set(int(i), l.sizes.at(first))
			continue
		}
		info, err := w.src.FileInfo(ctx, l.objects[i])
		if err != nil {
			return fmt.Errorf("%s: %w", l.At(int(i)).Path(), err)
		}
		l.places[i].header = w.out.header(&info.FileHeader, 0)
		l.sizes.set(int(i), info.Size)
	}
	return nil
}

// dir adds a directory and what is in it. Files have the header of none until [commitWalk.files].
func (w *commitWalk) dir(ctx context.Context, dir string, tree, meta object.Checksum, depth int) error {
	header, err := w.dirMeta(ctx, meta)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	e := Entry{FileHeader: header}
	e.Dir, e.Name = Split(dir)
	if err := w.out.Add(e); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	list, err := w.list(ctx, tree, depth)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	for _, f := range list.Files {
		if err := w.out.Add(Entry{Dir: dir, Name: f.Name, FileHeader: &object.FileHeader{}, Object: f.Checksum}); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	for _, d := range list.Dirs {
		if err := w.dir(ctx, path.Join(dir, d.Name), d.Tree, d.Meta, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *commitWalk) dirMeta(ctx context.Context, c object.Checksum) (*object.FileHeader, error) {
	if h, ok := w.metas[c]; ok {
		return h, nil
	}
	data, err := w.src.Metadata(ctx, object.Name{Checksum: c, Type: object.TypeDirMeta})
	if err != nil {
		return nil, err
	}
	m, err := object.ParseDirMeta(data)
	if err != nil {
		return nil, err
	}
	h := &object.FileHeader{UID: m.UID, GID: m.GID, Mode: m.Mode, Xattrs: m.Xattrs}
	w.metas[c] = h
	return h, nil
}
