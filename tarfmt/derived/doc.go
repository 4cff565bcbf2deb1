// Package derived applies the layers of ordinary images to the trees of OSTree commits, as hosts do with layers that
// were built on top of a commit, and with images that do not hold a commit at all.
//
// [Import] reads a layer and stores it as a commit of its own, a layer commit: the files of the layer, moved to where
// OSTree wants them, with the whiteouts as the regular files that they are in the archive. So a layer is stored once,
// whatever images have it. [Merge] applies layer commits to a tree, in order. It reads only trees, not the contents of
// files. [Relabel] gives all files of the merged tree the SELinux labels of a policy.
//
// Layer commits and merged trees are those of upstream's ostree-ext, so that either program can continue with a
// repository of the other. Differences are where upstream fails: see [Import] and [Merge].
package derived
