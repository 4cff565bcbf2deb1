package rootfs

import (
	"context"
	"fmt"
	"io"
	"path"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// commitTree is the tree of a commit.
type commitTree struct {
	src     repo.Source
	entries *List
}

// Commit returns the tree of a commit. Paths with the same object are hard links of one file; nothing has a
// modification time.
func Commit(ctx context.Context, src repo.Source, commit object.Checksum) (Tree, error) {
	c, err := repo.LoadCommit(ctx, src, commit)
	if err != nil {
		return nil, err
	}
	if s, ok := src.(*Source); ok && c.Tree == s.Tree && c.Meta == s.Meta {
		return s.committed(), nil
	}
	w := commitWalk{src: src, metas: map[object.Checksum]*object.FileHeader{}}
	// Count first: growing a list of a million entries holds it in memory twice.
	n := 1
	if err := repo.WalkTree(ctx, src, c.Tree, repo.TreeVisitor{Tree: func(d *repo.TreeDir) error {
		n += len(d.Files) + len(d.Dirs)
		return nil
	}}); err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	w.out = NewBuilder(n)
	w.out.list.objects = make([]object.Checksum, 0, n)
	if err := w.tree(ctx, c); err != nil {
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

// files reads the header and size of each file object once, and finds the paths with the same object.
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

// tree adds the directories and files. [commitWalk.files] sets the headers of files later.
func (w *commitWalk) tree(ctx context.Context, c *object.Commit) error {
	if err := w.dir(ctx, "/", c.Meta); err != nil {
		return err
	}
	return repo.WalkTree(ctx, w.src, c.Tree, repo.TreeVisitor{
		Tree: func(d *repo.TreeDir) error {
			for _, f := range d.Files {
				e := Entry{Dir: d.Path, Name: f.Name, FileHeader: &object.FileHeader{}, Object: f.Checksum}
				if err := w.out.Add(e); err != nil {
					return fmt.Errorf("%s: %w", d.Path, err)
				}
			}
			return nil
		},
		Dir: func(parent string, d object.DirEntry) (skip bool, err error) {
			return false, w.dir(ctx, path.Join(parent, d.Name), d.Meta)
		},
	})
}

// dir adds a directory.
func (w *commitWalk) dir(ctx context.Context, dir string, meta object.Checksum) error {
	header, err := w.dirMeta(ctx, meta)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	e := Entry{FileHeader: header}
	e.Dir, e.Name = Split(dir)
	if err := w.out.Add(e); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

func (w *commitWalk) dirMeta(ctx context.Context, c object.Checksum) (*object.FileHeader, error) {
	if h, ok := w.metas[c]; ok {
		return h, nil
	}
	m, err := repo.LoadDirMeta(ctx, w.src, c)
	if err != nil {
		return nil, err
	}
	h := &object.FileHeader{UID: m.UID, GID: m.GID, Mode: m.Mode, Xattrs: m.Xattrs}
	w.metas[c] = h
	return h, nil
}
