// Package signer signs images in registries, so that others can tell who published them.
//
// [Sign] signs documents by digest: the manifest of an image or, if the reference names an index, the index and every
// document that it lists, also those of nested indexes. The image is not changed. What is written beside it:
//
//   - An attachment ([Attachment]), which cosign 1 and 2, skopeo, podman, bootc and rpm-ostree read: an image manifest
//     at the tag sha256-HEX.sig, HEX being the digest of the signed document. Each layer is a signature of one payload,
//     which names the digest and a reference. See cosign's specification of signatures.
//   - A bundle ([Bundle]), which cosign 3 reads: an artifact whose subject is the signed document. A registry that
//     lists the artifacts of a subject says so in its answer (OCI-Subject). In others, the index at the tag sha256-HEX
//     lists them, as the distribution specification has it. See package bundle.
//
// Both are added to what is there. A key signs the same content in the same way every time, so that signing again
// changes nothing.
//
// A tag has no lock: of two programs that change what is at a tag at the same time, the later one may undo what the
// earlier one did. So, after a pause, Sign looks whether what it wrote is still there, and adds it again if it is not.
//
// The references of all documents are those of the image, with its tag: programs that choose a document from an index
// compare the reference that they were asked for.
package signer
