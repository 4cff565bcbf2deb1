package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// hashQueue is how many files may wait to be hashed. Their directories are held open.
const hashQueue = 256

// AddDirectory stores the files below a directory on disk and adds them to mt, replacing entries of the same name.
// Several files are read and hashed at a time. Symlinks are stored, never followed, except that dir itself may be one;
// a file with several names is read once. Everything must be a regular file, a symlink or a directory, and must not
// change meanwhile: a file whose size changes is an error.
//
// After an error mt must not be used.
func (t *Txn) AddDirectory(ctx context.Context, mt *MutableTree, dir string, opts TreeOptions) error {
	fd, err := openat(unix.AT_FDCWD, dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	a := &dirAdder{
		txn: t, mod: t.newModifier(opts), metas: metaCache{txn: t, seen: map[string]object.Checksum{}},
		jobs: make(chan fileJob, hashQueue), links: linkMemo{seen: map[linkKey]*linkResult{}},
		dirents: make([]byte, direntBuffer),
	}
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var g errgroup.Group
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error { return a.hashFiles(run, cancel) })
	}
	g.Go(func() error {
		defer close(a.jobs)
		err := a.addDir(run, mt.root, newDirHandle(fd), "/", 0)
		cancelOn(cancel, err)
		return err
	})
	if err := g.Wait(); err != nil {
		// The other goroutines fail because of the first error.
		return fmt.Errorf("adding %s: %w", dir, context.Cause(run))
	}
	return a.fill(ctx)
}

func cancelOn(cancel context.CancelCauseFunc, err error) {
	if err != nil {
		cancel(err)
	}
}

// dirAdder walks a directory in one goroutine, while others hash the files that it finds. Only the walking goroutine
// touches the tree; the hashed files are added to it at the end.
type dirAdder struct {
	txn     *Txn
	mod     *treeModifier
	metas   metaCache
	jobs    chan fileJob
	links   linkMemo
	dirents []byte
	device  uint64 // of the directory itself
	found   []*foundFiles
	scratch fileScratch // used by the walking goroutine only
}

// foundFiles are the files of one directory.
type foundFiles struct {
	node  *treeNode
	names []string
	ids   []object.Checksum // zero if left out
}

// fileJob is one file to hash.
type fileJob struct {
	dir   *dirHandle
	path  string // of the directory in the tree
	files *foundFiles
	index int
}

// direntry is a name with its d_type.
type direntry struct {
	name string
	typ  uint8
}

func (a *dirAdder) addDir(ctx context.Context, node *treeNode, dir *dirHandle, path string, depth int) (err error) {
	defer func() { err = errors.Join(err, dir.release()) }()
	if depth > object.MaxTreeDepth {
		return fmt.Errorf("%s: %w", path, object.ErrTooDeep)
	}
	keep, err := a.setMeta(ctx, node, dir.fd, path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if !keep {
		return errSkipDir
	}
	entries, err := a.list(dir.fd)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := a.queueFiles(ctx, node, dir, path, entries); err != nil {
		return err
	}
	for _, e := range entries {
		if e.typ == unix.DT_DIR {
			if err := a.addSubdir(ctx, node, dir, joinTreePath(path, e.name), e.name, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// errSkipDir is what addDir returns for a directory that is left out.
var errSkipDir = errors.New("left out")

func (a *dirAdder) addSubdir(ctx context.Context, node *treeNode, dir *dirHandle, path, name string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := object.ValidateName(name); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	fd, err := openat(dir.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	// Only its metadata tells whether the directory is wanted, so it is added to the tree after that was read.
	if err := node.load(ctx); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	existing := node.dirs[name]
	child := existing
	if child == nil {
		child = newNode()
	}
	err = a.addDir(ctx, child, newDirHandle(fd), path, depth+1)
	if errors.Is(err, errSkipDir) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := node.ensureDir(ctx, name); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	node.dirs[name] = child
	return nil
}

// setMeta sets the node's metadata to that of the open directory. It reports false if the directory is left out.
func (a *dirAdder) setMeta(ctx context.Context, node *treeNode, fd int, path string) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, err
	}
	h := object.FileHeader{UID: st.Uid, GID: st.Gid, Mode: st.Mode}
	keep, err := a.mod.stat(path, &h)
	if err != nil || !keep {
		return false, err
	}
	if path == "/" {
		a.device = st.Dev
	} else if st.Dev != a.device && KernelMade(fd) {
		return false, ErrMounted
	}
	if a.mod.readXattrs {
		if h.Xattrs, err = a.scratch.fdXattrs(fd); err != nil {
			return false, err
		}
	}
	if err := a.mod.label(path, &h); err != nil {
		return false, err
	}
	node.meta, err = a.metas.store(ctx, &h)
	return true, err
}

// list reads the names in a directory, sorted, with types.
func (a *dirAdder) list(fd int) ([]direntry, error) {
	var entries []direntry
	err := readDir(fd, a.dirents, func(name []byte, typ uint8) error {
		e := direntry{name: string(name), typ: typ}
		if typ == unix.DT_UNKNOWN {
			var st unix.Stat_t
			if err := unix.Fstatat(fd, e.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
			e.typ = uint8(st.Mode >> 12)
		}
		entries = append(entries, e)
		return nil
	})
	slices.SortFunc(entries, func(a, b direntry) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return entries, err
}

func (a *dirAdder) queueFiles(ctx context.Context, node *treeNode, dir *dirHandle, path string,
	entries []direntry) error {
	files := &foundFiles{node: node}
	for _, e := range entries {
		switch e.typ {
		case unix.DT_REG, unix.DT_LNK:
			if err := node.checkFile(ctx, e.name); err != nil {
				return fmt.Errorf("%s: %w", joinTreePath(path, e.name), err)
			}
			files.names = append(files.names, e.name)
		case unix.DT_DIR:
		default:
			if a.mod.Skip != nil && a.mod.Skip.has(joinTreePath(path, e.name)) {
				continue
			}
			return fmt.Errorf("%w: %s", ErrSpecialFile, joinTreePath(path, e.name))
		}
	}
	if len(files.names) == 0 {
		return nil
	}
	files.ids = make([]object.Checksum, len(files.names))
	a.found = append(a.found, files)
	for i := range files.names {
		dir.retain()
		select {
		case a.jobs <- fileJob{dir: dir, path: path, files: files, index: i}:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), dir.release())
		}
	}
	return nil
}

// fill adds the hashed files to the tree.
func (a *dirAdder) fill(ctx context.Context) error {
	for _, f := range a.found {
		for i, name := range f.names {
			if f.ids[i].IsZero() {
				continue
			}
			if err := f.node.setFile(ctx, name, f.ids[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
