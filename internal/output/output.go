package output

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links are followed for one name, as in the kernel.
const maxLinks = 40

// pollPause is the time between two attempts while waiting for another process.
const pollPause = 20 * time.Millisecond

// File is a place to write to.
type File struct {
	// target is the file after resolving links.
	target string
	// info is nil if there is no file yet.
	info fs.FileInfo
	// fd is a descriptor of this process plus one, if the name leads to one.
	fd int
	// w is the stream to write to, if it was given.
	w io.Writer
}

// Open resolves a name. It changes nothing.
func Open(name string) (*File, error) {
	f := &File{target: name}
	var err error
	// Let the kernel resolve the name first: it refuses links that others planted in /tmp.
	if f.info, err = os.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if f.info != nil && f.info.IsDir() {
		return nil, &fs.PathError{Op: "write", Path: name, Err: unix.EISDIR}
	}
	for range maxLinks {
		st, err := os.Lstat(f.target)
		if errors.Is(err, fs.ErrNotExist) || err == nil && st.Mode().Type() != fs.ModeSymlink {
			return f, f.resolveDir()
		}
		if err != nil {
			return nil, err
		}
		dir, base := filepath.Split(f.target)
		if isProc(dir) { // the link of an open file: its text is not always a name
			f.fd = ownDescriptor(dir, base) + 1
			return f, nil
		}
		to, err := os.Readlink(f.target)
		if err != nil {
			return nil, err
		}
		if !filepath.IsAbs(to) {
			to = dir + to // not cleaned: the kernel resolves ".." after a link
		}
		f.target = to
	}
	return nil, &fs.PathError{Op: "write", Path: name, Err: unix.ELOOP}
}

// resolveDir resolves the links in the directory's name, so that names can be joined to it.
func (f *File) resolveDir() error {
	dir, base := filepath.Split(f.target)
	if dir == "" {
		return nil
	}
	dir, err := filepath.EvalSymlinks(dir)
	f.target = filepath.Join(dir, base)
	return err
}

// Standard returns the place that writes to a given stream.
func Standard(w io.Writer) *File { return &File{w: w} }

func isProc(dir string) bool {
	if dir == "" {
		dir = "."
	}
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
}

// ownDescriptor returns the number of a descriptor of this process, or -1.
func ownDescriptor(dir, base string) int {
	own, err := os.Stat("/proc/self/fd")
	if err != nil {
		return -1
	}
	named, err := os.Stat(dir)
	if err != nil || !os.SameFile(own, named) {
		return -1
	}
	fd, err := strconv.Atoi(base)
	if err != nil {
		return -1
	}
	return fd
}

// Stream reports whether the place is written to directly, not replaced. What is written to it cannot be read back.
func (f *File) Stream() bool {
	return f.w != nil || f.fd > 0 || f.info != nil && !f.info.Mode().IsRegular()
}

// Dir returns a directory for temporary files: that of the file, or for a stream the system's.
func (f *File) Dir() string {
	if f.Stream() {
		return os.TempDir()
	}
	return filepath.Dir(f.target)
}

// Write calls fill to write the content. A file is replaced atomically after fill returned without an error. A stream
// gets what fill writes at once. An existing file keeps its permissions.
func (f *File) Write(ctx context.Context, fill func(io.Writer) error) (err error) {
	if f.w != nil {
		return fill(f.w)
	}
	if f.Stream() {
		return f.stream(ctx, fill)
	}
	Sweep(f.Dir())
	tmp, err := Temp(f.Dir())
	if err != nil {
		return err
	}
	if err = fill(tmp); err == nil && f.info != nil {
		err = tmp.Chmod(f.info.Mode().Perm())
	}
	if err == nil {
		err = os.Rename(tmp.Name(), f.target)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(tmp.Name()))
	}
	return errors.Join(err, tmp.Close())
}

func (f *File) stream(ctx context.Context, fill func(io.Writer) error) error {
	w, err := f.openStream(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		if d, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok {
			_ = d.SetWriteDeadline(time.Unix(1, 0)) // nobody may be reading, and not every file has deadlines
		}
	})
	defer stop()
	err = fill(w)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return errors.Join(err, w.Close())
}

// openStream opens an existing file that is not regular. For a pipe it waits for the reader.
func (f *File) openStream(ctx context.Context) (io.WriteCloser, error) {
	if f.fd > 0 {
		fd, err := unix.FcntlInt(uintptr(f.fd-1), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.target, err)
		}
		return os.NewFile(uintptr(fd), f.target), nil
	}
	if f.info.Mode().Type() == fs.ModeSocket {
		var d net.Dialer
		return d.DialContext(ctx, "unix", f.target)
	}
	for {
		w, err := os.OpenFile(f.target, os.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		if !errors.Is(err, unix.ENXIO) || f.info.Mode().Type() != fs.ModeNamedPipe {
			return w, err
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

func pause(ctx context.Context) error {
	t := time.NewTimer(pollPause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// WriteFile writes a small file. If its directory is not writable, or the file is a mount point, the file is written in
// place.
func WriteFile(ctx context.Context, name string, data []byte) error {
	f, err := Open(name)
	if err != nil {
		return err
	}
	err = f.Write(ctx, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	inPlace := slices.ContainsFunc([]error{unix.EACCES, unix.EPERM, unix.EROFS, unix.EBUSY}, func(e error) bool {
		return errors.Is(err, e)
	})
	if inPlace && !f.Stream() && f.info != nil {
		return os.WriteFile(f.target, data, 0o644)
	}
	return err
}
