package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// dirHandle is an open directory that is closed by its last user.
type dirHandle struct {
	fd   int
	refs atomic.Int32
}

func newDirHandle(fd int) *dirHandle {
	d := &dirHandle{fd: fd}
	d.refs.Store(1)
	return d
}

func (d *dirHandle) retain() { d.refs.Add(1) }

func (d *dirHandle) release() error {
	if d.refs.Add(-1) > 0 {
		return nil
	}
	return unix.Close(d.fd)
}

// hashFiles hashes the files of the queue. After an error in any goroutine it only releases the rest of the queue.
func (a *dirAdder) hashFiles(ctx context.Context, cancel context.CancelCauseFunc) error {
	var scratch fileScratch
	var first error
	for job := range a.jobs {
		err := ctx.Err()
		if err == nil {
			err = a.hashFile(ctx, &scratch, job)
		}
		if err = errors.Join(err, job.dir.release()); err != nil && first == nil {
			first = err
			cancel(err)
		}
	}
	return first
}

func (a *dirAdder) hashFile(ctx context.Context, s *fileScratch, job fileJob) error {
	name := job.files.names[job.index]
	path := joinTreePath(job.path, name)
	c, err := a.openAndHash(ctx, s, job.dir.fd, name, path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	job.files.ids[job.index] = c
	return nil
}

// openAndHash returns the zero id for a file that is left out.
func (a *dirAdder) openAndHash(ctx context.Context, s *fileScratch, dirfd int, name, path string) (c object.Checksum,
	err error) {
	// The directory told the type; a file of another type is refused below. O_NONBLOCK: a FIFO must not hang.
	flags := unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := openat(dirfd, name, flags, 0)
	symlink := errors.Is(err, unix.ELOOP)
	if symlink {
		fd, err = openat(dirfd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return c, err
	}
	h := object.FileHeader{UID: st.Uid, GID: st.Gid, Mode: st.Mode}
	if typ := st.Mode & object.ModeTypeMask; typ != object.ModeRegular && !(symlink && typ == object.ModeSymlink) {
		return c, errors.New("it changed its type while it was read")
	}
	if symlink {
		if h.Target, err = s.readlink(fd); err != nil {
			return c, err
		}
	}
	keep, err := a.mod.stat(path, &h)
	if err != nil || !keep {
		return c, err
	}
	if a.mod.readXattrs {
		if symlink {
			h.Xattrs, err = readXattrs(fd)
		} else {
			h.Xattrs, err = s.fdXattrs(fd)
		}
		if err != nil {
			return c, err
		}
	}
	if err := a.mod.label(path, &h); err != nil {
		return c, err
	}
	switch {
	case symlink:
		h.Mode = object.ModeSymlink | 0o777
		return a.txn.writeFile(ctx, contentJob{header: &h})
	case st.Nlink > 1:
		return a.links.do(ctx, st.Dev, st.Ino, &h, func() (object.Checksum, error) { return a.write(ctx, &h, fd, st.Size) })
	default:
		return a.write(ctx, &h, fd, st.Size)
	}
}

func (a *dirAdder) write(ctx context.Context, h *object.FileHeader, fd int, size int64) (object.Checksum, error) {
	c, err := a.txn.writeFile(ctx, contentJob{header: h, size: size, r: fdReader(fd)})
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, object.ErrCorrupt) {
		return c, fmt.Errorf("it changed while it was read: %w", err)
	}
	return c, err
}

// fdReader reads a raw descriptor, which the caller closes. Unlike an [os.File] it costs nothing to make.
type fdReader int

func (r fdReader) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(r), p)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// fileScratch holds the buffers of one goroutine.
type fileScratch struct{ names, value, target []byte }

// fdXattrs is readXattrs without the detour through /proc, and with buffers that are reused.
func (s *fileScratch) fdXattrs(fd int) (object.Xattrs, error) {
	if s.names == nil {
		s.names, s.value = make([]byte, 4096), make([]byte, 4096)
	}
	names, err := growXattr(&s.names, func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	if errors.Is(err, unix.ENOTSUP) || err == nil && len(names) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []object.Xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		value, err := growXattr(&s.value, func(b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
		if errors.Is(err, unix.ENODATA) || err == nil && len(value) == 0 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("xattr %s: %w", name, err)
		}
		list = append(list, object.Xattr{Name: name, Value: append([]byte(nil), value...)})
	}
	return object.NewXattrs(list), nil
}

func (s *fileScratch) readlink(fd int) (string, error) {
	if s.target == nil {
		s.target = make([]byte, maxTarget+1)
	}
	n, err := unix.Readlinkat(fd, "", s.target)
	if err != nil {
		return "", err
	}
	return string(s.target[:n]), nil
}

// linkMemo makes sure that a file with several names is read once. The header is part of the key, since changes to
// metadata may depend on the path.
type linkMemo struct {
	mu   sync.Mutex
	seen map[linkKey]*linkResult
}

type linkKey struct {
	dev, ino uint64
	header   string
}

type linkResult struct {
	done chan struct{}
	id   object.Checksum
	err  error
}

func (m *linkMemo) do(ctx context.Context, dev, ino uint64, h *object.FileHeader,
	hash func() (object.Checksum, error)) (object.Checksum, error) {
	header, err := object.EncodeFileHeader(h)
	if err != nil {
		return object.Checksum{}, err
	}
	key := linkKey{dev: dev, ino: ino, header: string(header)}
	m.mu.Lock()
	r, ok := m.seen[key]
	if !ok {
		r = &linkResult{done: make(chan struct{})}
		m.seen[key] = r
	}
	m.mu.Unlock()
	if !ok {
		r.id, r.err = hash()
		close(r.done)
		return r.id, r.err
	}
	select {
	case <-r.done:
		return r.id, r.err
	case <-ctx.Done():
		return object.Checksum{}, ctx.Err()
	}
}
