package plain

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"regexp"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/overlay"
)

// These are limits of Linux, which no file of an image can exceed.
const (
	maxPath = 4096
	maxName = 255
)

// ReadOptions limits what a reader of a layer accepts.
type ReadOptions struct {
	// Memory, if not nil, is called before an entry is returned, with the approximate size of its strings and xattrs in
	// bytes. Its error ends the reading.
	Memory func(bytes int) error
	// Content, if not nil, is called before a file is returned, with its size in bytes. The size of a sparse file can far
	// exceed that of the archive. Its error ends the reading.
	Content func(bytes int64) error
	// NoSparse refuses sparse files.
	NoSparse bool
}

// Reader reads the entries of a layer of any program. An error about the layer, as opposed to one of reading the
// stream, wraps [tarfmt.ErrInvalidStream].
type Reader[C any] struct {
	stream *stream
	in     *tar.Reader
	opts   ReadOptions
	name   string // of the entry
	header *tar.Header
}

// NewReader returns a reader of a layer's decompressed stream. Reading fails once the context is done. The reader reads
// to the end of the archive, and leaves what follows in the stream.
func NewReader[C any](ctx context.Context, r io.Reader, opts ReadOptions) *Reader[C] {
	s := &stream{ctx: ctx, r: r}
	return &Reader[C]{stream: s, in: tar.NewReader(s), opts: opts}
}

// Next returns the next entry, or [io.EOF] after the last. [Reader.Read] then reads the content of a regular file.
// Content that was not read is skipped.
func (r *Reader[C]) Next() (overlay.Entry[C], error) {
	for {
		h, err := r.in.Next()
		if errors.Is(err, io.EOF) {
			return overlay.Entry[C]{}, io.EOF
		}
		if err != nil {
			return overlay.Entry[C]{}, r.stream.blame(err)
		}
		if r.opts.Memory != nil {
			if err := r.opts.Memory(headerSize(h)); err != nil {
				return overlay.Entry[C]{}, err
			}
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		r.name, r.header = h.Name, h
		e, err := r.entry(h)
		if err != nil {
			return e, fmt.Errorf("%.200q: %w", h.Name, err)
		}
		return e, nil
	}
}

// Header returns the header of the entry that [Reader.Next] returned last, which has the owner and mode of whiteouts,
// and times. It must not be changed.
func (r *Reader[C]) Header() *tar.Header { return r.header }

// Read reads the content of the entry that [Reader.Next] returned last.
func (r *Reader[C]) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("content of %.200q: %w", r.name, r.stream.blame(err))
	}
	return n, err
}

func (r *Reader[C]) entry(h *tar.Header) (e overlay.Entry[C], err error) {
	if e.Path, err = cleanPath(h.Name); err != nil {
		return e, err
	}
	e.Mark, e.Path = mark(e.Path)
	if h.Typeflag == tar.TypeLink {
		e.Link, err = cleanPath(h.Linkname)
	} else {
		e.File, err = r.file(h)
	}
	if e.Mark != overlay.None {
		e.Link, e.File = "", nil
	}
	return e, err
}

func (r *Reader[C]) file(h *tar.Header) (f *overlay.File[C], err error) {
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > math.MaxUint32 || int64(h.Gid) > math.MaxUint32 {
		return nil, invalidf("the owner %d:%d", h.Uid, h.Gid)
	}
	f = &overlay.File[C]{}
	f.UID, f.GID, f.Mode, f.Xattrs = uint32(h.Uid), uint32(h.Gid), uint32(h.Mode&0o7777), xattrs(h)
	switch h.Typeflag {
	case tar.TypeReg:
		f.Mode |= object.ModeRegular
		f.Size = h.Size
		if r.opts.NoSparse && isSparse(h) {
			return nil, invalidf("a sparse file")
		}
		if r.opts.Content != nil {
			err = r.opts.Content(h.Size)
		}
	case tar.TypeDir:
		f.Mode |= object.ModeDir
	case tar.TypeSymlink:
		f.Mode, f.Target = object.ModeSymlink|0o777, h.Linkname
		if h.Linkname == "" || len(h.Linkname) >= maxPath {
			return nil, invalidf("a symlink with a target of %d bytes", len(h.Linkname))
		}
	case tar.TypeFifo:
		f.Mode |= modeFIFO
	case tar.TypeChar:
		f.Mode |= modeChar
		f.Device, err = deviceNumber(h)
	case tar.TypeBlock:
		f.Mode |= modeBlock
		f.Device, err = deviceNumber(h)
	default:
		return nil, invalidf("an entry of type %q", h.Typeflag)
	}
	return f, err
}

func invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", tarfmt.ErrInvalidStream, fmt.Sprintf(format, args...))
}

// headerSize returns the approximate size of a header's strings and xattrs in bytes.
func headerSize(h *tar.Header) int {
	n := len(h.Name) + len(h.Linkname)
	for key, value := range h.PAXRecords {
		n += len(key) + len(value)
	}
	return n
}

// cleanPath makes a path of an archive absolute and clean. A path with ".." that leads out of the root is an error.
func cleanPath(name string) (string, error) {
	if len(name) >= maxPath || strings.Contains(name, "\x00") {
		return "", invalidf("a path of %d bytes, or one with a NUL", len(name))
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", invalidf("the path %.200q leads upwards", name)
		}
		if len(part) > maxName {
			return "", invalidf("a name of %d bytes", len(part))
		}
	}
	return path.Clean("/" + name), nil
}

const opaqueName = whiteoutPrefix + whiteoutPrefix + ".opq"

// mark returns the mark of a clean path, and the path that it hides.
func mark(p string) (overlay.Mark, string) {
	if !strings.Contains(p, "/"+whiteoutPrefix) {
		return overlay.None, p
	}
	dir, base := path.Split(p)
	name, ok := strings.CutPrefix(base, whiteoutPrefix)
	switch {
	case strings.Contains(dir, "/"+whiteoutPrefix), !ok:
		// Nothing below a directory with such a name is visible.
		return overlay.Reserved, p
	case base == opaqueName:
		return overlay.Opaque, path.Clean(dir)
	case name == "", name == ".", name == "..", strings.HasPrefix(name, whiteoutPrefix):
		return overlay.Reserved, p
	}
	return overlay.Whiteout, dir + name
}

const paxXattr = "SCHILY.xattr."

// Names of attributes with "=", which ends the key of a record, are written as GNU tar does. Others stay as they are,
// since most readers know nothing of that. A name that looks encoded is encoded, so that decoding is the inverse.
var looksEncoded = regexp.MustCompile(`%(25)*3D`)

func encodeXattr(name string) string {
	if !strings.Contains(name, "=") && !looksEncoded.MatchString(name) {
		return name
	}
	return strings.NewReplacer("%", "%25", "=", "%3D").Replace(name)
}

func decodeXattr(name string) string {
	if !looksEncoded.MatchString(name) {
		return name
	}
	return strings.NewReplacer("%3D", "=", "%25", "%").Replace(name)
}

func xattrs(h *tar.Header) object.Xattrs {
	var list []object.Xattr
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, paxXattr); ok && name != "" {
			list = append(list, object.Xattr{Name: decodeXattr(name), Value: []byte(value)})
		}
	}
	return object.NewXattrs(list)
}

// isSparse reports whether a file is sparse. In GNU's old format sparse files have their own type.
func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// deviceNumber composes a Linux device number.
func deviceNumber(h *tar.Header) (uint64, error) {
	if h.Devmajor < 0 || h.Devminor < 0 || h.Devmajor > math.MaxUint32 || h.Devminor > math.MaxUint32 {
		return 0, invalidf("the device %d:%d", h.Devmajor, h.Devminor)
	}
	ma, mi := uint64(h.Devmajor), uint64(h.Devminor)
	return mi&0xff | (ma&0xfff)<<8 | (mi&^0xff)<<12 | (ma&^0xfff)<<32, nil
}

// stream is the decompressed stream of a layer. Reading fails once the context is done.
type stream struct {
	ctx context.Context
	r   io.Reader
	err error // error that reading ended with
}

func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	s.err = err
	return n, err
}

// blame returns the cause of an error of reading an archive: the error of the stream, or else that the archive is
// invalid.
func (s *stream) blame(err error) error {
	if s.err != nil && s.err != io.EOF {
		return s.err
	}
	return fmt.Errorf("%w: %w", tarfmt.ErrInvalidStream, err)
}
