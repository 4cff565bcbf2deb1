// Package upstream packs the objects of a commit into layers as upstream's ostree-ext does. The image then has the
// same layers, history and annotations as one that upstream's program makes.
//
// A [Mapping] says which package each object belongs to. [Mapping.Split] packs the packages, with or without a prior
// image, and returns a [chunking.Split]. [Pack] does only the packing. [ParseContentMeta] and
// [ParseLibraryContentMeta] read mappings from the files that upstream's programs exchange.
//
// Equal input gives equal splits: nothing depends on the order of map iteration.
package upstream
