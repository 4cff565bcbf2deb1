// Package container turns images back into the OSTree commits that they were made of.
//
// The path of an image in, by [Unencapsulate]:
//
//  1. The reference says what has to vouch for the image. This version verifies no signatures, so a reference that asks
//     for some is refused ([ErrVerificationUnsupported]).
//  2. Manifest and configuration are fetched and checked (package source).
//  3. The layers are told apart: the first is the commit layer, those up to the one that the label ostree.final-diffid
//     names are chunks with more file objects, and any further ones were put on top by other tools, which makes the
//     image unfit for this purpose.
//  4. In one transaction, several layers at a time: fetch, check size and digest, decompress, check the diff-id, import.
//     Nothing is staged but the objects themselves.
//  5. The commit must be the one that the image's label names, and complete. Then transaction and ref are committed.
//
// A failure at any point leaves the repository as it was. [Info] reads what an image says of itself, and [Compare] tells
// what an update would fetch.
package container
