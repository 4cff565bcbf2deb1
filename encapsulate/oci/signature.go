package oci

import "fmt"

// The kinds of [Signature].
const (
	// SignedGPG, SignedEd25519 and SignedSPKI are signatures of the commit in the image.
	SignedGPG     = "ostree-gpg"
	SignedEd25519 = "ostree-ed25519"
	SignedSPKI    = "ostree-spki"
	// SignedSimple is a simple signature, made with GPG.
	SignedSimple = "simple"
	// SignedAttachment is a Sigstore signature that is attached to the image by a tag, as cosign 1 and 2 do.
	SignedAttachment = "attachment"
	// SignedBundle is a Sigstore bundle that refers to the image, as cosign 3 makes it.
	SignedBundle = "bundle"
)

// Signature is a signature that was verified when an image came in. Its JSON form is stored with images on hosts.
type Signature struct {
	// Kind is one of the constants.
	Kind string `json:"kind"`
	// On says what is signed: "index", "manifest" or "commit". Signed is the digest of the index or manifest, or the
	// checksum of the commit.
	On     string `json:"on"`
	Signed string `json:"signed"`
	// Signer names who signed, for people: the fingerprint of a key with the file that has it, or an identity.
	Signer string `json:"signer"`
	// Issuer is the issuer of the identity, and empty for keys.
	Issuer string `json:"issuer,omitempty"`
	// Rule says what asked for the signature: a file and a scope in it, or a remote.
	Rule string `json:"rule"`
}

// String says who signed what, on one line.
func (s Signature) String() string {
	signer := s.Signer
	if s.Issuer != "" {
		signer += " of " + s.Issuer
	}
	return fmt.Sprintf("%s (%s of the %s)", signer, s.Kind, s.On)
}
