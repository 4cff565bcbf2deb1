package repo

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// stageFile writes an object that is stored as a regular file. h is nil for metadata. It reports false if the object
// exists.
func (t *Txn) stageFile(n object.Name, data []byte, h *object.FileHeader) (written bool, err error) {
	temp, err := t.stage.create()
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, temp.close()) }()
	if err := writeAll(temp.fd, data); err != nil {
		return false, fmt.Errorf("object %s: %w", n, err)
	}
	return t.finishFile(temp, n, h)
}

// finishFile gives a written file its metadata and its name.
func (t *Txn) finishFile(temp *tempFile, n object.Name, h *object.FileHeader) (bool, error) {
	if err := t.setFileMeta(temp.fd, h); err != nil {
		return false, fmt.Errorf("object %s: %w", n, err)
	}
	if c := t.repo.Config(); c.Fsync && c.PerObjectFsync {
		if err := fsync(temp.fd); err != nil {
			return false, fmt.Errorf("object %s: %w", n, err)
		}
	}
	dir, err := t.stage.dir(n.Checksum[0])
	if err != nil {
		return false, err
	}
	written, err := temp.link(dir, looseBase(n, t.repo.mode))
	if err != nil {
		return false, fmt.Errorf("object %s: %w", n, err)
	}
	if written {
		t.known.stage(n)
	}
	return written, nil
}

// setFileMeta sets the metadata that the mode stores in the inode. The order matters: changing the owner clears the
// set-user-ID bit and security.capability.
func (t *Txn) setFileMeta(fd int, h *object.FileHeader) error {
	if h == nil || t.repo.mode == ModeArchive {
		return unix.Fchmod(fd, 0o644)
	}
	var perm uint32
	switch t.repo.mode {
	case ModeBareUser:
		if err := unix.Fsetxattr(fd, userMetaXattr, object.EncodeUserMeta(h), 0); err != nil {
			return fmt.Errorf("xattr %s: %w", userMetaXattr, err)
		}
		perm = h.Mode&0o775 | 0o400
		if h.IsSymlink() {
			perm = 0o644
		}
	case ModeBareUserOnly:
		perm = h.Mode & 0o7777
	default:
		if err := unix.Fchown(fd, int(h.UID), int(h.GID)); err != nil {
			return ownerError(h, err)
		}
		perm = h.Mode & 0o7777
	}
	if err := unix.Fchmod(fd, perm); err != nil {
		return err
	}
	if t.repo.mode == ModeBare {
		for _, x := range h.Xattrs {
			if err := unix.Fsetxattr(fd, x.Name, x.Value, 0); err != nil {
				return fmt.Errorf("xattr %s: %w", x.Name, err)
			}
		}
	}
	return setEpoch(procPath(fd))
}

// setEpoch sets the modification time to 0 and keeps the access time.
func setEpoch(path string) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {}}
	return retry(func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, path, times, 0) })
}

func ownerError(h *object.FileHeader, err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("file of %d:%d: a repository of mode bare stores owners: run as root, or use mode bare-user: %w",
			h.UID, h.GID, err)
	}
	return err
}

// stageSymlink writes a symlink object, in the modes that store it as a symlink.
func (t *Txn) stageSymlink(n object.Name, h *object.FileHeader) (bool, error) {
	temp := tempName("tmplink-")
	if err := unix.Symlinkat(h.Target, t.stage.fd, temp); err != nil {
		return false, fmt.Errorf("object %s: %w", n, err)
	}
	written, err := t.finishSymlink(temp, n, h)
	if !written {
		err = errors.Join(err, unix.Unlinkat(t.stage.fd, temp, 0))
	}
	if err != nil {
		return false, fmt.Errorf("object %s: %w", n, err)
	}
	if written {
		t.known.stage(n)
	}
	return written, nil
}

func (t *Txn) finishSymlink(temp string, n object.Name, h *object.FileHeader) (bool, error) {
	if t.repo.mode == ModeBare {
		err := unix.Fchownat(t.stage.fd, temp, int(h.UID), int(h.GID), unix.AT_SYMLINK_NOFOLLOW)
		if err != nil {
			return false, ownerError(h, err)
		}
		for _, x := range h.Xattrs {
			if err := unix.Lsetxattr(procPath(t.stage.fd)+"/"+temp, x.Name, x.Value, 0); err != nil {
				return false, fmt.Errorf("xattr %s: %w", x.Name, err)
			}
		}
	}
	dir, err := t.stage.dir(n.Checksum[0])
	if err != nil {
		return false, err
	}
	base := looseBase(n, t.repo.mode)
	if err := unix.Linkat(t.stage.fd, temp, dir, base, 0); err != nil {
		if errors.Is(err, unix.EEXIST) {
			err = nil
		}
		return false, err
	}
	return true, unix.Unlinkat(t.stage.fd, temp, 0)
}
