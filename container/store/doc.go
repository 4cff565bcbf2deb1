// Package store keeps images in OSTree repositories, as hosts do: each layer as a commit, and each image as a merge
// commit, which is the tree of the whole image.
//
// [Prepare] opens an image and says what is missing; [Prepared.Import] fetches that, several layers at a time, and
// writes the merge commit. The layers of a commit become object sets and that commit; package derived reads all others
// and merges them. [List], [Query] and [History] read what is stored, [Copy] and [Export] pass it on, and [Remove],
// [PruneLayers] and [PruneImages] remove it. [Repair] puts damaged objects right, and [Needing] says which images need
// one. [ReplaceDetached] changes an image without storing it.
//
// Refs and metadata are those of upstream's ostree-ext, so that either program can take over a repository from the
// other:
//
//	ostree/container/blob/DIGEST      the commit of a layer
//	ostree/container/image/REFERENCE  the merge commit of an image, whose metadata have manifest and configuration
//
// Merge commits depend only on the image. The time of one is that of the image, or the beginning of 1970 if it has
// none.
package store
