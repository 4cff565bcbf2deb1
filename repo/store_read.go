package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// objectDir reads objects from a directory with the layout of objects/: that of a repository or of a transaction.
type objectDir struct {
	fd           int
	mode         Mode
	ignoreXattrs bool
	pools        *pools
}

// loosePath is the path of an object below the directory.
func loosePath(n object.Name, mode Mode) string {
	hex := n.Checksum.String()
	return hex[:2] + "/" + hex[2:] + looseSuffix(n.Type, mode)
}

// looseBase is the name of an object in its directory.
func looseBase(n object.Name, mode Mode) string {
	return n.Checksum.String()[2:] + looseSuffix(n.Type, mode)
}

func looseSuffix(t object.Type, mode Mode) string {
	if t == object.TypeFile {
		return mode.fileSuffix()
	}
	return "." + t.String()
}

func notFound(n object.Name) error { return fmt.Errorf("object %s: %w", n, ErrObjectNotFound) }

// wrapOpen adds the object to an error of opening it, and turns an absent file into [ErrObjectNotFound].
func wrapOpen(n object.Name, err error) error {
	if errors.Is(err, unix.ENOENT) {
		return notFound(n)
	}
	return fmt.Errorf("object %s: %w", n, err)
}

func corrupt(n object.Name, format string, args ...any) error {
	return fmt.Errorf("object %s: %w: %s", n, object.ErrCorrupt, fmt.Sprintf(format, args...))
}

// has reports whether the object is in the directory.
func (d *objectDir) has(n object.Name) (bool, error) {
	fd, err := openBeneath(d.fd, loosePath(n, d.mode), unix.O_PATH)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("object %s: %w", n, err)
	}
	return true, unix.Close(fd)
}

// openRegular opens the file that holds the object and returns its size. O_NONBLOCK: a planted FIFO must not hang.
func (d *objectDir) openRegular(n object.Name) (*os.File, int64, error) {
	fd, err := openBeneath(d.fd, loosePath(n, d.mode), unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, 0, wrapOpen(n, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("object %s: %w", n, err), unix.Close(fd))
	}
	if st.Mode&object.ModeTypeMask != object.ModeRegular {
		return nil, 0, errors.Join(corrupt(n, "not a regular file"), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), n.String()), st.Size, nil
}

// metadata reads an object that is stored verbatim.
func (d *objectDir) metadata(n object.Name) ([]byte, error) {
	fd, err := openBeneath(d.fd, loosePath(n, d.mode), unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, wrapOpen(n, err)
	}
	data, err := readRaw(fd, object.MaxMetadataSize)
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return nil, fmt.Errorf("object %s: %w", n, err)
	}
	return data, nil
}

// readRaw reads a regular file of at most limit bytes.
func readRaw(fd int, limit int64) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&object.ModeTypeMask != object.ModeRegular {
		return nil, fmt.Errorf("%w: not a regular file", object.ErrCorrupt)
	}
	if st.Size > limit {
		return nil, fmt.Errorf("%w: %d bytes are more than %d", object.ErrCorrupt, st.Size, limit)
	}
	data := make([]byte, st.Size)
	for n := 0; n < len(data); {
		m, err := unix.Pread(fd, data[n:], int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case m == 0:
			return nil, io.ErrUnexpectedEOF
		default:
			n += m
		}
	}
	return data, nil
}

// fileInfo reads the header and size of a file object.
func (d *objectDir) fileInfo(c object.Checksum) (*object.FileInfo, error) {
	switch d.mode {
	case ModeArchive:
		return d.archiveInfo(c)
	case ModeBareUser:
		f, info, err := d.openBareUser(c)
		if err != nil {
			return nil, err
		}
		return info, f.Close()
	default:
		return d.bareInfo(c)
	}
}

func (d *objectDir) openFile(c object.Checksum) (io.ReadCloser, *object.FileInfo, error) {
	switch d.mode {
	case ModeArchive:
		return d.openArchive(c)
	case ModeBareUser:
		return d.openBareUser(c)
	default:
		return d.openBare(c)
	}
}

// exactReader reads exactly the promised number of bytes from r: fewer or more are an error.
type exactReader struct {
	r    io.Reader
	left int64
	err  error
}

func (e *exactReader) Read(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if e.left == 0 {
		e.err = e.end()
		return 0, e.err
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if err == io.EOF {
		err = nil
		if e.left > 0 {
			err = fmt.Errorf("%w: content ends %d bytes early", object.ErrCorrupt, e.left)
		}
	}
	e.err = err
	return n, err
}

// end returns an error if there is more content.
func (e *exactReader) end() error {
	var probe [1]byte
	for {
		n, err := e.r.Read(probe[:])
		if n > 0 {
			return fmt.Errorf("%w: content is longer than its size", object.ErrCorrupt)
		}
		if err != nil {
			return err
		}
	}
}

// objectFile is the open content of a file object. Its errors name the object.
type objectFile struct {
	exactReader
	name object.Name
	f    *os.File
	free func()
}

func (o *objectFile) Read(p []byte) (int, error) {
	n, err := o.exactReader.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("object %s: %w", o.name, err)
	}
	return n, err
}

// Close implements [io.Closer]; a second call does nothing.
func (o *objectFile) Close() error {
	if o.f == nil {
		return nil
	}
	if o.free != nil {
		o.free()
	}
	err := o.f.Close()
	o.f, o.err = nil, os.ErrClosed
	return err
}

// noContent is the content of symlinks.
var noContent = struct {
	io.Reader
	io.Closer
}{eofReader{}, io.NopCloser(nil)}

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }

// Metadata implements [Source] for commits, dirtrees and dirmetas, and for detached metadata and tombstones, which are
// named by a commit. The bytes are as stored; they are not hashed again.
func (r *Repo) Metadata(ctx context.Context, name object.Name) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !name.Type.IsMetadata() {
		return nil, fmt.Errorf("object %s is not metadata", name)
	}
	return fallThrough(r, func(r *Repo) ([]byte, error) { return r.objects.metadata(name) })
}

// FileInfo implements [Source].
func (r *Repo) FileInfo(ctx context.Context, c object.Checksum) (*object.FileInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return fallThrough(r, func(r *Repo) (*object.FileInfo, error) { return r.objects.fileInfo(c) })
}

// OpenFile implements [Source].
func (r *Repo) OpenFile(ctx context.Context, c object.Checksum) (io.ReadCloser, *object.FileInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	var info *object.FileInfo
	f, err := fallThrough(r, func(r *Repo) (f io.ReadCloser, err error) {
		f, info, err = r.objects.openFile(c)
		return f, err
	})
	return f, info, err
}

// fallThrough calls f for the repository and then for its parents, until one has the object.
func fallThrough[T any](r *Repo, get func(*Repo) (T, error)) (T, error) {
	v, err := get(r)
	for p := r.parent; p != nil && errors.Is(err, ErrObjectNotFound); p = p.parent {
		v, err = get(p)
	}
	return v, err
}

// Has reports whether the repository or one of its parents holds an object.
func (r *Repo) Has(n object.Name) (bool, error) {
	for ; r != nil; r = r.parent {
		if ok, err := r.objects.has(n); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}
