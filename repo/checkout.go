package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Overwrite says what a checkout does with files that exist in the destination.
type Overwrite uint8

// The ways of dealing with existing files.
const (
	// OverwriteNone makes an existing destination an error.
	OverwriteNone Overwrite = iota
	// OverwriteUnion replaces files and merges directories, which keep their metadata.
	OverwriteUnion
	// OverwriteUnionAdd keeps existing files and adds the others.
	OverwriteUnionAdd
	// OverwriteUnionIdentical accepts existing files that equal those of the commit; others are an error. It needs
	// RequireHardlinks.
	OverwriteUnionIdentical
)

// CheckoutOptions say how a commit is written to disk. The zero value restores everything, which requires root.
type CheckoutOptions struct {
	// User leaves out owners, xattrs and the set-id bits of copied files, and makes all files readable by their owner.
	// It is always set in mode bare-user-only.
	User      bool
	Overwrite Overwrite
	// Subpath selects the part of the commit to check out: the content of a directory, or one file, which is put into the
	// destination directory.
	Subpath string
	// Whiteouts makes a file ".wh.NAME" remove NAME from the destination, and ".wh..wh..opq" everything in its directory.
	// With OverwriteUnion, a file replaces a directory and the reverse.
	Whiteouts bool
	// PassthroughWhiteouts makes a file ".ostree-wh.NAME" a whiteout of overlayfs: the device 0:0 of that name.
	PassthroughWhiteouts bool
	// ForceCopy never makes hard links to the repository. RequireHardlinks fails where a file would be copied; empty files
	// are exempt.
	ForceCopy, RequireHardlinks bool
	// BareUserOnlyDirs limits directories to the permission bits 0775. Mode bare-user-only always does.
	BareUserOnlyDirs bool
	// Filter, if not nil, reports whether to check out a path and everything below it. The path is absolute, with Subpath
	// as its root. Filter is called from one goroutine.
	Filter func(path string) bool
}

// ErrCannotLink says that hard links are required but impossible.
var ErrCannotLink = errors.New("cannot hard link")

const (
	whiteoutPrefix    = ".wh."
	whiteoutOpaque    = ".wh..wh..opq"
	passthroughPrefix = ".ostree-wh."
)

// Checkout writes the tree of a commit to the directory dest, whose parent must exist. Nothing outside dest is touched,
// whatever the commit or dest contains: symlinks in dest are not followed. New files and directories have the
// modification time 0, so that two checkouts are equal. After an error, what was written stays.
func (r *Repo) Checkout(ctx context.Context, c object.Checksum, dest string, opts CheckoutOptions) (err error) {
	if opts.Overwrite == OverwriteUnionIdentical && !opts.RequireHardlinks {
		return errors.New("union-identical needs hard links to be required")
	}
	if opts.ForceCopy && opts.RequireHardlinks {
		return errors.New("copies and hard links cannot both be demanded")
	}
	if r.mode == ModeBareUserOnly {
		// The mode stores neither owners nor xattrs, so there is nothing to restore.
		opts.User = true
	}
	if err := opts.linkable(r.mode); err != nil {
		return err
	}
	lock, err := r.Lock(ctx, LockShared)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	item, err := lookupIn(ctx, r, c, opts.Subpath)
	if err != nil {
		return err
	}
	fd, existed, err := openDest(dest, opts.Overwrite)
	if err != nil {
		return fmt.Errorf("checkout: %w", err)
	}
	co := &checkout{repo: r, opts: opts, jobs: make(chan checkoutJob, hashQueue),
		skipDirs: r.mode == ModeBareUserOnly || opts.BareUserOnlyDirs}
	if err := co.run(ctx, item, fd, existed); err != nil {
		return fmt.Errorf("checkout to %s: %w", dest, err)
	}
	return nil
}

