package chunk

import (
	"slices"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// unlabelled is a tree without SELinux labels.
type unlabelled struct {
	rootfs.Tree
	entries []rootfs.Entry
}

func (u *unlabelled) Entries() []rootfs.Entry { return u.entries }

// withoutLabels hides the SELinux labels of a tree in the builder: they are those that the builder's system gives to the
// files of containers, and would make an image depend on where it was built.
func withoutLabels(tree rootfs.Tree) rootfs.Tree {
	labelled := func(x repo.Xattr) bool { return x.Name == "security.selinux" }
	entries := tree.Entries()
	if !slices.ContainsFunc(entries, func(e rootfs.Entry) bool { return slices.ContainsFunc(e.Xattrs, labelled) }) {
		return tree
	}
	entries = slices.Clone(entries)
	for i := range entries {
		if slices.ContainsFunc(entries[i].Xattrs, labelled) {
			entries[i].Xattrs = slices.DeleteFunc(slices.Clone(entries[i].Xattrs), labelled)
		}
	}
	return &unlabelled{tree, entries}
}
