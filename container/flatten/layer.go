package flatten

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// layerEntry is one entry of a layer's archive.
type layerEntry struct {
	typ    byte
	path   string // absolute and clean
	link   string // of a hard link, absolute and clean
	header object.FileHeader
	size   int64
	device uint64
	place  place
}

// readLayer reads one layer, and puts the contents of its files into the spool.
func readLayer(ctx context.Context, image *encapsulate.Prior, l encapsulate.PriorLayer, r *layerReader) (list []layerEntry, err error) {
	blob, err := image.Open(ctx, l)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	z, err := encapsulate.DecompressAll(l.MediaType, blob)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	sum := sha256.New()
	stream := &layerStream{ctx: ctx, r: io.TeeReader(z, sum)}
	if err := r.read(stream); err != nil {
		return nil, err
	}
	if err := r.rest(stream); err != nil {
		return nil, err
	}
	// The blob's digest is checked at its end.
	if _, err := io.Copy(io.Discard, blob); err != nil {
		return nil, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); l.DiffID.Algorithm != "sha256" || got != l.DiffID.Hex {
		return nil, fmt.Errorf("%w: its diff-id is sha256:%s, not %s", ErrInvalidLayer, got, l.DiffID)
	}
	return r.list, nil
}

// layerStream is the decompressed stream of a layer. It ends when the context does.
type layerStream struct {
	ctx context.Context
	r   io.Reader
	err error // that reading ended with
}

func (s *layerStream) Read(p []byte) (int, error) {
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

// blame returns the reason for an error of reading an archive: the stream's own error, or else the archive.
func (s *layerStream) blame(err error) error {
	if s.err != nil && s.err != io.EOF {
		return s.err
	}
	return fmt.Errorf("%w: %w", ErrInvalidLayer, err)
}

type layerReader struct {
	n      int // of the spool
	spool  io.Writer
	budget *budget
	in     *tar.Reader
	offset int64
	list   []layerEntry
}

func (r *layerReader) read(stream *layerStream) error {
	r.in = tar.NewReader(stream)
	for {
		h, err := r.in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return stream.blame(err)
		}
		if err := r.budget.entry(headerSize(h)); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		e, err := r.entry(stream, h)
		if err != nil {
			return fmt.Errorf("%.200q: %w", h.Name, err)
		}
		r.list = append(r.list, e)
	}
}

// rest reads what follows the archive, which the diff-id covers, too.
func (r *layerReader) rest(stream *layerStream) error {
	n, err := io.Copy(io.Discard, io.LimitReader(stream, maxRest+1))
	if err == nil && n > maxRest {
		err = fmt.Errorf("%w: more than %d bytes follow the archive", ErrInvalidLayer, maxRest)
	}
	return err
}

// headerSize is about what a header keeps in memory.
func headerSize(h *tar.Header) int {
	n := len(h.Name) + len(h.Linkname)
	for key, value := range h.PAXRecords {
		n += len(key) + len(value)
	}
	return n
}

func (r *layerReader) entry(stream *layerStream, h *tar.Header) (e layerEntry, err error) {
	p, err := cleanPath(h.Name)
	if err != nil {
		return e, err
	}
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > math.MaxUint32 || int64(h.Gid) > math.MaxUint32 {
		return e, fmt.Errorf("%w: the owner %d:%d", ErrInvalidLayer, h.Uid, h.Gid)
	}
	e = layerEntry{typ: h.Typeflag, path: p}
	e.header = object.FileHeader{UID: uint32(h.Uid), GID: uint32(h.Gid), Mode: uint32(h.Mode & 0o7777), Xattrs: xattrs(h)}
	switch h.Typeflag {
	case tar.TypeReg:
		e.header.Mode |= object.ModeRegular
		e.size, e.place = h.Size, place{r.n, r.offset}
		return e, r.content(stream, h)
	case tar.TypeDir:
		e.header.Mode |= object.ModeDir
	case tar.TypeSymlink:
		e.header.Mode, e.header.Target = object.ModeSymlink|0o777, h.Linkname
		if h.Linkname == "" || len(h.Linkname) >= maxPath {
			return e, fmt.Errorf("%w: a symlink with a target of %d bytes", ErrInvalidLayer, len(h.Linkname))
		}
	case tar.TypeLink:
		e.link, err = cleanPath(h.Linkname)
		return e, err
	case tar.TypeFifo:
		e.header.Mode |= modeFIFO
	case tar.TypeChar:
		e.header.Mode |= modeChar
		e.device, err = deviceNumber(h)
	case tar.TypeBlock:
		e.header.Mode |= modeBlock
		e.device, err = deviceNumber(h)
	default:
		return e, fmt.Errorf("%w: an entry of type %q", ErrInvalidLayer, h.Typeflag)
	}
	return e, err
}

// content puts a file's content into the spool. What a header says of its size counts before anything is read: sparse files
// have few bytes for many.
func (r *layerReader) content(stream *layerStream, h *tar.Header) error {
	if err := r.budget.content(h.Size); err != nil {
		return err
	}
	out := &spoolWriter{w: r.spool}
	n, err := io.Copy(out, r.in)
	r.offset += n
	switch {
	case out.err != nil:
		return out.err
	case err != nil:
		return fmt.Errorf("its content: %w", stream.blame(err))
	case n != h.Size:
		return fmt.Errorf("%w: its content has %d bytes, not %d", ErrInvalidLayer, n, h.Size)
	}
	return nil
}

// spoolWriter tells errors of writing from those of reading.
type spoolWriter struct {
	w   io.Writer
	err error
}

func (s *spoolWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.err = err
	return n, err
}

// Types of special files.
const (
	modeFIFO  = 0o010000
	modeChar  = 0o020000
	modeBlock = 0o060000
)

// cleanPath makes the path of an archive absolute. One that leads upwards is an error, though nothing could come of it.
func cleanPath(name string) (string, error) {
	if len(name) >= maxPath || strings.Contains(name, "\x00") {
		return "", fmt.Errorf("%w: a path of %d bytes, or one with a NUL", ErrInvalidLayer, len(name))
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%w: the path %.200q leads upwards", ErrInvalidLayer, name)
		}
		if len(part) > maxName {
			return "", fmt.Errorf("%w: a name of %d bytes", ErrInvalidLayer, len(part))
		}
	}
	return path.Clean("/" + name), nil
}

const paxXattr = "SCHILY.xattr."

func xattrs(h *tar.Header) object.Xattrs {
	var list []object.Xattr
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, paxXattr); ok && name != "" {
			list = append(list, object.Xattr{Name: name, Value: []byte(value)})
		}
	}
	return object.NewXattrs(slices.Clip(list))
}

// deviceNumber composes a device number as Linux does.
func deviceNumber(h *tar.Header) (uint64, error) {
	if h.Devmajor < 0 || h.Devminor < 0 || h.Devmajor > math.MaxUint32 || h.Devminor > math.MaxUint32 {
		return 0, fmt.Errorf("%w: the device %d:%d", ErrInvalidLayer, h.Devmajor, h.Devminor)
	}
	ma, mi := uint64(h.Devmajor), uint64(h.Devminor)
	return mi&0xff | (ma&0xfff)<<8 | (mi&^0xff)<<12 | (ma&^0xfff)<<32, nil
}
