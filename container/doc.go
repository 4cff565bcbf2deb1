// Package container turns images back into the OSTree commits that they were made of.
//
// The path of an image in, by [Unencapsulate]:
//
//  1. The reference says what has to vouch for the image. Package source asks, and reads manifest and configuration.
//  2. Package oci tells the layers apart: the first is the commit layer, those up to the one that the label
//     ostree.final-diffid names are chunks with more file objects, and any further ones were put on top by other tools,
//     which makes the image unfit for [Import].
//  3. In one transaction, several layers at a time: fetch, check size and digest, decompress, check the diff-id, import.
//     Nothing is staged but the objects themselves.
//  4. The commit must be the one that the image's label names, admitted, and complete. Then transaction and ref are
//     committed.
//
// A failure at any point leaves the repository as it was. [Check] reads all of an image and says what is wrong with it,
// [Info] tells what an image says of itself, and [Compare] what an update would fetch.
package container
