package output

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	prefix   = ".ostree-ext-tmp-"
	lockName = ".ostree-ext-lock"
	// grace is the age up to which an empty file or directory is kept, since its maker may not have locked it yet.
	grace = 5 * time.Second
)

// errTaken says that a name is in use.
var errTaken = errors.New("no free name for a temporary file")

// IsTemp reports whether a file name is one of a temporary file of this package.
func IsTemp(name string) bool { return name == lockName || strings.HasPrefix(name, prefix) }

// Temp makes a new file, which the caller renames or removes before it closes it.
func Temp(dir string) (*os.File, error) {
	return hold(dir, func(name string) (*os.File, error) {
		return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	})
}

// Dir is a temporary directory.
type Dir struct {
	// Name is its path.
	Name string
	f    *os.File
}

// TempDir makes a new directory.
func TempDir(dir string) (*Dir, error) {
	f, err := hold(dir, func(name string) (*os.File, error) {
		if err := os.Mkdir(name, 0o700); err != nil {
			return nil, err
		}
		return os.Open(name)
	})
	if err != nil {
		return nil, err
	}
	return &Dir{Name: f.Name(), f: f}, nil
}

// Remove removes the directory with its content.
func (d *Dir) Remove() error { return errors.Join(os.RemoveAll(d.Name), d.f.Close()) }

// hold makes a new file or directory and locks it.
func hold(dir string, create func(name string) (*os.File, error)) (*os.File, error) {
	for range 100 {
		name := filepath.Join(dir, prefix+strconv.FormatUint(rand.Uint64(), 36))
		f, err := create(name)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err = lock(f); errors.Is(err, unix.EWOULDBLOCK) || err == nil && !current(f) {
			// A sweep removed it before it was locked.
			if err := errors.Join(os.RemoveAll(name), f.Close()); err != nil {
				return nil, err
			}
			continue
		}
		return f, nil // ignored: a filesystem without locks is not swept
	}
	return nil, errTaken
}

// lock locks a file or directory. It fails if another process holds the lock.
func lock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EINTR {
			return err
		}
	}
}

// current reports whether a file still has its name.
func current(f *os.File) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(open, named)
}

// Sweep removes what [Temp] and [TempDir] made in a directory for processes that have died. It skips what it cannot
// open.
func Sweep(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return
	}
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			sweep(filepath.Join(dir, name))
		}
	}
}

func sweep(name string) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.IsDir() && !st.Mode().IsRegular() {
		return
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); !ok || int(sys.Uid) != os.Geteuid() {
		return
	}
	if lock(f) != nil || !current(f) {
		return
	}
	if time.Since(st.ModTime()).Abs() < grace && empty(f, st) {
		return
	}
	_ = os.RemoveAll(name)
}

func empty(f *os.File, st fs.FileInfo) bool {
	if !st.IsDir() {
		return st.Size() == 0
	}
	names, _ := f.Readdirnames(1)
	return len(names) == 0
}

// Lock waits until this process holds the lock of a directory. The lock is a file in the directory, which is removed on
// release. On filesystems without locks it does nothing.
func Lock(ctx context.Context, dir string) (unlock func() error, err error) {
	name := filepath.Join(dir, lockName)
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o666)
		if err != nil {
			return nil, err
		}
		err = lock(f)
		switch {
		case err == nil && !current(f): // the previous holder has deleted it
		case !errors.Is(err, unix.EWOULDBLOCK):
			return func() error { return errors.Join(os.Remove(name), f.Close()) }, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}
