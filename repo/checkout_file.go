package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// writeFiles writes the files of the queue. After an error in any goroutine it only releases the rest of the queue.
func (co *checkout) writeFiles(ctx context.Context, cancel context.CancelCauseFunc) error {
	var first error
	for job := range co.jobs {
		err := ctx.Err()
		if err == nil {
			if err = co.file(ctx, job); err != nil {
				err = fmt.Errorf("%s: %w", job.path, err)
			}
		}
		if err = errors.Join(err, co.release(job.dir)); err != nil && first == nil {
			first = err
			cancel(err)
		}
	}
	return first
}

func (co *checkout) file(ctx context.Context, job checkoutJob) error {
	if co.opts.PassthroughWhiteouts && strings.HasPrefix(job.name, passthroughPrefix) {
		info, err := co.repo.FileInfo(ctx, job.file)
		if err != nil {
			return err
		}
		if !info.IsSymlink() {
			return co.passthrough(ctx, job, info)
		}
	}
	if co.opts.Overwrite == OverwriteUnionAdd {
		var st unix.Stat_t
		if err := unix.Fstatat(job.dir.fd, job.name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
			return nil
		}
	}
	linked, err := co.link(ctx, job)
	if linked || err != nil {
		return err
	}
	return co.copy(ctx, job)
}

// link makes a hard link to the object, and reports false where the file must be copied.
func (co *checkout) link(ctx context.Context, job checkoutJob) (bool, error) {
	if co.opts.ForceCopy {
		return false, nil
	}
	for r := co.repo; r != nil; r = r.parent {
		can, err := co.canLink(r, job.file)
		if isMissing(err) {
			continue
		}
		if !can || err != nil {
			return false, err
		}
		err = co.place(ctx, job, func(name string) error {
			return unix.Linkat(r.objects.fd, loosePath(fileName(job.file), r.mode), job.dir.fd, name, 0)
		})
		if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EPERM) {
			if co.opts.RequireHardlinks {
				return false, fmt.Errorf("%w: %w", ErrCannotLink, err)
			}
			return false, nil
		}
		return err == nil, err
	}
	return false, notFound(fileName(job.file))
}

// canLink reports whether the object is stored as the file shall be. Empty files are never linked, since programs use
// their inodes as marks.
func (co *checkout) canLink(r *Repo, c object.Checksum) (bool, error) {
	switch {
	case r.mode == ModeBare && !co.opts.User:
		var st unix.Stat_t
		err := unix.Fstatat(r.objects.fd, loosePath(fileName(c), r.mode), &st, unix.AT_SYMLINK_NOFOLLOW)
		if err != nil {
			return false, wrapOpen(fileName(c), err)
		}
		return st.Mode&object.ModeTypeMask == object.ModeSymlink || st.Size > 0, nil
	case (r.mode == ModeBareUser || r.mode == ModeBareUserOnly) && co.opts.User:
		info, err := r.objects.fileInfo(c)
		if err != nil {
			return false, err
		}
		return !info.IsSymlink() && info.Size > 0 && info.Mode&0o400 != 0, nil
	default:
		ok, err := r.objects.has(fileName(c))
		if err == nil && !ok {
			err = notFound(fileName(c))
		}
		return false, err
	}
}

// place calls create to make the new file under a name, and deals with an existing file of that name.
func (co *checkout) place(ctx context.Context, job checkoutJob, create func(name string) error) error {
	err := create(job.name)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	switch co.opts.Overwrite {
	case OverwriteUnion:
	case OverwriteUnionAdd:
		return nil
	case OverwriteUnionIdentical:
		return co.identical(ctx, job)
	default:
		return err
	}
	temp := tempName(".checkout-union-")
	if err := create(temp); err != nil {
		return err
	}
	err = unix.Renameat(job.dir.fd, temp, job.dir.fd, job.name)
	if errors.Is(err, unix.EISDIR) && co.opts.Whiteouts {
		if err = removeAll(ctx, job.dir.fd, job.name, 0); err == nil {
			err = unix.Renameat(job.dir.fd, temp, job.dir.fd, job.name)
		}
	}
	// Renaming one name of a file over another name of the same file does nothing, so the temporary name may remain, as
	// after an error.
	if e := unix.Unlinkat(job.dir.fd, temp, 0); !errors.Is(e, unix.ENOENT) {
		err = errors.Join(err, e)
	}
	return err
}

// copy writes the file as a copy of the object.
func (co *checkout) copy(ctx context.Context, job checkoutJob) error {
	content, info, err := co.repo.OpenFile(ctx, job.file)
	if err != nil {
		return err
	}
	defer content.Close()
	if info.IsSymlink() {
		return co.place(ctx, job, func(name string) error { return co.symlink(job.dir.fd, name, info) })
	}
	fd, err := openat(job.dir.fd, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	named := ""
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENOENT) {
		named = tempName(".checkout-")
		flags := unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW
		fd, err = openat(job.dir.fd, named, flags, 0o600)
	}
	if err != nil {
		return err
	}
	err = co.fillFile(ctx, fd, content, info)
	if err == nil {
		err = co.place(ctx, job, func(name string) error {
			if named != "" {
				return unix.Linkat(job.dir.fd, named, job.dir.fd, name, 0)
			}
			return unix.Linkat(unix.AT_FDCWD, procPath(fd), job.dir.fd, name, unix.AT_SYMLINK_FOLLOW)
		})
	}
	if named != "" {
		err = errors.Join(err, unix.Unlinkat(job.dir.fd, named, 0))
	}
	return errors.Join(err, unix.Close(fd))
}

