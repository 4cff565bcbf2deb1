// Package imgref reads and prints the two kinds of image reference.
//
// An [ImageReference] says where an image is: docker://quay.io/exampleos/os:latest, oci:/var/tmp/dir:tag. An
// [OstreeImageReference] says in addition what vouches for it: ostree-unverified-registry:quay.io/exampleos/os. Both
// accept shorthands; printing gives one spelling, which parses back to the same value.
package imgref
