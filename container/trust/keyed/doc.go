// Package keyed judges images by the keys and certificates that a policy names, from bytes alone. It reads no files and
// no registries: the caller does, in its own way. So a program that has no client for registries can judge images, too.
//
// A policy is a containers-policy.json(5). A [Rule] is what it asks of one image. [Attachment] is the manifest with the
// signatures of a document, a manifest or an index, as cosign 1 and 2, skopeo and podman write it: it stands at the tag
// [Tag] in the repository of the image.
//
//	p, err := keyed.ParsePolicy(data)
//	rule, err := p.Rule(name)
//	err = rule.UseKeys(read)
//	a, err := keyed.ParseAttachment(manifest, digest)
//	signatures, err := rule.Judge(name, a, payloads)
//
// What is evaluated is sigstoreSigned: with keys, with certificates of Fulcio (fulcio) or of one's own authority (pki),
// and with what a log promises (rekorPublicKey…). A rule with anything else is an error, because an image that it
// would refuse must not be accepted: signatures of GPG (signedBy). The verdicts are those of go.podman.io/image, with
// stricter demands on keys (P-256, P-384, P-521, Ed25519, and RSA of 2048 to 8192 bits; one key in a file), on the form
// of certificates, and on that of a log's entries, which may have no other keys than the known ones.
package keyed
