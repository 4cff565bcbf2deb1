// Package container turns images back into the OSTree commits that they were made from.
//
// [Unencapsulate] imports an image in these steps:
//
//  1. Package source asks whether the image may come in, and reads the manifest and the configuration.
//  2. Package oci sorts the layers. The first is the commit layer. Those after it, up to the one that the label
//     ostree.final-diffid names, are chunks with more file objects. Any further layers were added by other tools;
//     [Import] refuses such an image.
//  3. All layers are read in one transaction, several at a time: fetch, check size and digest, decompress, check the
//     diff-id, import. Only the objects are staged.
//  4. The commit is checked: it must be the one that the image's label names, admitted, and complete. Then the
//     transaction and the ref are committed.
//
// A failure at any step leaves the repository as it was. [Check] reads all of an image and reports what is wrong with
// it, [Info] returns an image's manifest and labels, and [Compare] says what an update would fetch.
package container
