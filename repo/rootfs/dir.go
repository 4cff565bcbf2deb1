package rootfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path"
	"time"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Directory is the tree of a directory on disk. It holds the directory open until it is closed.
type Directory struct {
	root    *os.Root
	path    string
	modTime time.Time
	entries *List
	seed    maphash.Seed
	seen    []uint64 // tells whether an entry is still the file that was read
}

// inode identifies a file.
type inode struct{ dev, ino uint64 }

// ErrChanged says that a file changed while it was being read.
var ErrChanged = errors.New("the file changed while it was read")

// Dir reads the tree of a directory on disk: owners, modes, xattrs, times and hard links as they are. Symlinks are
// never followed, except that the directory itself may be one. File systems that are mounted inside belong to the tree.
// An unreadable file or directory is an error.
func Dir(ctx context.Context, name string) (_ *Directory, err error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	d := &Directory{root: root, path: name, seed: maphash.MakeSeed()}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("reading the tree of %s: %w", name, err), root.Close())
		}
	}()
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	w := dirWalk{Directory: d, out: NewBuilder(0)}
	if err := w.dir(ctx, f, "/", 0); err != nil {
		return nil, err
	}
	// The link count is not used, since some file systems do not keep it.
	list, order := w.out.List(func(a, b int) int {
		return cmp.Or(cmp.Compare(w.inodes[a].dev, w.inodes[b].dev), cmp.Compare(w.inodes[a].ino, w.inodes[b].ino))
	})
	d.entries, d.seen = list, reorder(d.seen, order)
	return d, nil
}

// Close closes the directory. Open files stay open.
func (d *Directory) Close() error { return d.root.Close() }

// Entries implements [Tree].
func (d *Directory) Entries() *List { return d.entries }

// ModTime returns when the directory itself changed last.
func (d *Directory) ModTime() time.Time { return d.modTime }

// dirWalk reads a Directory.
type dirWalk struct {
	*Directory
	out    *Builder
	device uint64
	inodes []inode // in the order of adding, like seen
}

// dir reads one directory, and closes it.
func (d *dirWalk) dir(ctx context.Context, f *os.File, p string, depth int) (err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	if depth > object.MaxTreeDepth {
		return fmt.Errorf("%s: %w", p, object.ErrTooDeep)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := statOpen(f, &st); err != nil {
		return &os.PathError{Op: "stat", Path: p, Err: err}
	}
	if p == "/" {
		d.modTime = time.Unix(st.Mtim.Unix())
	}
	if p == "/" {
		d.device = st.Dev
	} else if st.Dev != d.device && repo.KernelMade(int(f.Fd())) {
		return fmt.Errorf("%s: %w", p, repo.ErrMounted)
	}
	parent, base := Split(p)
	if err := d.add(f, ".", parent, base, &st); err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	if len(d.inodes)+len(names) > object.MaxTreeEntries {
		return fmt.Errorf("%s: %w", p, object.ErrTooMany)
	}
	for _, name := range names {
		at := path.Join(p, name)
		if err := unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &os.PathError{Op: "stat", Path: at, Err: err}
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if err := d.add(f, name, p, name, &st); err != nil {
				return err
			}
			continue
		}
		fd, err := unix.Openat(int(f.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: at,
				Err: fmt.Errorf("%w: run as root or in a user namespace (podman unshare) where files are not readable", err)}
		}
		if err := d.dir(ctx, os.NewFile(uintptr(fd), at), at, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// add adds the entry of an open directory to the tree.
func (d *dirWalk) add(dir *os.File, at, parent, name string, st *unix.Stat_t) error {
	h := object.FileHeader{UID: st.Uid, GID: st.Gid, Mode: st.Mode}
	e := Entry{Dir: parent, Name: name, FileHeader: &h, Device: st.Rdev}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Size = st.Size
	case unix.S_IFLNK:
		if h.Target, err = readlinkat(int(dir.Fd()), at); err != nil {
			return &os.PathError{Op: "readlink", Path: e.Path(), Err: err}
		}
	}
	// The path leads through the open directory, so that nobody can put a symlink in the way.
	if h.Xattrs, err = readXattrs(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), at)); err != nil {
		return fmt.Errorf("%s: %w", e.Path(), err)
	}
	if err := d.out.Add(e); err != nil {
		return fmt.Errorf("%s: %w", e.Path(), err)
	}
	d.inodes = append(d.inodes, inode{st.Dev, st.Ino})
	d.seen = append(d.seen, d.sum(st))
	return nil
}

