package repo

import (
	"context"
	"io"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Source reads the objects of commits. A [Repo] is one; so is a root filesystem on disk that is hashed in place. The
// packages above this one read through it and do not depend on which it is. Implementations are safe for concurrent
// use. If an object is absent, the error wraps [ErrObjectNotFound].
type Source interface {
	// Metadata returns the stored bytes of a commit, dirtree or dirmeta, or the detached metadata of a commit. The
	// caller must not change them.
	Metadata(ctx context.Context, name object.Name) ([]byte, error)
	// FileInfo returns the header and size of a file object.
	FileInfo(ctx context.Context, c object.Checksum) (*object.FileInfo, error)
	// OpenFile returns the header, size and content of a file object; symlinks have no content. Read returns an error if
	// the content is not exactly Size bytes long. The content is not hashed again. It also implements [io.ReaderAt] and
	// [io.Seeker] if the source supports random access, as repositories that store it uncompressed do.
	OpenFile(ctx context.Context, c object.Checksum) (io.ReadCloser, *object.FileInfo, error)
}
