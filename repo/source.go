package repo

import (
	"context"
	"io"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Source reads the objects that commits are made of. A [Repo] is one; so is a root filesystem that is hashed where
// it lies. Everything above this package reads through it and never asks which it is. Implementations are safe for
// concurrent use. An absent object is an error that wraps [ErrObjectNotFound].
type Source interface {
	// Metadata returns the stored bytes of a commit, dirtree or dirmeta, or the detached metadata of a commit. The
	// caller must not change them.
	Metadata(ctx context.Context, name object.Name) ([]byte, error)
	// FileInfo returns the header and size of a file object.
	FileInfo(ctx context.Context, c object.Checksum) (*object.FileInfo, error)
	// OpenFile returns the same with the content, which is empty for symlinks. The content has exactly Size bytes;
	// a shorter or longer one is an error of Read. It is not hashed again.
	OpenFile(ctx context.Context, c object.Checksum) (io.ReadCloser, *object.FileInfo, error)
}
