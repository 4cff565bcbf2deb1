package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// maxPart is the largest number of entries of a part.
const maxPart = 200_000

// Part returns a part of a commit's tree: the given paths with everything below them, and the directories and symlinks
// on the way there. Symlinks in the paths are followed inside the tree; those below a path are not. Paths that lead
// nowhere are left out. Only the directories of the part are read. If it has too many entries, the error wraps
// [repo.ErrTooLarge].
func Part(ctx context.Context, src repo.Source, commit object.Checksum, paths []string) (Tree, error) {
	c, err := repo.LoadCommit(ctx, src, commit)
	if err != nil {
		return nil, err
	}
	w := partWalk{
		commitWalk: commitWalk{src: src, out: NewBuilder(0), metas: map[object.Checksum]*object.FileHeader{}},
		view:       repo.ViewTree(src, c.Tree, c.Meta), has: map[string]bool{},
	}
	err = w.directory(ctx, "/", c.Meta)
	for _, p := range paths {
		if err == nil {
			err = w.follow(ctx, p)
		}
	}
	if err == nil {
		w.out.sort()
		err = w.files(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	return &commitTree{src: src, entries: w.out.done()}, nil
}

// partWalk collects the entries of a part.
type partWalk struct {
	commitWalk
	view *repo.TreeView
	has  map[string]bool // by path
}

// add reports whether a path is new, and remembers it.
func (w *partWalk) add(p string) (bool, error) {
	if w.has[p] {
		return false, nil
	}
	if len(w.has) == maxPart {
		return false, fmt.Errorf("%w: more than %d entries", repo.ErrTooLarge, maxPart)
	}
	w.has[p] = true
	return true, nil
}

func (w *partWalk) directory(ctx context.Context, p string, meta object.Checksum) error {
	isNew, err := w.add(p)
	if err != nil || !isNew {
		return err
	}
	return w.dir(ctx, p, meta)
}

func (w *partWalk) file(p string, id object.Checksum) error {
	isNew, err := w.add(p)
	if err != nil || !isNew {
		return err
	}
	e := Entry{FileHeader: &object.FileHeader{}, Object: id}
	e.Dir, e.Name = Split(p)
	if err := w.out.Add(e); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	return nil
}

// follow adds what is on the way of a path, and everything below its end.
func (w *partWalk) follow(ctx context.Context, p string) error {
	at, rest, links := "/", strings.Trim(p, "/"), 0
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if at = path.Join(at, name); at == "/" { // ".." ends at the root
			continue
		}
		item, err := w.view.Lookup(ctx, at)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if item.IsDir() {
			if err := w.directory(ctx, at, item.Meta); err != nil {
				return err
			}
			continue
		}
		if err := w.file(at, item.File); err != nil {
			return err
		}
		info, err := w.src.FileInfo(ctx, item.File)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if links++; !info.IsSymlink() || links > maxSymlinks {
			return nil
		}
		at = path.Dir(at)
		if strings.HasPrefix(info.Target, "/") {
			at = "/"
		}
		rest = strings.Trim(info.Target+"/"+rest, "/")
	}
	return w.below(ctx, at)
}

// below adds everything below a directory.
func (w *partWalk) below(ctx context.Context, dir string) error {
	top, err := w.view.Lookup(ctx, dir)
	if err != nil {
		return err
	}
	return repo.WalkTree(ctx, w.src, top.Tree, repo.TreeVisitor{
		Tree: func(d *repo.TreeDir) error {
			for _, f := range d.Files {
				if err := w.file(path.Join(dir, d.Path, f.Name), f.Checksum); err != nil {
					return err
				}
			}
			return nil
		},
		Dir: func(parent string, d object.DirEntry) (skip bool, err error) {
			return false, w.directory(ctx, path.Join(dir, parent, d.Name), d.Meta)
		},
	})
}
