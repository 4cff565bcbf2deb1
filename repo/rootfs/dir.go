package rootfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

// Directory is the tree of a directory on disk. It holds the directory open until it is closed.
type Directory struct {
	root    *os.Root
	path    string
	entries []Entry
	inodes  []inode
}

// inode tells whether a file is still the one that was seen.
type inode struct {
	dev, ino     uint64
	mtime, ctime unix.Timespec
}

// ErrChanged says that a file changed while it was being read.
var ErrChanged = errors.New("the file changed while it was read")

// Dir reads the tree of a directory on disk: owners, modes, xattrs, times and hard links as they are. Symlinks are never
// followed, except that the directory itself may be one. File systems that are mounted inside belong to it. What cannot be
// read is an error.
func Dir(ctx context.Context, name string) (_ *Directory, err error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	d := &Directory{root: root, path: name}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("reading the tree of %s: %w", name, err), root.Close())
		}
	}()
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	if err := d.dir(ctx, f, "/", 0); err != nil {
		return nil, err
	}
	d.sort()
	return d, nil
}

// Close releases the directory. Files that are open stay so.
func (d *Directory) Close() error { return d.root.Close() }

// Entries implements [Tree].
func (d *Directory) Entries() []Entry { return d.entries }

// dir reads one directory, which it closes.
func (d *Directory) dir(ctx context.Context, f *os.File, p string, depth int) (err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	if depth > repo.MaxTreeDepth {
		return fmt.Errorf("%s: more than %d directories deep", p, repo.MaxTreeDepth)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: p, Err: err}
	}
	if err := d.add(f, ".", p, &st); err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	if len(d.entries)+len(names) > maxEntries {
		return fmt.Errorf("more than %d files and directories", maxEntries)
	}
	for _, name := range names {
		at := path.Join(p, name)
		if err := unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &os.PathError{Op: "stat", Path: at, Err: err}
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if err := d.add(f, name, at, &st); err != nil {
				return err
			}
			continue
		}
		fd, err := unix.Openat(int(f.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: at, Err: fmt.Errorf("%w: run as root or in a user namespace (podman unshare) where files are not readable", err)}
		}
		if err := d.dir(ctx, os.NewFile(uintptr(fd), at), at, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// add appends what stands under a name of an open directory.
func (d *Directory) add(dir *os.File, name, p string, st *unix.Stat_t) error {
	e := Entry{Path: p, ModTime: time.Unix(st.Mtim.Unix()), Device: st.Rdev}
	e.UID, e.GID, e.Mode = st.Uid, st.Gid, st.Mode
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Size = st.Size
	case unix.S_IFLNK:
		if e.Target, err = readlinkat(int(dir.Fd()), name); err != nil {
			return &os.PathError{Op: "readlink", Path: p, Err: err}
		}
	}
	// The path leads through the open directory, so that nobody can put a symlink in the way.
	if e.Xattrs, err = readXattrs(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	d.entries = append(d.entries, e)
	d.inodes = append(d.inodes, inodeOf(st))
	return nil
}

func inodeOf(st *unix.Stat_t) inode {
	return inode{dev: st.Dev, ino: st.Ino, mtime: st.Mtim, ctime: st.Ctim}
}

func readlinkat(fd int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, name, buf)
	return string(buf[:max(n, 0)]), err
}

// readXattrs reads the xattrs of a file that is not followed. Attributes that the file system cannot have are none.
func readXattrs(p string) (repo.Xattrs, error) {
	names, err := xattr.LList(p)
	if err != nil {
		if errors.Is(err, unix.ENOTSUP) {
			return nil, nil
		}
		return nil, err
	}
	var list []repo.Xattr
	for _, n := range names {
		value, err := xattr.LGet(p, n)
		if errors.Is(err, unix.ENODATA) {
			continue // it went away, or was listed by mistake
		}
		if err != nil {
			return nil, fmt.Errorf("xattr %s: %w", n, err)
		}
		list = append(list, repo.Xattr{Name: n, Value: value})
	}
	return repo.NewXattrs(list), nil
}

// sort brings the entries into order and finds the hard links.
func (d *Directory) sort() {
	order := make([]int, len(d.entries))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(d.entries[a].Path, d.entries[b].Path) })
	// A list that grew has room for a quarter more.
	d.entries, d.inodes = slices.Clone(d.entries), slices.Clone(d.inodes)
	permute(order, func(i, j int) {
		d.entries[i], d.entries[j] = d.entries[j], d.entries[i]
		d.inodes[i], d.inodes[j] = d.inodes[j], d.inodes[i]
	})
	// Not told by the number of links, which some file systems do not know.
	link(d.entries, func(a, b int) int {
		return cmp.Or(cmp.Compare(d.inodes[a].dev, d.inodes[b].dev), cmp.Compare(d.inodes[a].ino, d.inodes[b].ino))
	})
}

// Open implements [Tree]. A file that is no longer the one that was seen is an error that wraps [ErrChanged].
func (d *Directory) Open(ctx context.Context, index int) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e := &d.entries[index]
	f, err := d.root.OpenFile(strings.TrimPrefix(e.Path, "/"), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || inodeOf(&st) != d.inodes[index] || st.Size != e.Size {
		return nil, errors.Join(fmt.Errorf("%s: %w", e.Path, cmpErr(err, ErrChanged)), f.Close())
	}
	return &sizedFile{f: f, left: e.Size, path: e.Path}, nil
}

// cmpErr returns the first error that there is.
func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// sizedFile reads exactly so many bytes, or fails.
type sizedFile struct {
	f    *os.File
	left int64
	path string
}

func (s *sizedFile) Read(p []byte) (int, error) {
	if s.left == 0 {
		// A byte more is a file that grew.
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

func ifNot(err, other error) error {
	if err == other {
		return nil
	}
	return err
}

func (s *sizedFile) Close() error { return s.f.Close() }
