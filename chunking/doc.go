// Package chunking decides which file objects of a commit go into which layer of its image.
//
// A [Mapping] says which component each object belongs to: a package, a kernel, a part of the tree that changes together.
// [Mapping.Plan] packs the components into layers as upstream's ostree-ext does, with or without a prior image, and gives a
// [Plan], which is what package encapsulate makes an image of. [PackUpstream] is the packing alone.
//
// Nothing here knows how layers are written, and nothing depends on the order in which maps are walked: equal input gives
// equal plans.
package chunking
