// Package chunking decides which files go into which layer of an image.
//
// [Units] gives each component of a tree its files. [Arrange] packs the units into layers so that the expected
// download of updates is small, and keeps the layers of the prior image that did not change. The result is an
// [Arrangement]. The image stores it as a [Record], and the next build continues from it. A [Split] lists the objects
// of each layer of a commit's image; package encapsulate makes the image from it.
//
// Package component finds components, package packing packs them, and package upstream does what upstream's program
// does. This package does not know how layers are written. Equal input gives equal arrangements: nothing depends on
// the order of map iteration.
package chunking
