package keyless

import "errors"

// The reasons why [Verifier.Verify] refuses a bundle. Every error of it about a bundle wraps exactly one of these.
var (
	// ErrBundle is about a document that cannot be judged: of another kind, too large, or damaged.
	ErrBundle = errors.New("not a bundle that can be verified by identity")
	// ErrPredicate is about a statement that does not claim to be a signature of an image, such as an attestation.
	ErrPredicate = errors.New("the bundle is a statement of another kind, and no signature of an image")
	// ErrDigest is about a signature of something else.
	ErrDigest = errors.New("the bundle is a signature of another image")
	// ErrSignature is about a payload that the key in the certificate did not sign.
	ErrSignature = errors.New("the signature does not match what is signed")
	// ErrNoLogEntry is about a signature that no transparency log of the trusted root has recorded.
	ErrNoLogEntry = errors.New("no transparency log of the trusted root has recorded the signature")
	// ErrLogEntry is about an entry of a log that is about another signature, or that the log did not make.
	ErrLogEntry = errors.New("the entry of the transparency log is wrong")
	// ErrNoTime is about a signature for whose time nobody vouches whom the trusted root names.
	ErrNoTime = errors.New("no log and no timestamp authority of the trusted root vouches for the time of the signature")
	// ErrOutsideTime is about a certificate that was not valid at the time of the signature.
	ErrOutsideTime = errors.New("the certificate was not valid when the signature was made")
	// ErrChain is about a certificate that does not come from an authority of the trusted root.
	ErrChain = errors.New("the certificate does not come from an authority of the trusted root")
	// ErrNoSCT is about a certificate that no log of certificates of the trusted root knew when it was issued.
	ErrNoSCT = errors.New("no log of certificates of the trusted root has recorded the certificate")
	// ErrIssuer is about an identity of another provider, ErrIdentity about another identity.
	ErrIssuer   = errors.New("the signer's identity comes from another issuer")
	ErrIdentity = errors.New("another identity has signed")
)

// Other errors.
var (
	// ErrTrustedRoot is wrapped by errors about a trusted root.
	ErrTrustedRoot = errors.New("the trusted root cannot be used")
	// ErrAllowed is wrapped by errors about an [Identity] that names nobody, or everybody.
	ErrAllowed = errors.New("the allowed identity is not valid")
)
