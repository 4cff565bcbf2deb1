package sysroot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Kernel is the kernel of a commit with what goes into /boot with it.
type Kernel struct {
	// Version is that of the kernel, such as "6.1.0-28-amd64".
	Version string
	// Checksum is the name of its directory in /boot; see [Deployment.BootChecksum].
	Checksum object.Checksum
	// Files are the files that are copied.
	Files []KernelFile
}

// KernelFile is a file that goes into /boot.
type KernelFile struct {
	// Path is absolute in the commit.
	Path string
	// Size is in bytes.
	Size int64
}

// Sizes returns the sizes of the files in bytes.
func (k *Kernel) Sizes() []int64 {
	sizes := make([]int64, len(k.Files))
	for i, f := range k.Files {
		sizes[i] = f.Size
	}
	return sizes
}

// FindKernel finds the kernel that libostree boots a commit with. It reads the kernel and its initramfs to the end,
// since their checksum is the name of the directory in /boot. If there is no kernel, or if there are several, of which
// libostree would take any, the error wraps [repo.ErrNoKernel] or [repo.ErrSeveralKernel].
func FindKernel(ctx context.Context, src repo.Source, commit object.Checksum) (*Kernel, error) {
	return findKernel(ctx, src, commit, false)
}

// BootBytes returns the sum of the sizes of the files that [FindKernel] finds. It reads none of them.
func BootBytes(ctx context.Context, src repo.Source, commit object.Checksum) (int64, error) {
	k, err := findKernel(ctx, src, commit, true)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, size := range k.Sizes() {
		total += size
	}
	return total, nil
}

func findKernel(ctx context.Context, src repo.Source, commit object.Checksum, sizesOnly bool) (*Kernel, error) {
	c, err := repo.LoadCommit(ctx, src, commit)
	if err != nil {
		return nil, err
	}
	f := kernelFinder{src: src, view: repo.ViewTree(src, c.Tree, c.Meta), sizesOnly: sizesOnly}
	version, err := repo.FindKernel(ctx, src, c.Tree)
	if err != nil && !errors.Is(err, repo.ErrNoKernel) {
		return nil, err
	}
	var modules *Kernel
	if err == nil {
		k, hasInitramfs, err := f.modules(ctx, version)
		if err != nil {
			return nil, fmt.Errorf("reading the kernel %s: %w", version, err)
		}
		if hasInitramfs {
			return k, nil
		}
		modules = k
	}
	legacy, legacyHasInitramfs, err := f.legacy(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("looking for a kernel: %w", err)
	case modules != nil && !legacyHasInitramfs:
		return modules, nil
	case legacy != nil:
		return legacy, nil
	}
	return nil, repo.ErrNoKernel
}

// kernelFinder finds the kernel of one tree.
type kernelFinder struct {
	src  repo.Source
	view *repo.TreeView
	// sizesOnly is set if no file is read, so that the checksum is wrong.
	sizesOnly bool
}

// modules returns the kernel of /usr/lib/modules/VERSION.
func (f *kernelFinder) modules(ctx context.Context, version string) (k *Kernel, initramfs bool, err error) {
	dir := path.Join("/usr/lib/modules", version)
	sum := sha256.New()
	k = &Kernel{Version: version}
	if _, err := f.add(ctx, k, sum, path.Join(dir, "vmlinuz")); err != nil {
		return nil, false, err
	}
	for _, name := range []string{"initramfs.img", "initramfs"} {
		if initramfs, err = f.add(ctx, k, sum, path.Join(dir, name)); err != nil {
			return nil, false, err
		}
		if initramfs {
			break
		}
	}
	found, err := f.add(ctx, k, sum, path.Join(dir, "devicetree"))
	if err == nil && !found {
		err = f.addDir(ctx, k, sum, path.Join(dir, "dtb"))
	}
	if err != nil {
		return nil, false, err
	}
	// These two do not count for the checksum.
	for _, name := range []string{".vmlinuz.hmac", "aboot.img"} {
		if _, err := f.add(ctx, k, nil, path.Join(dir, name)); err != nil {
			return nil, false, err
		}
	}
	k.Checksum = object.Checksum(sum.Sum(nil))
	return k, initramfs, nil
}

// add adds a file if it exists.
func (f *kernelFinder) add(ctx context.Context, k *Kernel, sum hash.Hash, name string) (bool, error) {
	item, err := f.view.Resolve(ctx, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && item.IsDir() {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if sum == nil || f.sizesOnly {
		info, err := f.src.FileInfo(ctx, item.File)
		if err != nil {
			return false, err
		}
		k.Files = append(k.Files, KernelFile{Path: name, Size: info.Size})
		return true, nil
	}
	r, info, err := f.src.OpenFile(ctx, item.File)
	if err != nil {
		return false, err
	}
	defer r.Close()
	if _, err := io.Copy(sum, ctxio.Reader(ctx, r)); err != nil {
		return false, fmt.Errorf("reading %s: %w", name, err)
	}
	k.Files = append(k.Files, KernelFile{Path: name, Size: info.Size})
	return true, nil
}

// addDir adds the files of a directory if it exists, in the order of their names.
func (f *kernelFinder) addDir(ctx context.Context, k *Kernel, sum hash.Hash, dir string) error {
	item, err := f.view.Resolve(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !item.IsDir() {
		return nil
	}
	if err != nil {
		return err
	}
	tree, err := repo.LoadDirTree(ctx, f.src, item.Tree)
	if err != nil {
		return err
	}
	dirs := map[string]bool{}
	var names []string
	for _, e := range tree.Files {
		names = append(names, e.Name)
	}
	for _, e := range tree.Dirs {
		dirs[e.Name] = true
		names = append(names, e.Name)
	}
	slices.Sort(names)
	for _, name := range names {
		if dirs[name] {
			err = f.addDir(ctx, k, sum, path.Join(dir, name))
		} else {
			_, err = f.add(ctx, k, sum, path.Join(dir, name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// legacy returns the kernel of older trees, whose files have the checksum in their names.
func (f *kernelFinder) legacy(ctx context.Context) (k *Kernel, initramfs bool, err error) {
	for _, dir := range []string{"/usr/lib/ostree-boot", "/boot"} {
		tree, err := f.view.ReadDir(ctx, dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		return f.legacyIn(ctx, dir, tree)
	}
	return nil, false, nil
}

func (f *kernelFinder) legacyIn(ctx context.Context, dir string, tree *object.DirTree) (*Kernel, bool, error) {
	k := &Kernel{}
	found := map[string]bool{}
	for _, e := range tree.Files {
		kind, rest, _ := strings.Cut(e.Name, "-")
		i := strings.LastIndexByte(rest, '-')
		if found[kind] || kind != "vmlinuz" && kind != "initramfs" && kind != "devicetree" {
			continue
		}
		checksum, err := object.ParseChecksum(rest[i+1:])
		if err != nil {
			continue
		}
		if len(found) > 0 && checksum != k.Checksum {
			return nil, false, fmt.Errorf("%w: the files of the kernel in %s have several checksums", ErrInvalid, dir)
		}
		found[kind], k.Checksum = true, checksum
		if kind == "vmlinuz" {
			k.Version = rest[:max(i, 0)]
		}
		if _, err := f.add(ctx, k, nil, path.Join(dir, e.Name)); err != nil {
			return nil, false, err
		}
	}
	if !found["vmlinuz"] {
		return nil, false, nil
	}
	return k, found["initramfs"], nil
}
