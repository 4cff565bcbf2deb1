package rpm

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// file is a database of which pieces are read.
type file struct {
	io.ReaderAt
	size  int64
	close func() error
}

// openFile opens a file of the tree, by way of a copy on disk if only a stream can be had.
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
	// It goes away with the last who has it open.
	_, err = io.Copy(f, r)
	if err := errors.Join(err, os.Remove(f.Name()), r.Close()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &file{f, e.Size, f.Close}, nil
}

// read fills a buffer from an offset, which the caller has compared with the size.
func (f *file) read(p []byte, at int64) error {
	n, err := f.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	return errors.Join(err, io.ErrUnexpectedEOF)
}
