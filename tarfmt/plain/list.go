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

// File is something in a layer.
type File struct {
	// Path is absolute and clean.
	Path string
	// Object is what [rootfs.Hash] gives an entry like this, or for a directory the checksum of its dirmeta. It is
	// zero for a hard link.
	Object object.Checksum
	// Link is the path of the file that a hard link is another name of, else empty.
	Link string
}

// maxFiles bounds the entries of one layer.
const maxFiles = 10_000_000

// List reads a layer, whoever wrote it, and says what is in it as [View] shows it: times aside, those in Python's
// compiled files, too. It does not see whether something is there twice, or a link leads nowhere. An error, which is
// the last that is said, wraps [tarfmt.ErrInvalidStream] for a stream that breaks the rules or has whiteouts, which
// mean something only above other layers.
func List(ctx context.Context, r io.Reader) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		// Sparse files are refused: a few bytes would stand for as many zeros as they like, all to be hashed.
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
