package repo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// retry calls f until it is not interrupted by a signal.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// openBeneath opens a path of at most two components below the directory dirfd. No component may be a symlink, except
// the last with O_PATH, so that a planted symlink cannot lead out of the repository.
func openBeneath(dirfd int, path string, flags int) (int, error) {
	flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW
	if flags&unix.O_PATH == 0 {
		flags |= unix.O_NOCTTY
	}
	how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.Openat2(dirfd, path, &how)
		return err
	})
	// Old kernels lack the call, and seccomp filters older than it return EPERM.
	if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
		return fd, err
	}
	return openSteps(dirfd, path, flags)
}

// openSteps is openBeneath for kernels without openat2.
func openSteps(dirfd int, path string, flags int) (int, error) {
	if dir, base, ok := strings.Cut(path, "/"); ok {
		parent, err := openat(dirfd, dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != nil {
			return -1, err
		}
		defer unix.Close(parent)
		dirfd, path = parent, base
	}
	return openat(dirfd, path, flags, 0)
}

func openat(dirfd int, path string, flags int, perm uint32) (fd int, err error) {
	err = retry(func() (err error) {
		fd, err = unix.Openat(dirfd, path, flags, perm)
		return err
	})
	return fd, err
}

// openDir opens a directory for reading its names, for making files in it and for fsync.
func openDir(dirfd int, path string) (int, error) {
	return openBeneath(dirfd, path, unix.O_RDONLY|unix.O_DIRECTORY)
}

// makeDir opens a directory, which it makes if it does not exist.
func makeDir(dirfd int, name string, perm uint32) (int, error) {
	if err := unix.Mkdirat(dirfd, name, perm); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	return openDir(dirfd, name)
}

func fsync(fd int) error { return retry(func() error { return unix.Fsync(fd) }) }

// startWriteback asks the kernel to begin writing a file to disk, so that the sync at the end of a transaction has less
// to do. Errors are ignored: they cost nothing but time.
func startWriteback(fd int) { _ = unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE) }

// writeAll writes all of b to a blocking descriptor.
func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		default:
			b = b[n:]
		}
	}
	return nil
}

// fdWriter writes to a raw descriptor, which the caller closes.
type fdWriter int

func (w fdWriter) Write(b []byte) (int, error) {
	if err := writeAll(int(w), b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// procPath returns a path of an open file, for system calls that take only paths. The file need not have a name.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

const direntBuffer = 32 << 10

// readDir calls visit with the name and d_type of each entry of the directory fd, which must be newly opened. The name
// is valid only during the call. buf is scratch space.
func readDir(fd int, buf []byte, visit func(name []byte, typ uint8) error) error {
	const nameOffset = 19 // of struct linux_dirent64: ino, off, reclen, type, name
	for {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return err
		}
		for rest := buf[:n]; len(rest) > nameOffset; {
			size := int(binary.NativeEndian.Uint16(rest[16:]))
			if size <= nameOffset || size > len(rest) {
				return fmt.Errorf("directory entry of %d bytes", size)
			}
			name := rest[nameOffset:size]
			for i, b := range name {
				if b == 0 {
					name = name[:i]
					break
				}
			}
			typ := rest[18]
			rest = rest[size:]
			if string(name) == "." || string(name) == ".." {
				continue
			}
			if err := visit(name, typ); err != nil {
				return err
			}
		}
	}
}

// fdOf returns a descriptor of its own for an open directory, and closes f.
func fdOf(f *os.File) (int, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	return fd, errors.Join(err, f.Close())
}
