// Package imgref reads and prints the two kinds of image reference.
//
// An [ImageReference] says where an image is: docker://quay.io/exampleos/os:latest, oci:/var/tmp/dir:tag. An
// [OstreeImageReference] also says how the image is verified: ostree-unverified-registry:quay.io/exampleos/os. Parsing
// accepts shorthands. Printing gives one canonical spelling, which parses to the same value.
package imgref