// statOpen reads what fstat does, by the system call that reads it for other files: where programs for another
// processor are emulated, some calls leave out nanoseconds (QEMU 7.2 for s390x), and the file would seem to have
// changed.
func statOpen(f *os.File, st *unix.Stat_t) error {
	return unix.Fstatat(int(f.Fd()), "", st, unix.AT_EMPTY_PATH)
}

// sum returns a hash of the fields of stat that change when a file changes or is replaced.
func (d *Directory) sum(st *unix.Stat_t) uint64 {
	return maphash.Comparable(d.seed, [...]int64{int64(st.Dev), int64(st.Ino), st.Size, st.Mtim.Nano(), st.Ctim.Nano()})
}

func readlinkat(fd int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, name, buf)
	return string(buf[:max(n, 0)]), err
}

// readXattrs reads the xattrs of a file, without following symlinks. There are none if the file system does not support
// them.
func readXattrs(p string) (object.Xattrs, error) {
	names, err := xattr.LList(p)
	if err != nil {
		if errors.Is(err, unix.ENOTSUP) {
			return nil, nil
		}
		return nil, err
	}
	var list []object.Xattr
	for _, n := range names {
		value, err := xattr.LGet(p, n)
		if errors.Is(err, unix.ENODATA) {
			continue // it was removed, or listed by mistake
		}
		if err != nil {
			return nil, fmt.Errorf("xattr %s: %w", n, err)
		}
		list = append(list, object.Xattr{Name: n, Value: value})
	}
	return object.NewXattrs(list), nil
}

// Open implements [Tree]. If the file was replaced or changed, the error wraps [ErrChanged].
func (d *Directory) Open(ctx context.Context, index int) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e := d.entries.At(index)
	f, err := d.root.OpenFile(e.Path()[1:], os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := statOpen(f, &st); err != nil || d.sum(&st) != d.seen[index] {
		return nil, errors.Join(fmt.Errorf("%s: %w", e.Path(), cmpErr(err, ErrChanged)), f.Close())
	}
	return &sizedFile{f: f, left: e.Size, path: e.Path()}, nil
}

// cmpErr returns the first error that is not nil.
func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// sizedFile reads exactly the expected number of bytes, or fails.
type sizedFile struct {
	f    *os.File
	left int64
	path string
}

func (s *sizedFile) Read(p []byte) (int, error) {
	if s.left == 0 {
		// If another byte can be read, the file grew.
		if n, err := s.f.Read(make([]byte, 1)); n > 0 || err != io.EOF {
			return 0, fmt.Errorf("%s: %w", s.path, cmpErr(ifNot(err, io.EOF), ErrChanged))
		}
		return 0, io.EOF
	}
	if int64(len(p)) > s.left {
		p = p[:s.left]
	}
	n, err := s.f.Read(p)
	s.left -= int64(n)
	if err == io.EOF && s.left > 0 {
		return n, fmt.Errorf("%s: %w", s.path, ErrChanged)
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// ReadAt implements [io.ReaderAt]. It does not notice that the file grew.
func (s *sizedFile) ReadAt(p []byte, off int64) (int, error) { return s.f.ReadAt(p, off) }

func ifNot(err, other error) error {
	if errors.Is(err, other) {
		return nil
	}
	return err
}

func (s *sizedFile) Close() error { return s.f.Close() }
