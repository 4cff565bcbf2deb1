// Package trust decides which images may come in, by who signed them.
//
// A [Door] implements the Admission of package source, in three ways, depending on what a reference asks for:
//
//   - ostree-unverified-image: nothing is asked.
//   - ostree-remote-image:REMOTE: the commit in the image must be signed as the repository's remote says (package
//     repo/sign), before any object of it becomes visible.
//   - ostree-image-signed: the manifest, or the index that lists it, must be signed as a rule says.
//
// # Rules
//
// A rule belongs to a scope: a transport with a part of an image's name, from one tag to a whole registry. There are
// two sources of rules. policy.json is that of the container tools (package policy). What it cannot say stands in our
// own files, *.yaml in trust.d (see [LoadRules]): keys and identities whose Sigstore bundles are good.
//
// The rule with the most specific scope decides. If both sources have a rule for the same scope, both must be
// fulfilled. A rule that accepts any image is refused: who asks for signatures must get some.
//
// # What is judged
//
// The document that the reference names, by its digest, and never again by its tag. If that is an index, one good
// signature of the index or of the chosen member is enough: an index is only ever believed about members that it lists.
// All requirements of a rule must be fulfilled by the same of the two.
//
// A bundle names no reference. A rule about bundles says that the digest was signed by somebody, and nothing about the
// name or the tag it is found under: who can write to a registry can put an old signed image under a newer tag, and any
// repository may have a copy.
package trust
