// Package reason says why two files that should be equal differ: a time in a header, the order of members or lines, a
// random name. It looks into archives and compressed files.
//
// The files are not trusted. What is read and kept is limited; files that exceed a limit differ for a reason that is
// not known.
package reason

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/advice/archive"
	"github.com/ostree-ext/ostree-ext-go/internal/inflate"
)

// Names of reasons. docs/advice.md has a section for each.
const (
	GzipTimes    = "gzip-times"
	Compression  = "compression"
	MemberTimes  = "member-times"
	MemberInodes = "member-inodes"
	MemberOrder  = "member-order"
	Members      = "members"
	PycTimes     = "pyc-times"
	SQLite       = "sqlite-counters"
	LineOrder    = "line-order"
	Times        = "embedded-times"
	Random       = "random-text"
	Content      = "content"
)

// A File is one of the two files.
type File struct {
	Size int64
	// Open opens the file. Its content is read from the beginning.
	Open func() (io.ReadCloser, error)
}

// Reason is why two files differ.
type Reason struct {
	// Name is one of the names above.
	Name string
	// Detail says more, for people.
	Detail string
}

// The limits on what is read.
const (
	maxMembers = 200_000
	maxBytes   = 4 << 30 // after decompression
	maxText    = 16e6
	headBytes  = 4096
)

// Of returns why two files differ. Errors are those of reading the files.
func Of(a, b File) (Reason, error) {
	x, err := head(a)
	if err != nil {
		return Reason{}, err
	}
	y, err := head(b)
	if err != nil {
		return Reason{}, err
	}
	kind := archive.Kind(x)
	if kind != archive.Kind(y) {
		return Reason{Content, "one is " + named(kind) + ", the other " + named(archive.Kind(y))}, nil
	}
	if kind != "" {
		if r, ok, err := archives(a, b); ok || err != nil {
			return r, err
		}
	}
	if kind == "gzip" {
		return compressed(a, b, x, y)
	}
	if a.Size > maxText || b.Size > maxText {
		return Reason{Name: Content}, nil
	}
	return read(a, b, plain)
}

func named(kind string) string {
	if kind == "" {
		return "not an archive"
	}
	return kind
}

// head returns the first bytes of a file.
func head(f File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	buf := make([]byte, headBytes)
	n, err := io.ReadFull(r, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return buf[:n], errors.Join(err, r.Close())
}

// read calls compare with the contents of two files.
func read(a, b File, compare func(a, b []byte) Reason) (Reason, error) {
	var contents [2][]byte
	for i, f := range []File{a, b} {
		r, err := f.Open()
		if err != nil {
			return Reason{}, err
		}
		contents[i], err = io.ReadAll(io.LimitReader(r, maxText))
		if err = errors.Join(err, r.Close()); err != nil {
			return Reason{}, err
		}
	}
	return compare(contents[0], contents[1]), nil
}

// compressed compares two gzip files that do not hold archives.
func compressed(a, b File, x, y []byte) (Reason, error) {
	return readAll(a, b, func(p, q []byte) Reason {
		tx, ty := binary.LittleEndian.Uint32(x[4:]), binary.LittleEndian.Uint32(y[4:])
		switch {
		case !bytes.Equal(p, q):
			r := plain(p, q)
			r.Detail = "in the compressed content" + after(r.Detail)
			return r
		case tx != ty:
			return Reason{GzipTimes, fmt.Sprintf("the header has the time %s, and %s", clock(int64(tx)), clock(int64(ty)))}
		}
		return Reason{Compression, "the content is the same, and was compressed in another way"}
	})
}

// readAll calls compare with the decompressed contents of two gzip files.
func readAll(a, b File, compare func(p, q []byte) Reason) (Reason, error) {
	var contents [2][]byte
	for i, f := range []File{a, b} {
		r, err := f.Open()
		if err != nil {
			return Reason{}, err
		}
		data, broken := inflated(r)
		if err := r.Close(); err != nil {
			return Reason{}, err
		}
		if broken != nil || len(data) > maxText {
			return Reason{Name: Content}, nil
		}
		contents[i] = data
	}
	return compare(contents[0], contents[1]), nil
}

func inflated(r io.Reader) ([]byte, error) {
	z, err := inflate.NewReader(bufio.NewReader(r))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, maxText+1))
}

func after(detail string) string {
	if detail == "" {
		return ""
	}
	return ": " + detail
}