// linkable returns an error early if no file of the repository can be linked.
func (o *CheckoutOptions) linkable(mode Mode) error {
	if !o.RequireHardlinks {
		return nil
	}
	switch {
	case mode == ModeBare && o.User:
		return fmt.Errorf("%w: bare repository mode cannot hardlink in user checkout mode", ErrCannotLink)
	case (mode == ModeBareUser || mode == ModeBareUserOnly) && !o.User:
		return fmt.Errorf("%w: user repository mode requires user checkout mode to hardlink", ErrCannotLink)
	case mode == ModeArchive || mode == ModeBareSplitXattrs:
		return fmt.Errorf("%w: the files of mode %s are not stored as they are checked out", ErrCannotLink, mode)
	}
	return nil
}

func openDest(dest string, how Overwrite) (fd int, existed bool, err error) {
	err = unix.Mkdir(dest, 0o700)
	if existed = errors.Is(err, unix.EEXIST); existed && how != OverwriteNone {
		err = nil
	}
	if err != nil {
		return -1, existed, &os.PathError{Op: "mkdir", Path: dest, Err: err}
	}
	fd, err = openat(unix.AT_FDCWD, dest, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, existed, &os.PathError{Op: "open", Path: dest, Err: err}
	}
	return fd, existed, nil
}

// checkout is the state of one checkout. One goroutine makes the directories and removes what is in the way; others
// write the files.
type checkout struct {
	repo     *Repo
	opts     CheckoutOptions
	jobs     chan checkoutJob
	skipDirs bool // directories lose their special bits
}

type checkoutJob struct {
	dir  *outDir
	name string
	path string
	file object.Checksum
}

// outDir is a directory of the destination. Its metadata is set once everything in it is written.
type outDir struct {
	fd     int
	parent *outDir
	refs   atomic.Int32
	meta   *object.DirMeta // nil if the directory existed before: it stays as it is
}

func (co *checkout) run(ctx context.Context, item TreeItem, fd int, existed bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var g errgroup.Group
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error { return co.writeFiles(ctx, cancel) })
	}
	g.Go(func() error {
		defer close(co.jobs)
		err := co.root(ctx, item, fd, existed)
		cancelOn(cancel, err)
		return err
	})
	if err := g.Wait(); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (co *checkout) root(ctx context.Context, item TreeItem, fd int, existed bool) error {
	dir := &outDir{fd: fd}
	dir.refs.Store(1)
	if !item.IsDir() {
		name := item.Path[strings.LastIndex(item.Path, "/")+1:]
		return errors.Join(co.queue(ctx, dir, "/"+name, object.FileEntry{Name: name, Checksum: item.File}), co.release(dir))
	}
	if !existed {
		var err error
		if dir.meta, err = LoadDirMeta(ctx, co.repo, item.Meta); err != nil {
			return errors.Join(err, co.release(dir))
		}
	}
	return co.fill(ctx, dir, "/", item.Tree, 0)
}

