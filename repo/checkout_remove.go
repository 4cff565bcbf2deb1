package repo

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// removeAll removes a name in an open directory, and everything below it if it is a directory. Symlinks are removed,
// not followed. It is not an error if the name does not exist.
func removeAll(ctx context.Context, dirfd int, name string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := unix.Unlinkat(dirfd, name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return err
	}
	if depth > object.MaxTreeDepth {
		return object.ErrTooDeep
	}
	fd, openErr := openDir(dirfd, name)
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	err = emptyDir(ctx, fd, depth)
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return err
	}
	return unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR)
}

// emptyDir removes everything in an open directory.
func emptyDir(ctx context.Context, dirfd, depth int) error {
	fd, err := openat(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var names []string
	err = readDir(fd, make([]byte, direntBuffer), func(name []byte, _ uint8) error {
		names = append(names, string(name))
		return nil
	})
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return err
	}
	for _, name := range names {
		if err := removeAll(ctx, dirfd, name, depth+1); err != nil {
			return err
		}
	}
	return nil
}
