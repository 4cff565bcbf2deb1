package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// PartialState says whether objects of a commit may be missing.
type PartialState uint8

// The states of a commit.
const (
	// CommitComplete is the state of a commit that has no mark.
	CommitComplete PartialState = iota
	// CommitPartial is the state of a commit that was not fetched completely.
	CommitPartial
	// CommitFsckPartial is the state of a commit some of whose objects a check has deleted.
	CommitFsckPartial
)

func partialMark(c object.Checksum) string { return path.Join("state", c.String()+".commitpartial") }

// IsPartial returns the state of a commit, which need not exist.
func (r *Repo) IsPartial(c object.Checksum) (PartialState, error) {
	data, err := readSmallFile(r.root, partialMark(c), maxRefFile)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return CommitComplete, nil
	case err != nil:
		return CommitComplete, err
	case string(data) == "f":
		return CommitFsckPartial, nil
	}
	return CommitPartial, nil
}

// setPartialMark sets or removes the mark. An existing mark is not changed.
func (r *Repo) setPartialMark(c object.Checksum, set bool) error {
	if !set {
		return ignoreMissing(r.root.Remove(partialMark(c)))
	}
	if err := r.root.Mkdir("state", 0o775); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	f, err := r.root.OpenFile(partialMark(c), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// remove deletes an object.
func (d *objectDir) remove(n object.Name) error {
	dir, err := openDir(d.fd, hexByte(n.Checksum[0]))
	if err != nil {
		return wrapOpen(n, err)
	}
	err = unix.Unlinkat(dir, looseBase(n, d.mode), 0)
	if err := errors.Join(err, unix.Close(dir)); err != nil {
		return wrapOpen(n, err)
	}
	return nil
}

// DeleteObject deletes an object of the repository itself. The detached metadata and the partial mark of a commit are
// deleted with it, and a tombstone replaces it if the configuration says so. The caller must hold an exclusive lock and
// make sure that nothing needs the object. If it does not exist, the error wraps [ErrObjectNotFound].
func (r *Repo) DeleteObject(ctx context.Context, n object.Name) error {
	if !r.writable {
		return r.readOnlyError()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if n.Type != object.TypeCommit {
		return r.objects.remove(n)
	}
	if ok, err := r.objects.has(n); err != nil {
		return err
	} else if !ok {
		return notFound(n)
	}
	if r.Config().TombstoneCommits {
		if err := r.writeTombstone(n.Checksum); err != nil {
			return err
		}
	}
	if err := r.objects.remove(n); err != nil {
		return err
	}
	meta := object.Name{Checksum: n.Checksum, Type: object.TypeCommitMeta}
	if err := r.objects.remove(meta); err != nil && !errors.Is(err, ErrObjectNotFound) {
		return err
	}
	return r.setPartialMark(n.Checksum, false)
}

// writeTombstone writes the mark of a deleted commit.
func (r *Repo) writeTombstone(c object.Checksum) error {
	n := object.Name{Checksum: c, Type: object.TypeTombstone}
	if err := r.replaceFile(path.Join("objects", loosePath(n, r.mode)), object.EncodeTombstone(c)); err != nil {
		return fmt.Errorf("object %s: %w", n, err)
	}
	return nil
}