// fill checks out a directory into an open one, and releases that.
func (co *checkout) fill(ctx context.Context, dir *outDir, path string, tree object.Checksum, depth int) (err error) {
	defer func() { err = errors.Join(err, co.release(dir)) }()
	if depth > object.MaxTreeDepth {
		return object.ErrTooDeep
	}
	d, err := LoadDirTree(ctx, co.repo, tree)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	rest, err := co.whiteouts(ctx, dir, path, d)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, f := range rest {
		if err := co.queue(ctx, dir, joinTreePath(path, f.Name), f); err != nil {
			return err
		}
	}
	for _, e := range d.Dirs {
		child := joinTreePath(path, e.Name)
		if co.opts.Filter != nil && !co.opts.Filter(child) {
			continue
		}
		sub, err := co.makeDir(ctx, dir, e)
		if err != nil {
			return fmt.Errorf("%s: %w", child, err)
		}
		if err := co.fill(ctx, sub, child, e.Tree, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// whiteouts applies the whiteouts among the files of a directory, before any file is written, and returns the other
// files.
func (co *checkout) whiteouts(
	ctx context.Context, dir *outDir, path string, d *object.DirTree,
) ([]object.FileEntry, error) {
	if !co.opts.Whiteouts {
		return d.Files, nil
	}
	if _, ok := d.File(whiteoutOpaque); ok {
		if err := emptyDir(ctx, dir.fd, 0); err != nil {
			return nil, err
		}
	}
	var rest []object.FileEntry
	for _, f := range d.Files {
		name, ok := strings.CutPrefix(f.Name, whiteoutPrefix)
		if ok {
			info, err := co.repo.FileInfo(ctx, f.Checksum)
			if err != nil {
				return nil, err
			}
			ok = !info.IsSymlink()
		}
		if !ok {
			rest = append(rest, f)
			continue
		}
		if err := object.ValidateName(name); err != nil {
			return nil, fmt.Errorf("whiteout %s: %w", joinTreePath(path, f.Name), err)
		}
		if err := removeAll(ctx, dir.fd, name, 0); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func (co *checkout) queue(ctx context.Context, dir *outDir, path string, f object.FileEntry) error {
	if co.opts.Filter != nil && !co.opts.Filter(path) {
		return nil
	}
	dir.refs.Add(1)
	select {
	case co.jobs <- checkoutJob{dir: dir, name: f.Name, path: path, file: f.Checksum}:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), co.release(dir))
	}
}

// makeDir makes a subdirectory, or opens the existing one.
func (co *checkout) makeDir(ctx context.Context, dir *outDir, e object.DirEntry) (*outDir, error) {
	meta, err := LoadDirMeta(ctx, co.repo, e.Meta)
	if err != nil {
		return nil, err
	}
	err = unix.Mkdirat(dir.fd, e.Name, 0o700)
	if errors.Is(err, unix.EEXIST) && co.opts.Whiteouts && co.opts.Overwrite == OverwriteUnion {
		var st unix.Stat_t
		e2 := unix.Fstatat(dir.fd, e.Name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if e2 == nil && st.Mode&object.ModeTypeMask != object.ModeDir {
			if err := unix.Unlinkat(dir.fd, e.Name, 0); err != nil {
				return nil, err
			}
			err = unix.Mkdirat(dir.fd, e.Name, 0o700)
		}
	}
	if errors.Is(err, unix.EEXIST) && co.opts.Overwrite != OverwriteNone {
		err, meta = nil, nil
	}
	if err != nil {
		return nil, err
	}
	fd, err := openDir(dir.fd, e.Name)
	if err != nil {
		return nil, err
	}
	sub := &outDir{fd: fd, parent: dir, meta: meta}
	sub.refs.Store(1)
	dir.refs.Add(1)
	return sub, nil
}

// release ends one use of a directory. The last release finishes the directory and releases its parent.
func (co *checkout) release(dir *outDir) error {
	var errs []error
	for dir != nil && dir.refs.Add(-1) == 0 {
		if dir.meta != nil {
			errs = append(errs, co.finishDir(dir))
		}
		errs = append(errs, unix.Close(dir.fd))
		dir = dir.parent
	}
	return errors.Join(errs...)
}

func (co *checkout) finishDir(dir *outDir) error {
	mode := dir.meta.Mode & object.ModePermMask
	if co.skipDirs {
		mode &= userOnlyPerm
	}
	if !co.opts.User {
		if err := unix.Fchown(dir.fd, int(dir.meta.UID), int(dir.meta.GID)); err != nil {
			return err
		}
		for _, x := range dir.meta.Xattrs {
			if err := unix.Fsetxattr(dir.fd, x.Name, x.Value, 0); err != nil {
				return fmt.Errorf("xattr %s: %w", x.Name, err)
			}
		}
	}
	if err := unix.Fchmod(dir.fd, mode); err != nil {
		return err
	}
	return setEpoch(procPath(dir.fd))
}
