package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

const (
	// minKept is the size of the smallest blob that is kept. Smaller ones are fetched again as fast as they are read.
	minKept = 256 << 10
	// maxAge is how long kept files stay.
	maxAge = 7 * 24 * time.Hour
	// lockTime is how long to wait for the lock of the directory, which is held for moments only.
	lockTime = 2 * time.Second
)

// keptName matches the names of kept files.
var keptName = regexp.MustCompile(`^[a-z0-9+._]{1,20}-[a-f0-9]{32,128}$`)

// errInUse is returned for a file that another reader has.
var errInUse = errors.New("in use")

// keeper keeps begun blobs in a directory.
type keeper struct {
	dir string
	max int64
	now func() time.Time
	// failed is set when the directory cannot be used. It is not tried again.
	failed atomic.Bool
}

// directory is an open directory of kept files.
type directory struct{ *os.File }

// openDirectory opens a directory, which must be one of this user, and takes its lock.
func openDirectory(ctx context.Context, name string) (d directory, err error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return d, &os.PathError{Op: "open", Path: name, Err: err}
	}
	d = directory{os.NewFile(uintptr(fd), name)}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return d, errors.Join(&os.PathError{Op: "stat", Path: name, Err: err}, d.Close())
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return d, errors.Join(fmt.Errorf("%s is not a directory that only this user may change", name), d.Close())
	}
	if err := d.lock(ctx); err != nil {
		return d, errors.Join(err, d.Close())
	}
	return d, nil
}

// lock takes the lock of the directory.
func (d directory) lock(ctx context.Context) error {
	for end := time.Now().Add(lockTime); ; {
		err := flock(d.File)
		if !errors.Is(err, errInUse) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s is locked by another process", d.Name())
		}
		if err := (machineClock{}).Sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

func (d directory) unlock() {
	// Closing the directory would do it, too.
	_ = unix.Flock(int(d.Fd()), unix.LOCK_UN)
}

// flock locks a file, or returns errInUse.
func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return errInUse
		case !errors.Is(err, unix.EINTR):
			return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
	}
}

// open opens a regular file of this user that has one name.
func (d directory) open(name string, flags int) (*os.File, error) {
	// What is not a regular file is not even opened.
	var st unix.Stat_t
	err := unix.Fstatat(int(d.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil {
		err = usable(name, &st)
	} else if errors.Is(err, unix.ENOENT) && flags&unix.O_CREAT != 0 {
		err, flags = nil, flags|unix.O_EXCL
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: d.Name() + "/" + name, Err: err}
	}
	fd, err := unix.Openat(int(d.Fd()), name,
		flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: d.Name() + "/" + name, Err: err}
	}
	f := os.NewFile(uintptr(fd), d.Name()+"/"+name)
	if err = unix.Fstat(fd, &st); err == nil {
		err = usable(name, &st)
	}
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "open", Path: f.Name(), Err: err}, f.Close())
	}
	return f, nil
}

func usable(name string, st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() || st.Nlink != 1 {
		return fmt.Errorf("%s is not a regular file of this user with one name", name)
	}
	return nil
}

// inode returns the number of the file that has a name, or 0.
func (d directory) inode(name string) uint64 {
	var st unix.Stat_t
	if unix.Fstatat(int(d.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return 0
	}
	return st.Ino
}

func (d directory) remove(name string) error {
	err := unix.Unlinkat(int(d.Fd()), name, 0)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "unlink", Path: d.Name() + "/" + name, Err: err}
	}
	return nil
}

// file is a kept file.
type file struct {
	name  string
	size  int64 // bytes that it has, or will have if a reader has it
	inUse bool
	at    time.Time // when it was changed last
}

// list returns the kept files, oldest first. Others are left out.
func (d directory) list() ([]file, error) {
	if _, err := d.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var files []file
	for _, name := range names {
		if !keptName.MatchString(name) {
			continue
		}
		if f, ok := d.inspect(name); ok {
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b file) int { return a.at.Compare(b.at) })
	return files, nil
}

// inspect returns what is known of a file. It returns false for one that is not ours.
func (d directory) inspect(name string) (file, bool) {
	f, err := d.open(name, unix.O_RDONLY)
	if err != nil {
		return file{}, false
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return file{}, false
	}
	found := file{name: name, size: st.Size(), at: st.ModTime()}
	if errors.Is(flock(f), errInUse) {
		found.inUse = true
		if size, err := readHeader(f); err == nil {
			found.size = max(found.size, size)
		}
	}
	return found, true
}

// sweep removes files that are too old, and the oldest until no more than the given number of bytes are left. The file
// except stays. It returns the bytes that are left, without that file.
func (d directory) sweep(now time.Time, room int64, except string) (left int64, err error) {
	files, err := d.list()
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		if f.name != except {
			left += f.size
		}
	}
	for _, f := range files {
		old := now.Sub(f.at) > maxAge
		if f.inUse || !old && (left <= room || f.name == except) {
			continue
		}
		if err := d.remove(f.name); err != nil {
			return left, err
		}
		if f.name != except {
			left -= f.size
		}
	}
	return left, nil
}

// open returns the file for a blob, locked for this reader. It returns nil without an error if another reader has the
// file, or there is not enough room.
func (k *keeper) open(ctx context.Context, d digest.Digest, size int64) (found *kept, err error) {
	name := d.Algorithm().String() + "-" + d.Encoded()
	if !keptName.MatchString(name) || size > k.max {
		return nil, nil
	}
	if err := os.Mkdir(k.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	dir, err := openDirectory(ctx, k.dir)
	if err != nil {
		return nil, err
	}
	defer dir.unlock()
	defer func() {
		if found == nil {
			err = errors.Join(err, dir.Close())
		}
	}()
	if left, err := dir.sweep(k.now(), k.max-size, name); err != nil || left > k.max-size {
		return nil, err
	}
	f, err := dir.open(name, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, err
	}
	err = flock(f)
	if err == nil {
		found = &kept{dir: dir, name: name, f: f, size: size}
		if err = found.start(); err == nil {
			return found, nil
		}
		found = nil
	}
	err = errors.Join(err, f.Close())
	if errors.Is(err, errInUse) {
		err = nil
	}
	return nil, err
}

// Sweep removes the kept files in a directory that were not changed for the given time and that no reader has. If dry
// is set, it only counts them. It returns their number and the bytes that they have. A directory that does not exist
// has none.
func Sweep(ctx context.Context, dir string, age time.Duration, dry bool) (files int, size int64, err error) {
	d, err := openDirectory(ctx, dir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	list, err := d.list()
	if err != nil {
		return 0, 0, err
	}
	for _, f := range list {
		if f.inUse || time.Since(f.at) < age {
			continue
		}
		if !dry {
			if err := d.remove(f.name); err != nil {
				return files, size, err
			}
		}
		files, size = files+1, size+f.size
	}
	return files, size, nil
}
