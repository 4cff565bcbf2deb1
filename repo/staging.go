package repo

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	stagingPrefix = "staging-"
	lockSuffix    = "-lock"
	// stagingGrace is the age up to which an empty staging directory is left alone. Libostree locks a staging directory
	// only after it made it.
	stagingGrace = 5 * time.Second
)

// bootID identifies the current boot. What an earlier boot staged may never have reached the disk.
func bootID() (string, error) {
	if id := os.Getenv("OSTREE_BOOTID"); id != "" && !strings.Contains(id, "/") {
		return id, nil
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}

// stagingLock is the lock of one staging directory: tmp/<name>-lock, held exclusively for as long as its user lives.
type stagingLock struct {
	tmp  *os.Root
	name string // of the lock file
	f    *os.File
}

// lockStaging takes the lock of a staging directory. It returns nil if somebody else holds it.
func lockStaging(tmp *os.Root, name string) (*stagingLock, error) {
	name += lockSuffix
	f, err := tmp.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	l := &stagingLock{tmp: tmp, name: name, f: f}
	var flock bool
	ok, err := tryLockFile(int(f.Fd()), unix.F_WRLCK, &flock)
	if err == nil && ok {
		// Releasing a lock deletes its file, so the file that we locked may be deleted already.
		ok, err = l.current()
	}
	if !ok || err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// current reports whether the locked file still has its name.
func (l *stagingLock) current() (bool, error) {
	held, err := l.f.Stat()
	if err != nil {
		return false, err
	}
	named, err := l.tmp.Lstat(l.name)
	if err != nil {
		return false, ignoreMissing(err)
	}
	return os.SameFile(held, named), nil
}

// release deletes the lock file and releases the lock.
func (l *stagingLock) release() error {
	return errors.Join(ignoreMissing(l.tmp.Remove(l.name)), l.f.Close())
}

// staging is the directory in which a transaction collects its objects. It is always new: libostree would reuse the
// directory of a dead transaction, but the objects there are not verified.
type staging struct {
	tmp   *os.Root
	name  string
	lock  *stagingLock
	fd    int
	named atomic.Bool // the filesystem has no files without names
	dirs  [256]stagingDir
}

type stagingDir struct {
	mu sync.Mutex
	fd int // plus one; zero means none
}

func newStaging(tmp *os.Root) (*staging, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	for range 100 {
		name := tempName(stagingPrefix + boot + "-")
		// The lock comes first, so that nobody ever sees the directory without it.
		lock, err := lockStaging(tmp, name)
		if err != nil {
			return nil, err
		}
		if lock == nil {
			continue
		}
		if err := tmp.Mkdir(name, 0o775); errors.Is(err, os.ErrExist) {
			if err := lock.f.Close(); err != nil {
				return nil, err
			}
			continue
		} else if err != nil {
			return nil, errors.Join(err, lock.release())
		}
		s := &staging{tmp: tmp, name: name, lock: lock, fd: -1}
		if err := s.open(); err != nil {
			return nil, errors.Join(err, s.remove())
		}
		return s, nil
	}
	return nil, errors.New("no free name for a staging directory in tmp/")
}

func (s *staging) open() error {
	f, err := s.tmp.Open(s.name)
	if err != nil {
		return err
	}
	s.fd, err = fdOf(f)
	return err
}

// dir returns the directory for objects whose ids begin with first. The caller must not close it.
func (s *staging) dir(first byte) (int, error) {
	d := &s.dirs[first]
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd == 0 {
		fd, err := makeDir(s.fd, hexByte(first), 0o777)
		if err != nil {
			return -1, err
		}
		d.fd = fd + 1
	}
	return d.fd - 1, nil
}

// remove deletes the directory with everything in it and releases its lock.
func (s *staging) remove() error {
	errs := []error{s.tmp.RemoveAll(s.name), s.lock.release()}
	for i := range s.dirs {
		if fd := s.dirs[i].fd; fd > 0 {
			errs = append(errs, unix.Close(fd-1))
			s.dirs[i].fd = 0
		}
	}
	if s.fd >= 0 {
		errs = append(errs, unix.Close(s.fd))
		s.fd = -1
	}
	return errors.Join(errs...)
}

// tempFile is a file that is being written. Most often it has no name yet.
type tempFile struct {
	staging *staging
	fd      int
	name    string // empty if the file has none
}

// create opens a new file for writing.
func (s *staging) create() (*tempFile, error) {
	if !s.named.Load() {
		fd, err := openat(s.fd, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err == nil {
			return &tempFile{staging: s, fd: fd}, nil
		}
		// These are the errors of kernels and filesystems without O_TMPFILE.
		if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
		s.named.Store(true)
	}
	name := tempName("tmpobj-")
	fd, err := openat(s.fd, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	return &tempFile{staging: s, fd: fd, name: name}, nil
}

// link gives the file its name. It reports false if the name is taken.
func (t *tempFile) link(dirfd int, name string) (bool, error) {
	var err error
	if t.name == "" {
		err = unix.Linkat(unix.AT_FDCWD, procPath(t.fd), dirfd, name, unix.AT_SYMLINK_FOLLOW)
	} else {
		err = unix.Linkat(t.staging.fd, t.name, dirfd, name, 0)
	}
	if errors.Is(err, unix.EEXIST) {
		return false, nil
	}
	return err == nil, err
}

// close closes the file. Unless link was called, the file is gone then.
func (t *tempFile) close() error {
	err := unix.Close(t.fd)
	if t.name != "" {
		err = errors.Join(err, unix.Unlinkat(t.staging.fd, t.name, 0))
	}
	return err
}

// tidyTmp deletes what dead transactions of this program or of libostree left in tmp/: staging directories that are not
// locked, and everything else that is older than the expiry time.
//
// Libostree keeps unlocked staging directories of the current boot in order to reuse them. We never reuse them, so we
// delete them; otherwise those of killed processes would pile up until the next boot.
func tidyTmp(tmp *os.Root, expiry time.Duration) error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	dir, err := tmp.Open(".")
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err := errors.Join(err, dir.Close()); err != nil {
		return err
	}
	now := time.Now()
	for _, name := range names {
		if name == "cache" {
			continue
		}
		info, err := tmp.Lstat(name)
		if err != nil {
			// Its owner has just deleted it.
			continue
		}
		err = tidyEntry(tmp, info, now.Sub(info.ModTime()), expiry, stagingPrefix+boot+"-")
		if err != nil && !errors.Is(err, os.ErrPermission) { // files of another user are theirs to delete
			return fmt.Errorf("tmp/%s: %w", name, err)
		}
	}
	return nil
}

func tidyEntry(tmp *os.Root, info os.FileInfo, age, expiry time.Duration, ours string) error {
	name := info.Name()
	switch {
	case info.IsDir() && strings.HasPrefix(name, stagingPrefix):
		return tidyStaging(tmp, name, strings.HasPrefix(name, ours) && age >= 0 && age < stagingGrace)
	case strings.HasPrefix(name, stagingPrefix) && strings.HasSuffix(name, lockSuffix):
		// A writer was killed before it made the directory, or after it had deleted it. Who is about to take the lock sees
		// that the file is gone, and takes another.
		if _, err := tmp.Lstat(strings.TrimSuffix(name, lockSuffix)); err == nil || age < stagingGrace {
			return nil
		}
		lock, err := lockStaging(tmp, strings.TrimSuffix(name, lockSuffix))
		if err != nil || lock == nil {
			return err
		}
		return lock.release()
	case age >= expiry:
		return tmp.RemoveAll(name)
	}
	return nil
}

// tidyStaging deletes a staging directory that is not locked. It keeps a young and empty one: libostree makes the
// directory before it takes the lock.
func tidyStaging(tmp *os.Root, name string, young bool) error {
	lock, err := lockStaging(tmp, name)
	if err != nil || lock == nil {
		return err
	}
	if young {
		empty, err := isEmptyDir(tmp, name)
		if err != nil || empty {
			return errors.Join(err, lock.release())
		}
	}
	return errors.Join(tmp.RemoveAll(name), lock.release())
}

func isEmptyDir(root *os.Root, name string) (bool, error) {
	dir, err := root.Open(name)
	if err != nil {
		return false, ignoreMissing(err)
	}
	names, err := dir.Readdirnames(1)
	if errors.Is(err, os.ErrNotExist) || len(names) == 0 {
		err = nil
	}
	return len(names) == 0, errors.Join(err, dir.Close())
}
