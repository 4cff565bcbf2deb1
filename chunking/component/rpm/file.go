package rpm

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// file is a database file with random access.
type file struct {
	io.ReaderAt
	size  int64
	close func() error
}

// openFile opens a file of the tree. It copies the file to disk if the tree only gives a stream.
func openFile(ctx context.Context, x *rootfs.Index, name string) (*file, error) {
	r, e, err := x.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if at, ok := r.(io.ReaderAt); ok {
		return &file{at, e.Size, r.Close}, nil
	}
	f, err := os.CreateTemp("", "ostree-ext-rpmdb-")
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	// The name is removed at once. The system frees the file when it is closed.
	_, err = io.Copy(f, r)
	if err := errors.Join(err, os.Remove(f.Name()), r.Close()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &file{f, e.Size, f.Close}, nil
}

// read fills a buffer from an offset. The caller checks that the file is large enough.
func (f *file) read(p []byte, at int64) error {
	n, err := f.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	return errors.Join(err, io.ErrUnexpectedEOF)
}
