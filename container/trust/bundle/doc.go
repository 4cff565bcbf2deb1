// Package bundle finds the Sigstore bundles of an image in a registry and verifies those made with a key.
//
// A bundle is what cosign 3 signs images with: a DSSE envelope around an in-toto statement, which names the digest of a
// manifest or an index. It is the only layer of an artifact whose subject is that manifest. [Find] looks for such
// artifacts where the image itself is read: it asks the registry, and its mirrors, for the referrers of the digest, and
// looks at the tag that takes their place on registries that cannot answer.
//
//	keys, err := bundle.LoadKeys("cosign.pub")
//	...
//	signed, key, err := bundle.Find(image, registry, digest).VerifyKeys(ctx, keys)
//
// Nothing in a list of referrers is believed. Each manifest has to have its digest, name the subject, be of a bundle's
// type, and have one layer of that type. The layer has to have its digest, and its statement has to be a signature of
// the subject: attestations, which are bundles with other predicates, do not count. What did not count is kept with the
// reason, see [Search.Skipped].
//
// # What a signature says
//
// The statement names a digest and nothing else. It does not say under which name the image was published, so whoever
// may write to another repository, or move a tag, can have any image that was ever signed with the key accepted there.
// If the statement has several subjects, each of them is signed, and one has to be the digest that was asked for. Names
// of subjects, annotations and the predicate are not looked at.
//
// A bundle may hold entries of a transparency log and timestamps. They do not count here: the key alone decides. A
// bundle with a certificate is for package keyless.
//
// The formats are those of https://github.com/sigstore/protobuf-specs (bundle),
// https://github.com/secure-systems-lab/dsse and https://github.com/in-toto/attestation.
package bundle
