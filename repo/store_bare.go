package repo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

const (
	// userMetaXattr holds the owner, mode and xattrs of files in mode bare-user.
	userMetaXattr = "user.ostreemeta"
	// maxTarget bounds symlink targets, in bytes, as the kernel does.
	maxTarget = 4096
	// maxXattrSize bounds the value of an xattr and the list of their names, in bytes, as the kernel does.
	maxXattrSize = 64 << 10
)

func fileName(c object.Checksum) object.Name { return object.Name{Checksum: c, Type: object.TypeFile} }

// bareInfo reads the header of a file object whose metadata is that of the file on disk.
func (d *objectDir) bareInfo(c object.Checksum) (*object.FileInfo, error) {
	n := fileName(c)
	fd, err := openBeneath(d.fd, loosePath(n, d.mode), unix.O_PATH)
	if err != nil {
		return nil, wrapOpen(n, err)
	}
	info, err := d.describe(fd, c)
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return nil, fmt.Errorf("object %s: %w", n, err)
	}
	return info, nil
}

// openBare opens a file object of a mode that stores symlinks as symlinks.
func (d *objectDir) openBare(c object.Checksum) (io.ReadCloser, *object.FileInfo, error) {
	n := fileName(c)
	fd, err := openBeneath(d.fd, loosePath(n, d.mode), unix.O_RDONLY|unix.O_NONBLOCK)
	if errors.Is(err, unix.ELOOP) {
		info, err := d.bareInfo(c)
		if err == nil && !info.IsSymlink() {
			err = corrupt(n, "it changed while it was read")
		}
		if err != nil {
			return nil, nil, err
		}
		return noContent, info, nil
	}
	if err != nil {
		return nil, nil, wrapOpen(n, err)
	}
	info, err := d.describe(fd, c)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("object %s: %w", n, err), unix.Close(fd))
	}
	return newPlainFile(n, os.NewFile(uintptr(fd), n.String()), info.Size), info, nil
}

// describe reads the metadata of an open file, which may have been opened with O_PATH.
func (d *objectDir) describe(fd int, c object.Checksum) (*object.FileInfo, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	info := &object.FileInfo{FileHeader: object.FileHeader{UID: st.Uid, GID: st.Gid, Mode: st.Mode}}
	switch st.Mode & object.ModeTypeMask {
	case object.ModeRegular:
		info.Size = st.Size
	case object.ModeSymlink:
		target := make([]byte, maxTarget+1)
		n, err := unix.Readlinkat(fd, "", target)
		if err != nil {
			return nil, err
		}
		info.Target = string(target[:n])
	default:
		return nil, fmt.Errorf("%w: neither a regular file nor a symlink", object.ErrCorrupt)
	}
	if d.mode == ModeBareUserOnly {
		info.UID, info.GID = 0, 0
		return info, nil
	}
	if d.ignoreXattrs {
		return info, nil
	}
	var err error
	if d.mode == ModeBareSplitXattrs {
		info.Xattrs, err = d.splitXattrs(c)
	} else {
		info.Xattrs, err = readXattrs(fd)
	}
	return info, err
}

// splitXattrs reads the xattrs of a file object from the object that holds them. If there is none, the file has no
// xattrs.
func (d *objectDir) splitXattrs(c object.Checksum) (object.Xattrs, error) {
	data, err := d.metadata(object.Name{Checksum: c, Type: object.TypeFileXattrsLink})
	if errors.Is(err, ErrObjectNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return object.ParseXattrsLoose(data)
}

// readXattrs reads all xattrs of an open file. Those with empty values are left out, as libostree does.
func readXattrs(fd int) (object.Xattrs, error) {
	path := procPath(fd)
	buf := make([]byte, 4096)
	names, err := growXattr(&buf, func(b []byte) (int, error) { return unix.Listxattr(path, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil || len(names) == 0 {
		return nil, err
	}
	var list []object.Xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		value, err := growXattr(&buf, func(b []byte) (int, error) { return unix.Getxattr(path, name, b) })
		if errors.Is(err, unix.ENODATA) || err == nil && len(value) == 0 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("xattr %s: %w", name, err)
		}
		list = append(list, object.Xattr{Name: name, Value: append([]byte(nil), value...)})
	}
	return object.NewXattrs(list), nil
}

// growXattr calls get with a buffer, and if that is too small with the largest possible one.
func growXattr(buf *[]byte, get func([]byte) (int, error)) ([]byte, error) {
	n, err := get(*buf)
	if errors.Is(err, unix.ERANGE) {
		*buf = make([]byte, maxXattrSize)
		n, err = get(*buf)
	}
	if err != nil {
		return nil, err
	}
	return (*buf)[:n], nil
}

// openBareUser opens a file object whose metadata is in an xattr. A symlink is a regular file that holds its target and
// a NUL.
func (d *objectDir) openBareUser(c object.Checksum) (io.ReadCloser, *object.FileInfo, error) {
	n := fileName(c)
	f, size, err := d.openRegular(n)
	if err != nil {
		return nil, nil, err
	}
	info, err := userMeta(f)
	if err == nil && info.IsSymlink() {
		info.Target, err = userTarget(f, size)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("object %s: %w", n, err), f.Close())
	}
	if info.IsSymlink() {
		return noContent, info, f.Close()
	}
	info.Size = size
	return newPlainFile(n, f, size), info, nil
}

// userMeta reads the xattr of a file object of mode bare-user.
func userMeta(f *os.File) (*object.FileInfo, error) {
	buf := make([]byte, 256)
	data, err := growXattr(&buf, func(b []byte) (int, error) { return unix.Fgetxattr(int(f.Fd()), userMetaXattr, b) })
	if errors.Is(err, unix.ENODATA) {
		return nil, fmt.Errorf("%w: xattr %s is missing", object.ErrCorrupt, userMetaXattr)
	}
	if err != nil {
		return nil, fmt.Errorf("xattr %s: %w", userMetaXattr, err)
	}
	h, err := object.ParseUserMeta(data)
	if err != nil {
		return nil, fmt.Errorf("xattr %s: %w", userMetaXattr, err)
	}
	return &object.FileInfo{FileHeader: *h}, nil
}

func userTarget(f *os.File, size int64) (string, error) {
	if size > maxTarget+1 {
		return "", fmt.Errorf("%w: symlink target of %d bytes", object.ErrCorrupt, size)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxTarget+1))
	if err != nil {
		return "", err
	}
	target := strings.TrimSuffix(string(data), "\x00")
	if target == "" || strings.Contains(target, "\x00") {
		return "", fmt.Errorf("%w: symlink target %.80q", object.ErrCorrupt, target)
	}
	return target, nil
}
