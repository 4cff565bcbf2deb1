package sysroot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockFile is libostree's lock of a sysroot. It exists only while it is held.
const lockFile = "ostree/lock"

// lockPoll is how often a lock that another holds is tried. The kernel cannot be asked to wait with a context.
const lockPoll = 50 * time.Millisecond

// Lock waits for libostree's lock of the sysroot, which keeps others from changing deployments. It is for those who
// delete what no deployment needs. `ostree admin` takes it itself, so it must not be called with the lock held.
func (s *Sysroot) Lock(ctx context.Context) (unlock func() error, err error) {
	for {
		f, err := s.tryLock()
		if err != nil {
			return nil, fmt.Errorf("locking the sysroot %s: %w", s.path, err)
		}
		if f != nil {
			return func() error { return errors.Join(s.root.Remove(lockFile), f.Close()) }, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the lock of the sysroot %s: %w", s.path, context.Cause(ctx))
		case <-time.After(lockPoll):
		}
	}
}

// tryLock returns the locked file, or nil if another holds the lock.
func (s *Sysroot) tryLock() (*os.File, error) {
	f, err := s.root.OpenFile(lockFile, os.O_CREATE|os.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY, 0o600)
	if err != nil {
		return nil, err
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock)
	if err == nil {
		// Whoever held it before has removed the file. A lock of a file that is gone excludes nobody.
		var current bool
		if current, err = s.isLockFile(f); err == nil && current {
			return f, nil
		}
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		err = nil
	}
	return nil, errors.Join(err, f.Close())
}

func (s *Sysroot) isLockFile(f *os.File) (bool, error) {
	held, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := s.root.Lstat(lockFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(held, there), err
}
