package chunk

import (
	"slices"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// unlabelled is a tree without SELinux labels.
type unlabelled struct {
	rootfs.Tree
	entries *rootfs.List
}

func (u *unlabelled) Entries() *rootfs.List { return u.entries }

// withoutLabels hides the SELinux labels of a tree. They are those that the builder's system gives to the files of
// containers, and would make the image depend on where it was built.
func withoutLabels(tree rootfs.Tree) rootfs.Tree {
	labelled := func(x object.Xattr) bool { return x.Name == "security.selinux" }
	return &unlabelled{tree, tree.Entries().WithHeaders(func(h *object.FileHeader) *object.FileHeader {
		if !slices.ContainsFunc(h.Xattrs, labelled) {
			return h
		}
		other := *h
		other.Xattrs = slices.DeleteFunc(slices.Clone(h.Xattrs), labelled)
		return &other
	})}
}
