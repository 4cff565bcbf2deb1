package repo

import (
	"context"
	"errors"
	"fmt"
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

// SourceDateEpoch reads the value of the environment variable SOURCE_DATE_EPOCH: seconds since 1970, in decimal digits.
func SourceDateEpoch(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || s[0] == '+' {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %.80q is not a number of seconds since 1970", s)
	}
	return time.Unix(n, 0).UTC(), nil
}

// BindRefs appends the refs that a commit may be found under, sorted, and the collection that they belong
// to, if that is not empty. It is the last that `ostree commit` adds to the metadata.
func BindRefs(d gvariant.Dict, refs []string, collection string) gvariant.Dict {
	sorted := slices.Clone(refs)
	slices.Sort(sorted)
	d = d.Set(metaRefBinding, gvariant.Strings(sorted))
	if collection != "" {
		d = d.Set(metaCollectionBinding, gvariant.String(collection))
	}
	return d
}

// MarkBootable appends what says that the tree can be booted: the version of its kernel, as [FindKernel] gives it.
func MarkBootable(d gvariant.Dict, kernel string) gvariant.Dict {
	return d.Set(metaBootable, gvariant.Bool(true)).Set(metaLinux, gvariant.String(kernel))
}

// FindKernel returns the version of the one kernel of a tree, given by its root dirtree. Other numbers of kernels are
// errors that wrap [ErrNoKernel] or [ErrSeveralKernel].
func FindKernel(ctx context.Context, src Source, tree object.Checksum) (string, error) {
	at := treeItem{path: "/", dir: true, tree: tree}
	for _, name := range []string{"usr", "lib", "modules"} {
		next, ok, err := at.child(ctx, src, name)
		if err != nil {
			return "", err
		}
		if !ok || !next.dir {
			return "", ErrNoKernel
		}
		at = next
	}
	modules, err := LoadDirTree(ctx, src, at.tree)
	if err != nil {
		return "", err
	}
	found := ""
	for _, e := range modules.Dirs {
		dir := treeItem{path: joinTreePath(at.path, e.Name), dir: true, tree: e.Tree}
		kernel, ok, err := dir.child(ctx, src, "vmlinuz")
		if err != nil {
			return "", err
		}
		if !ok || kernel.dir {
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
