// Package keyless verifies and makes signatures of images by identities: Sigstore bundles whose signer shows no key but
// a certificate that says who he is.
//
// Such a certificate is good for ten minutes. It is issued by an authority (Fulcio) that an OpenID Connect provider has
// told who asks. The signature is recorded in a public log (Rekor), and so is the certificate. Whom to believe about
// all of this stands in a trusted root, a file of the name trusted_root.json, which [New] takes. Nothing is fetched to
// verify. [Update] gets the current trusted root, and nothing else in the program speaks to a TUF repository.
//
// # What is demanded
//
// [Verifier.Verify] accepts a bundle if all of this holds:
//
//   - It is a bundle of version 0.3 with a certificate and an in-toto statement, as cosign 3 makes it.
//   - The statement is a signature by its predicate type, and the digest is among its subjects.
//   - The key in the certificate made the signature.
//   - A transparency log of the trusted root has recorded this signature, with a promise or a proof that it signed.
//   - The log or a timestamp authority of the trusted root vouches for a time. The clock of the machine plays no part.
//   - At that time, the certificate was valid and came from an authority of the trusted root.
//   - A log of certificates of the trusted root knew the certificate (SCT).
//   - The certificate names an identity that is allowed ([Identity]).
//
// The formats are described at https://docs.sigstore.dev/about/bundle/ and in
// https://github.com/sigstore/protobuf-specs. github.com/sigstore/sigstore-go does the work; no other package imports
// it.
package keyless
