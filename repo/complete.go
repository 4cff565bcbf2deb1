package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// IncompleteError says that a commit needs an object that is missing. It wraps [ErrObjectNotFound].
type IncompleteError struct {
	Commit object.Checksum
	// Object is the first missing object in the order of a walk, and Path its path in the commit.
	Object object.Name
	Path   string
}

// Error implements error.
func (e *IncompleteError) Error() string {
	return fmt.Sprintf("commit %s is incomplete: %s of %q is missing", e.Commit, e.Object, e.Path)
}

// Unwrap returns [ErrObjectNotFound].
func (e *IncompleteError) Unwrap() error { return ErrObjectNotFound }

// VerifyComplete checks that every object of a commit is staged or in the repository itself. It returns an
// [*IncompleteError] about the first one that is not. It reads only commits, dirtrees and dirmetas, each once.
func (t *Txn) VerifyComplete(ctx context.Context, commit object.Checksum) error {
	c, err := LoadCommit(ctx, t, commit)
	if err != nil {
		return err
	}
	v := completeness{txn: t, commit: commit, seen: map[object.Name]struct{}{}}
	if err := v.dir("", object.DirEntry{Tree: c.Tree, Meta: c.Meta}); err != nil {
		return err
	}
	err = WalkTree(ctx, t, c.Tree, TreeVisitor{Tree: v.files, Dir: v.subdir})
	if missing := (*IncompleteError)(nil); err != nil && !errors.As(err, &missing) {
		return fmt.Errorf("commit %s: %w", commit, err)
	}
	return err
}

// Complete checks that a commit is complete, as [Txn.VerifyComplete] does, removes its partial mark and sets a ref to
// it, unless refspec is empty. It does not end the transaction: several commits may share one.
func (t *Txn) Complete(ctx context.Context, commit object.Checksum, refspec string) error {
	if err := t.VerifyComplete(ctx, commit); err != nil {
		return err
	}
	t.UnmarkPartial(commit)
	if refspec == "" {
		return nil
	}
	return t.SetRef(refspec, commit)
}

// completeness checks that the objects of a commit exist.
type completeness struct {
	txn    *Txn
	commit object.Checksum
	seen   map[object.Name]struct{}
}

// check checks one object of a directory, unless it did so before.
func (v *completeness) check(n object.Name, dir, name string) error {
	if _, ok := v.seen[n]; ok {
		return nil
	}
	v.seen[n] = struct{}{}
	ok, err := v.txn.HasObject(n)
	if err != nil {
		return err
	}
	if !ok {
		return &IncompleteError{Commit: v.commit, Object: n, Path: joinTreePath(dir, name)}
	}
	return nil
}

func (v *completeness) files(d *TreeDir) error {
	for _, f := range d.Files {
		if err := v.check(fileName(f.Checksum), d.Path, f.Name); err != nil {
			return err
		}
	}
	return nil
}

// dir checks the two objects of a directory.
func (v *completeness) dir(parent string, d object.DirEntry) error {
	if err := v.check(object.Name{Checksum: d.Meta, Type: object.TypeDirMeta}, parent, d.Name); err != nil {
		return err
	}
	return v.check(object.Name{Checksum: d.Tree, Type: object.TypeDirTree}, parent, d.Name)
}

// subdir skips trees that were checked at another path.
func (v *completeness) subdir(parent string, d object.DirEntry) (skip bool, err error) {
	_, skip = v.seen[object.Name{Checksum: d.Tree, Type: object.TypeDirTree}]
	return skip, v.dir(parent, d)
}
