// Package chunking decides which files go into which layer of an image.
//
// [Units] gives each component of a tree its files, [Arrange] packs the units into layers such that updates are expected
// to download little, and keeps what it can of the image before. The [Arrangement] travels in the image as a [Record], for
// the next one. What package encapsulate makes the image of a commit from is a [Split]: the objects of each layer.
//
// Finding components is for package component, the packing for package packing, and what upstream's program does for
// package upstream. Nothing here knows how layers are written, and nothing depends on the order in which maps are walked:
// equal input gives equal arrangements.
package chunking
