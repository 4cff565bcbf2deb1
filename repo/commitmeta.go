package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Keys of commit metadata.
const (
	metaRefBinding        = "ostree.ref-binding"
	metaCollectionBinding = "ostree.collection-binding"
	metaBootable          = "ostree.bootable"
	metaLinux             = "ostree.linux"
)

// Errors about the kernel of a tree.
var (
	ErrNoKernel      = errors.New("no kernel: there is no usr/lib/modules/VERSION/vmlinuz")
	ErrSeveralKernel = errors.New("several kernels in usr/lib/modules")
)

// lastSecond is the last one of the year 9999. Times in documents have years of four digits.
const lastSecond = 253402300799

// SourceDateEpoch reads the value of the environment variable SOURCE_DATE_EPOCH: seconds since 1970, in decimal digits.
func SourceDateEpoch(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > lastSecond || s[0] == '+' {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %.80q is not a number of seconds from 1970 to the year 9999", s)
	}
	return time.Unix(n, 0).UTC(), nil
}

// BindRefs appends the ref binding: the sorted refs that may name the commit, and their collection if that is not
// empty. `ostree commit` adds it to the metadata last.
func BindRefs(d gvariant.Dict, refs []string, collection string) gvariant.Dict {
	sorted := slices.Clone(refs)
	slices.Sort(sorted)
	d = d.Set(metaRefBinding, gvariant.Strings(sorted))
	if collection != "" {
		d = d.Set(metaCollectionBinding, gvariant.String(collection))
	}
	return d
}

// MarkBootable appends the keys that mark the tree as bootable, with the version of its kernel as [FindKernel] returns
// it.
func MarkBootable(d gvariant.Dict, kernel string) gvariant.Dict {
	return d.Set(metaBootable, gvariant.Bool(true)).Set(metaLinux, gvariant.String(kernel))
}

// FindKernel returns the version of the only kernel of a tree, given the root dirtree. If there are none or several,
// the error wraps [ErrNoKernel] or [ErrSeveralKernel].
func FindKernel(ctx context.Context, src Source, tree object.Checksum) (string, error) {
	v := ViewTree(src, tree, object.Checksum{})
	modules, err := v.Lookup(ctx, "/usr/lib/modules")
	if errors.Is(err, fs.ErrNotExist) || err == nil && !modules.IsDir() {
		return "", ErrNoKernel
	}
	if err != nil {
		return "", err
	}
	releases, err := LoadDirTree(ctx, src, modules.Tree)
	if err != nil {
		return "", err
	}
	found := ""
	for _, e := range releases.Dirs {
		dir := TreeItem{Path: joinTreePath(modules.Path, e.Name), Tree: e.Tree}
		kernel, ok, err := v.child(ctx, &dir, "vmlinuz")
		if err != nil {
			return "", err
		}
		if !ok || kernel.IsDir() {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("%w: %s and %s", ErrSeveralKernel, found, e.Name)
		}
		found = e.Name
	}
	if found == "" {
		return "", ErrNoKernel
	}
	return found, nil
}
