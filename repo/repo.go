package repo

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

const oNonblock = unix.O_NONBLOCK

// maxParents bounds the chain of parent repositories, which may be a ring.
const maxParents = 8

// Repo is an open repository. It is safe for concurrent use. Call Close when it is no longer used.
type Repo struct {
	path     string
	mode     Mode
	writable bool
	root     *os.Root
	rootFD   int
	objects  objectDir
	parent   *Repo
	lock     repoLock

	configMu sync.Mutex // held while the config file is rewritten
	config   atomic.Pointer[Config]
}

var _ Source = (*Repo)(nil)

// Init makes a repository at path, whose parent directory must exist, and opens it. An existing repository is opened as
// it is, whatever its mode.
func Init(path string, mode Mode) (*Repo, error) {
	if !mode.writable() {
		return nil, fmt.Errorf("repository %s: %s: %w", path, mode, ErrReadOnlyMode)
	}
	if err := os.Mkdir(path, 0o775); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := initLayout(path, mode); err != nil {
		return nil, fmt.Errorf("repository %s: %w", path, err)
	}
	return Open(path)
}

func initLayout(path string, mode Mode) error {
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := root.Stat("objects"); err == nil {
		return nil
	}
	if mode == ModeBareUser {
		if err := probeXattrs(root); err != nil {
			return err
		}
	}
	if err := initConfig(root, mode); err != nil {
		return err
	}
	// The directory objects is made last: it marks the directory as a repository.
	dirs := []string{"tmp", "extensions", "state", "refs", "refs/heads", "refs/mirrors", "refs/remotes", "objects"}
	for _, dir := range dirs {
		if err := root.Mkdir(dir, 0o775); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

func initConfig(root *os.Root, mode Mode) error {
	f, err := root.OpenFile("config", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "[core]\nrepo_version=1\nmode=%s\n", mode)
	return errors.Join(err, f.Close())
}

// probeXattrs returns an error if the filesystem cannot store the objects of mode bare-user.
func probeXattrs(root *os.Root) error {
	name := tempName("xattr-test-")
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fsetxattr(int(f.Fd()), userMetaXattr, object.EncodeUserMeta(&object.FileHeader{}), 0)
	if err != nil {
		err = fmt.Errorf("mode bare-user needs a filesystem that stores xattrs: %w", err)
	}
	return errors.Join(err, f.Close(), root.Remove(name))
}

// Open opens the repository at path, and its parent repositories.
func Open(path string) (*Repo, error) { return openChain(path, maxParents) }

func openChain(path string, parents int) (*Repo, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	r := &Repo{path: path, root: root, rootFD: -1}
	r.objects.fd, r.lock.fd, r.lock.kernel = -1, -1, unix.F_UNLCK
	if err := r.open(parents); err != nil {
		return nil, errors.Join(fmt.Errorf("repository %s: %w", path, err), r.Close())
	}
	return r, nil
}

func (r *Repo) open(parents int) error {
	config, err := readConfig(r.root)
	if err != nil {
		return err
	}
	r.config.Store(config)
	r.mode = config.Mode
	if r.rootFD, err = r.openDirFD("."); err != nil {
		return err
	}
	fd, err := r.openDirFD("objects")
	if err != nil {
		return err
	}
	r.objects = objectDir{fd: fd, mode: r.mode, ignoreXattrs: config.DisableXattrs, pools: newPools(config.ZlibLevel)}
	r.writable = unix.Faccessat(fd, ".", unix.W_OK, 0) == nil
	if config.Parent == "" {
		return nil
	}
	if parents == 0 {
		return fmt.Errorf("%w: key core.parent: more than %d parents", ErrInvalidConfig, maxParents)
	}
	r.parent, err = openChain(config.Parent, parents-1)
	return err
}

func (r *Repo) openDirFD(name string) (int, error) {
	f, err := r.root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, err
	}
	return fdOf(f)
}

// Close closes the repository and its parents, and releases locks that are still held.
func (r *Repo) Close() error {
	errs := []error{r.lock.close()}
	for _, fd := range []*int{&r.rootFD, &r.objects.fd} {
		if *fd >= 0 {
			errs = append(errs, unix.Close(*fd))
			*fd = -1
		}
	}
	errs = append(errs, r.root.Close())
	if r.parent != nil {
		errs = append(errs, r.parent.Close())
	}
	return errors.Join(errs...)
}

// Mode returns how the repository stores file objects.
func (r *Repo) Mode() Mode { return r.mode }

// Path returns the path that the repository was opened with.
func (r *Repo) Path() string { return r.path }

// Config returns the current configuration. The caller must not change it.
func (r *Repo) Config() *Config { return r.config.Load() }

// Parent returns the repository that is searched for objects and refs which this one lacks, or nil.
func (r *Repo) Parent() *Repo { return r.parent }

// readOnlyError says why the repository cannot be written.
func (r *Repo) readOnlyError() error { return fmt.Errorf("repository %s: %w", r.path, ErrReadOnly) }

// tempName returns a random name.
func tempName(prefix string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	name := []byte(prefix)
	for range 6 {
		name = append(name, letters[rand.N(len(letters))])
	}
	return string(name)
}

// replaceFile replaces a file of the repository atomically: readers see either the old or the new content, even after a
// crash.
func (r *Repo) replaceFile(name string, data []byte) error {
	temp := filepath.Join("tmp", tempName("file-"))
	if err := r.root.Mkdir("tmp", 0o775); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := r.writeTemp(temp, data); err != nil {
		return errors.Join(err, ignoreMissing(r.root.Remove(temp)))
	}
	if err := r.root.Rename(temp, name); err != nil {
		return errors.Join(err, r.root.Remove(temp))
	}
	return r.syncDir(filepath.Dir(name))
}

func (r *Repo) writeTemp(name string, data []byte) error {
	f, err := r.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil && r.Config().Fsync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes the names in a directory durable.
func (r *Repo) syncDir(name string) error {
	if !r.Config().Fsync {
		return nil
	}
	dir, err := r.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// hexByte returns the name of the directory of objects whose ids begin with b.
func hexByte(b byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[b>>4], digits[b&15]})
}

// parseHexByte is the inverse of hexByte.
func parseHexByte(s string) (byte, bool) {
	if len(s) != 2 || s[0] > 'f' || s[1] > 'f' {
		return 0, false
	}
	b, err := strconv.ParseUint(s, 16, 8)
	return byte(b), err == nil && hexByte(byte(b)) == s
}
