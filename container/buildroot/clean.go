package buildroot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotInContainer says that the root is not that of a container made from the image of a commit. The text is
// upstream's.
var ErrNotInContainer = errors.New("Not in an ostree-based container environment") //nolint:staticcheck // upstream's

// transient are the directories whose content has no place in an image.
var transient = []string{"run", "tmp", "var/tmp", "var/cache"}

// Commit is [Clean] for the root of a container made from the image of a commit. Elsewhere it changes nothing and the
// error is [ErrNotInContainer].
func Commit(ctx context.Context, root string, getenv func(string) (string, bool)) error {
	env, err := Detect(root, getenv)
	if err != nil {
		return err
	}
	if env != OSTreeContainer {
		return ErrNotInContainer
	}
	return Clean(ctx, root)
}

// Clean removes everything in the directories /run, /tmp, /var/tmp and /var/cache of a root, but not these. What is on
// another filesystem or is a mount point stays, and so do the directories above it. Symlinks are removed and never
// followed.
func Clean(ctx context.Context, root string) error {
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: root, Err: err}
	}
	top := os.NewFile(uintptr(fd), root)
	defer top.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: root, Err: err}
	}
	c := &cleaner{dev: st.Dev}
	for _, p := range transient {
		if err := c.clean(ctx, top, p); err != nil {
			return fmt.Errorf("Cleaning %s: %w", p, err) //nolint:staticcheck // upstream's text
		}
	}
	return nil
}

// cleaner removes files of one filesystem.
type cleaner struct{ dev uint64 }

// clean removes the content of a directory, if it exists as one on the filesystem of the root.
func (c *cleaner) clean(ctx context.Context, top *os.File, p string) error {
	at := top
	for name := range strings.SplitSeq(p, "/") {
		dir, err := c.enter(at, name)
		if at != top {
			err = errors.Join(err, at.Close())
		}
		if dir == nil || err != nil {
			return err
		}
		at = dir
	}
	_, err := c.empty(ctx, at, p)
	return errors.Join(err, at.Close())
}

// enter opens a directory. It returns nil if the name is not a directory, or does not belong to the filesystem.
func (c *cleaner) enter(dir *os.File, name string) (*os.File, error) {
	kind, err := c.look(dir, name)
	if err != nil || kind != directory {
		return nil, err
	}
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil, nil // replaced meanwhile
	case err != nil:
		return nil, reading(name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Dev != c.dev {
		if err != nil {
			err = reading(name, err)
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// kind is what a name stands for.
type kind int

const (
	absent kind = iota
	foreign
	directory
	other
)

// look says what a name in a directory stands for.
func (c *cleaner) look(dir *os.File, name string) (kind, error) {
	var st unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	err := unix.Statx(int(dir.Fd()), name, flags, unix.STATX_TYPE, &st)
	switch {
	case errors.Is(err, unix.ENOENT):
		return absent, nil
	case err != nil:
		return absent, reading(name, err)
	case unix.Mkdev(st.Dev_major, st.Dev_minor) != c.dev, st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0:
		return foreign, nil
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return directory, nil
	}
	return other, nil
}

func reading(name string, err error) error {
	return fmt.Errorf("Reading %q: %w", name, err) //nolint:staticcheck // upstream's text
}

func removing(name string, err error) error {
	return fmt.Errorf("Removing %q: %w", name, err) //nolint:staticcheck // upstream's text
}

// batch is how many names are read at once.
const batch = 1024

// empty removes the content of a directory. It reports false if something had to stay.
func (c *cleaner) empty(ctx context.Context, dir *os.File, p string) (emptied bool, err error) {
	for {
		removed := 0
		emptied = true
		for {
			names, err := dir.Readdirnames(batch)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return false, reading(p, err)
			}
			for _, name := range names {
				gone, err := c.remove(ctx, dir, name, path.Join(p, name))
				if err != nil {
					return false, err
				}
				if gone {
					removed++
				}
				emptied = emptied && gone
			}
		}
		if removed == 0 {
			return emptied, nil
		}
		// Names may be left out of a list from which others are removed meanwhile.
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return false, reading(p, err)
		}
	}
}

// remove removes a name. It reports false if it had to stay.
func (c *cleaner) remove(ctx context.Context, dir *os.File, name, p string) (gone bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	k, err := c.look(dir, name)
	if err != nil || k == foreign {
		return false, err
	}
	flags := 0
	if k == directory {
		sub, err := c.enter(dir, name)
		if err != nil {
			return false, err
		}
		if sub != nil {
			emptied, err := c.empty(ctx, sub, p)
			if err := errors.Join(err, sub.Close()); err != nil || !emptied {
				return false, err
			}
		}
		flags = unix.AT_REMOVEDIR
	}
	switch err := unix.Unlinkat(int(dir.Fd()), name, flags); {
	case err == nil, errors.Is(err, unix.ENOENT):
		return true, nil
	case errors.Is(err, unix.EBUSY):
		return false, nil // a mount point, which old kernels do not tell
	default:
		return false, removing(p, err)
	}
}
