package plain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/overlay"
)

// File is an entry of a layer.
type File struct {
	// Path is absolute and clean.
	Path string
	// Object is the checksum that [rootfs.Hash] gives such an entry, or for a directory that of its dirmeta. It is zero
	// for a hard link.
	Object object.Checksum
	// Link is the path of a hard link's target. It is empty for other entries.
	Link string
}

// maxFiles bounds the entries of one layer.
const maxFiles = 10_000_000

// List reads a layer of any program and yields its entries as in a [View]: without times, including those in Python's
// compiled files. It does not detect repeated paths or dangling hard links. It stops after an error. The error wraps
// [tarfmt.ErrInvalidStream] if the stream is invalid, or if it has whiteouts, which only make sense above other layers.
func List(ctx context.Context, r io.Reader) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		// Sparse files are refused: a few bytes could stand for any number of zeros, which would all be hashed.
		in := NewReader[struct{}](ctx, r, ReadOptions{NoSparse: true})
		for n := 0; ; n++ {
			e, err := in.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && n == maxFiles {
				err = invalidf("more than %d entries", maxFiles)
			}
			if err != nil {
				yield(File{}, err)
				return
			}
			f, err := listed(&e, in)
			if err != nil {
				yield(File{}, fmt.Errorf("%.200q: %w", e.Path, err))
				return
			}
			if !yield(f, nil) {
				return
			}
		}
	}
}

func listed(e *overlay.Entry[struct{}], content io.Reader) (f File, err error) {
	if e.Mark != overlay.None {
		return f, invalidf("a whiteout")
	}
	f.Path, f.Link = e.Path, e.Link
	if f.Link == "" {
		f.Object, err = objectOf(e.Path, e.File, content)
	}
	return f, err
}

// objectOf returns the checksum of a file as it is in the view of a tree.
func objectOf(p string, f *overlay.File[struct{}], content io.Reader) (c object.Checksum, err error) {
	e := rootfs.Entry{FileHeader: &f.FileHeader, Device: f.Device}
	e.Xattrs = keptXattrs(e.Xattrs)
	e.Dir, e.Name = rootfs.Split(p)
	switch {
	case e.IsDir():
		data, err := object.EncodeDirMeta(&object.DirMeta{UID: e.UID, GID: e.GID, Mode: e.Mode, Xattrs: e.Xattrs})
		if err != nil {
			return c, fmt.Errorf("%w: %w", tarfmt.ErrInvalidStream, err)
		}
		return object.HashMetadata(data), nil
	case !e.IsRegular():
		if c, err = rootfs.HeaderObject(e); err != nil {
			return c, fmt.Errorf("%w: %w", tarfmt.ErrInvalidStream, err)
		}
		return c, nil
	}
	s, err := object.FileHasher(e.FileHeader)
	if err != nil {
		return c, fmt.Errorf("%w: %w", tarfmt.ErrInvalidStream, err)
	}
	if strings.HasSuffix(p, bytecodeSuffix) {
		content = &bytecode{r: content}
	}
	if _, err := io.Copy(s, content); err != nil {
		return c, err
	}
	s.Sum(c[:0])
	return c, nil
}
