// Package upstream packs the objects of a commit into layers as upstream's ostree-ext does, bin by bin, so that an image
// made here has the layers, the history and the annotations of one made there.
//
// A [Mapping] says which package each object belongs to. [Mapping.Split] packs the packages and gives a [chunking.Split],
// with or without the image before; [Pack] is the packing alone. [ParseContentMeta] and [ParseLibraryContentMeta] read
// mappings from the files that upstream's programs exchange.
//
// Equal input gives equal splits: nothing depends on the order in which maps are walked.
package upstream
