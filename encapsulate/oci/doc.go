// Package oci is the model of an image that every other package reads images by: its documents as they are stored, a small
// view of them, and its layers, each with its descriptor, diff-id, history and kind.
//
// [New] makes an [Image] of a manifest and a configuration, and of something that opens blobs. Package container/source does
// so for references. [FromDocument] makes an image of which only one document is at hand.
//
// [Image.ReadLayer] is the one way to read a layer: it fetches, checks size and digest, decompresses, checks the diff-id, and
// says of an error whether the bytes are at fault. [Image.Blob] gives the compressed bytes, checked likewise.
//
// The raw documents are kept: marshalling the view would lose fields that it does not know.
package oci
