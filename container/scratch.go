package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Scratch is a temporary repository. Close removes it.
type Scratch struct {
	*repo.Repo
	dir string
}

// Close closes and removes the repository.
func (s *Scratch) Close() error { return errors.Join(s.Repo.Close(), os.RemoveAll(s.dir)) }

// ImportScratch imports the commit of an image into a new repository in the directory temp; empty means the system's
// temporary directory. The caller closes the repository. This is the way to read a commit exactly: the files in the
// layers do not have all metadata of directories.
func ImportScratch(ctx context.Context, img *oci.Image, temp string) (*Scratch, object.Checksum, error) {
	s, err := newScratch(ctx, temp)
	if err != nil {
		return nil, object.Checksum{}, err
	}
	result, err := Import(ctx, s.Repo, img, ImportOptions{WriteRef: "image"})
	if errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("%w (set TMPDIR to another place)", err)
	}
	if err != nil {
		return nil, object.Checksum{}, errors.Join(fmt.Errorf("reading the commit of %s: %w", img.Name, err), s.Close())
	}
	return s, result.Commit, nil
}

// newScratch makes a repository. Its mode is bare-user, which is the fastest, or archive if the filesystem does not
// support user extended attributes.
func newScratch(ctx context.Context, temp string) (*Scratch, error) {
	dir, err := os.MkdirTemp(temp, "ostree-ext-")
	if err != nil {
		return nil, fmt.Errorf("a directory for temporary files (set TMPDIR to another place): %w", err)
	}
	for _, mode := range []repo.Mode{repo.ModeBareUser, repo.ModeArchive} {
		var r *repo.Repo
		if r, err = repo.Init(filepath.Join(dir, mode.String()), mode); err != nil {
			break
		}
		if err = tryFile(ctx, r); err == nil {
			return &Scratch{r, dir}, nil
		}
		if closeErr := r.Close(); closeErr != nil || !errors.Is(err, syscall.ENOTSUP) {
			err = errors.Join(err, closeErr)
			break
		}
	}
	return nil, errors.Join(fmt.Errorf("a repository for temporary use (set TMPDIR to another place): %w", err),
		os.RemoveAll(dir))
}

// tryFile writes a file object and removes it again.
func tryFile(ctx context.Context, r *repo.Repo) error {
	txn, err := r.Begin(ctx)
	if err != nil {
		return err
	}
	_, err = txn.WriteFile(ctx, &object.FileHeader{Mode: object.ModeRegular | 0o644}, 0, nil)
	return errors.Join(err, txn.Abort())
}
