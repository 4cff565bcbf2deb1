// Package sysroot reads the deployments of a host: the directories from which it boots.
//
// A sysroot is a directory with a repository at ostree/repo, deployments below ostree/deploy, and boot loader entries
// below boot/loader. On a running host it is the root directory. [Open] opens one and [Sysroot.Deployments] lists what
// `ostree admin status` lists, in that order. [FindKernel] says what a commit would put into /boot, and [Sysroot.Boot]
// how much room is there.
//
// The package changes nothing, but [Sysroot.Lock] keeps others from doing so. What it reads may have been written by
// anybody: no path, link or boot loader entry leads out of the sysroot, and sizes and numbers are limited. Deployments
// are made and removed by libostree, since that depends on the boot loader.
package sysroot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
)

// Errors that callers branch on. They are returned wrapped, with what was read.
var (
	// ErrNotSysroot says that a directory has no ostree/repo.
	ErrNotSysroot = errors.New("not a sysroot: there is no ostree/repo")
	// ErrNoStateroot says that a sysroot has no stateroot of a name.
	ErrNoStateroot = errors.New("no such stateroot")
	// ErrInvalid says that a boot loader entry, a link or a file of state is not as libostree writes it.
	ErrInvalid = errors.New("invalid sysroot")
)

// Host says where the running system is. The zero value is the system that the program runs on.
type Host struct {
	// Root is the root directory of the running system, "/" if it is empty.
	Root string
	// Run is its directory for state until the next boot, "/run" if it is empty.
	Run string
}

// Path returns the path of the root directory.
func (h Host) Path() string {
	if h.Root == "" {
		return "/"
	}
	return h.Root
}

func (h Host) run() string {
	if h.Run == "" {
		return "/run"
	}
	return h.Run
}

// booted returns the device and inode of the deployment that the host runs from, and whether it runs from one.
func (h Host) booted() (id fileID, ok bool, err error) {
	name := filepath.Join(h.run(), "ostree-booted")
	data, err := readHostFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fileID{}, false, nil
	}
	if err != nil {
		return fileID{}, false, err
	}
	// With composefs the root directory is an overlay, and the file says what is below it. Otherwise the file is empty.
	if d, err := gvariant.ParseDict(data); err == nil {
		if v, ok := d.Lookup("backing-root-device-inode"); ok {
			if id, err := backing(v); err == nil {
				return id, true, nil
			}
		}
	}
	info, err := os.Stat(h.Path())
	if err != nil {
		return fileID{}, false, err
	}
	return idOf(info), true, nil
}

// backing reads a (tt) of a device and an inode.
func backing(v gvariant.Value) (fileID, error) {
	dev, err := uint64At(v, 0)
	if err != nil {
		return fileID{}, err
	}
	ino, err := uint64At(v, 1)
	return fileID{dev: dev, ino: ino}, err
}

func uint64At(v gvariant.Value, i int) (uint64, error) {
	member, err := v.Index(i)
	if err != nil {
		return 0, err
	}
	return member.Uint64()
}

// fileID identifies a file on the running system.
type fileID struct{ dev, ino uint64 }

func idOf(info fs.FileInfo) fileID {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}
	}
	return fileID{dev: st.Dev, ino: st.Ino}
}

// Sysroot is an open sysroot. It is safe for concurrent use.
type Sysroot struct {
	path string
	host Host
	root *os.Root
}

// Open opens the sysroot at a path. If the directory is none, the error wraps [ErrNotSysroot].
func Open(path string) (*Sysroot, error) { return Host{}.Open(path) }

// Open opens the sysroot at a path as the package's [Open] does, and takes h for the running system.
func (h Host) Open(path string) (*Sysroot, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("opening the sysroot: %w", err)
	}
	info, err := root.Stat("ostree/repo")
	if err == nil && !info.IsDir() || errors.Is(err, fs.ErrNotExist) {
		err = ErrNotSysroot
	}
	if err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("opening the sysroot %s: %w", path, err)
	}
	return &Sysroot{path: path, host: h, root: root}, nil
}

// Close closes the sysroot.
func (s *Sysroot) Close() error { return s.root.Close() }

// Path returns the path that the sysroot was opened with.
func (s *Sysroot) Path() string { return s.path }

// RepoPath returns the path of the repository, for package repo to open.
func (s *Sysroot) RepoPath() string { return filepath.Join(s.path, "ostree/repo") }

// CheckStateroot returns an error that wraps [ErrNoStateroot] if the sysroot has no stateroot of that name.
func (s *Sysroot) CheckStateroot(name string) error {
	if checkName(name) == nil {
		info, err := s.root.Stat(path.Join("ostree/deploy", name))
		if err == nil && info.IsDir() {
			return nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking for the stateroot %q: %w", name, err)
		}
	}
	return fmt.Errorf("%w: %q in %s", ErrNoStateroot, name, s.path)
}

// checkName checks that a name, such as that of a stateroot, is one component of a path.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00\n") {
		return fmt.Errorf("%w: %q is not a name", ErrInvalid, name)
	}
	return nil
}

// maxStateSize is the size in bytes of the largest file of state that is read. libostree's own have less than a
// thousandth of it.
const maxStateSize = 1 << 20

// read returns the content of a regular file of the sysroot. Symlinks are followed inside the sysroot.
func (s *Sysroot) read(name string, limit int64) ([]byte, error) {
	// What is not a regular file must not keep the caller waiting.
	f, err := s.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readRegular(f, name, limit)
}

// readHostFile reads a file of the running system.
func readHostFile(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readRegular(f, name, maxStateSize)
}

func readRegular(f *os.File, name string, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrInvalid, name)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: %s has more than %s", ErrInvalid, name, sizes.Format(limit))
	}
	return data, nil
}

// hostFileExists reports whether the running system has a file.
func hostFileExists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