func (co *checkout) fillFile(ctx context.Context, fd int, content io.Reader, info *object.FileInfo) error {
	if err := co.writeContent(ctx, fd, content); err != nil {
		return err
	}
	mode := info.Mode & object.ModePermMask
	if co.opts.User {
		mode = mode&^0o6000 | 0o400
	} else if err := unix.Fchown(fd, int(info.UID), int(info.GID)); err != nil {
		return ownerError(&info.FileHeader, err)
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return err
	}
	if !co.opts.User {
		for _, x := range info.Xattrs {
			if err := unix.Fsetxattr(fd, x.Name, x.Value, 0); err != nil {
				return fmt.Errorf("xattr %s: %w", x.Name, err)
			}
		}
	}
	return setEpoch(procPath(fd))
}

// writeContent copies the content. It shares the blocks of an uncompressed object where the filesystem can.
func (co *checkout) writeContent(ctx context.Context, fd int, content io.Reader) error {
	if p, ok := content.(*plainFile); ok && p.clone(fd) {
		return nil
	}
	buf := co.repo.objects.pools.copies.Get().(*[]byte)
	defer co.repo.objects.pools.copies.Put(buf)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := content.Read(*buf)
		if e := writeAll(fd, (*buf)[:n]); e != nil {
			return e
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (co *checkout) symlink(dirfd int, name string, info *object.FileInfo) error {
	if err := unix.Symlinkat(info.Target, dirfd, name); err != nil {
		return err
	}
	if !co.opts.User {
		if err := unix.Fchownat(dirfd, name, int(info.UID), int(info.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return ownerError(&info.FileHeader, err)
		}
		for _, x := range info.Xattrs {
			if err := unix.Lsetxattr(procPath(dirfd)+"/"+name, x.Name, x.Value, 0); err != nil {
				return fmt.Errorf("xattr %s: %w", x.Name, err)
			}
		}
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {}}
	return unix.UtimesNanoAt(dirfd, name, times, unix.AT_SYMLINK_NOFOLLOW)
}

// passthrough makes an overlayfs whiteout.
func (co *checkout) passthrough(ctx context.Context, job checkoutJob, info *object.FileInfo) error {
	job.name = strings.TrimPrefix(job.name, passthroughPrefix)
	if err := object.ValidateName(job.name); err != nil {
		return fmt.Errorf("whiteout: %w", err)
	}
	return co.place(ctx, job, func(name string) error {
		if err := unix.Mknodat(job.dir.fd, name, unix.S_IFCHR|info.Mode&object.ModePermMask, 0); err != nil {
			return err
		}
		if err := unix.Fchmodat(job.dir.fd, name, info.Mode&object.ModePermMask, 0); err != nil || co.opts.User {
			return err
		}
		if err := unix.Fchownat(job.dir.fd, name, int(info.UID), int(info.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		for _, x := range info.Xattrs {
			if err := unix.Lsetxattr(procPath(job.dir.fd)+"/"+name, x.Name, x.Value, 0); err != nil {
				return fmt.Errorf("xattr %s: %w", x.Name, err)
			}
		}
		return nil
	})
}

// identical returns an error unless the existing file equals the one that this checkout would write.
func (co *checkout) identical(ctx context.Context, job checkoutJob) (err error) {
	differs := fmt.Errorf("existing file differs: %w", os.ErrExist)
	fd, err := openBeneath(job.dir.fd, job.name, unix.O_PATH)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	there := objectDir{mode: ModeBare, ignoreXattrs: co.opts.User}
	got, err := there.describe(fd, job.file)
	if err != nil {
		return err
	}
	content, want, err := co.repo.OpenFile(ctx, job.file)
	if err != nil {
		return err
	}
	defer content.Close()
	if co.opts.User {
		got.UID, got.GID, want.UID, want.GID, want.Xattrs = 0, 0, 0, 0, nil
		got.Mode, want.Mode = got.Mode&^0o7000, want.Mode&^0o7000
	}
	a, errA := object.EncodeFileHeader(&got.FileHeader)
	b, errB := object.EncodeFileHeader(&want.FileHeader)
	if errA != nil || errB != nil || !bytes.Equal(a, b) || got.Size != want.Size {
		return differs
	}
	if want.IsSymlink() {
		return nil
	}
	f, err := os.Open(procPath(fd))
	if err != nil {
		return err
	}
	defer f.Close()
	same, err := sameContent(ctx, f, content)
	if err == nil && !same {
		err = differs
	}
	return err
}

func sameContent(ctx context.Context, a, b io.Reader) (bool, error) {
	x, y := make([]byte, packedBuffer), make([]byte, packedBuffer)
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, errA := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		endA, endB := errA == io.EOF || errA == io.ErrUnexpectedEOF, errB == io.EOF || errB == io.ErrUnexpectedEOF
		switch {
		case endA && endB:
			return true, nil
		case errA != nil && !endA:
			return false, errA
		case errB != nil && !endB:
			return false, errB
		}
	}
}
