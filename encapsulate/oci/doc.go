// Package oci is the model of an image. All other packages read images through it. An [Image] has the manifest and
// the configuration as they are stored, a small view of them, and the layers, each with its descriptor, diff-id,
// history and kind.
//
// [New] makes an image from a manifest, a configuration and a [Content], which opens blobs. Package container/source
// does so for references. [FromDocument] makes an image from a manifest or a configuration alone.
//
// [Image.ReadLayer] is the one way to read a layer. It fetches the blob, checks its size and digest, decompresses it,
// and checks the diff-id. Its errors tell whether the content is wrong or reading it failed. [Image.Blob] returns the
// compressed bytes and checks their size and digest.
//
// The raw documents are kept, because marshalling the view would lose fields that it does not have.
package oci
