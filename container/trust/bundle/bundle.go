package bundle

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/trust/statement"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

const (
	// MediaType is the media type of bundles that are made today.
	MediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	// PredicateType is the type of the predicate in the statement that signs an image.
	PredicateType = statement.PredicateType
	// MaxSize is the largest size of a bundle in bytes.
	MaxSize = 4 << 20

	payloadType = statement.PayloadType
)

// mediaTypes are those of all versions.
var mediaTypes = []string{
	MediaType,
	"application/vnd.dev.sigstore.bundle+json;version=0.1",
	"application/vnd.dev.sigstore.bundle+json;version=0.2",
	"application/vnd.dev.sigstore.bundle+json;version=0.3",
}

func isMediaType(s string) bool { return slices.Contains(mediaTypes, s) }

// A Bundle is a Sigstore bundle whose statement signs the subject. Whether its signature is good, and whose it is,
// remains to be seen: [*Bundle.VerifyKeys].
type Bundle struct {
	// Raw is the whole document.
	Raw []byte
	// Subject is the digest of the manifest or index that is signed.
	Subject digest.Digest
	// PredicateType is the type of the statement's predicate, which is the constant.
	PredicateType string
	// Hint is how the bundle names the key that signed, and empty if it does not. cosign writes the SHA-256 of the key,
	// in base64. Nothing protects it.
	Hint string
	// Certificate is the certificate of the identity that signed, in DER, or nil if a key did. It is not verified.
	Certificate []byte
	// From is the repository at which the bundle was found, and Artifact the digest of the manifest there. They are empty
	// if it was not found by a [Search].
	From     string
	Artifact digest.Digest

	payload, signature []byte
}

// document is the JSON form of a bundle.
type document struct {
	MediaType            string           `json:"mediaType"`
	VerificationMaterial *material        `json:"verificationMaterial"`
	DSSEEnvelope         *envelope        `json:"dsseEnvelope,omitempty"`
	MessageSignature     *json.RawMessage `json:"messageSignature,omitempty"`
}

type material struct {
	PublicKey            *publicKey        `json:"publicKey,omitempty"`
	Certificate          *certificate      `json:"certificate,omitempty"`
	X509CertificateChain *certificateChain `json:"x509CertificateChain,omitempty"`
	// What other parties vouch for.
	TlogEntries               []json.RawMessage `json:"tlogEntries,omitempty"`
	TimestampVerificationData *json.RawMessage  `json:"timestampVerificationData,omitempty"`
}

type publicKey struct {
	Hint string `json:"hint"`
}

type certificate struct {
	RawBytes string `json:"rawBytes"`
}

type certificateChain struct {
	Certificates []certificate `json:"certificates"`
}

type envelope struct {
	Payload     string              `json:"payload"`
	PayloadType string              `json:"payloadType"`
	Signatures  []envelopeSignature `json:"signatures"`
}

type envelopeSignature struct {
	Sig   string `json:"sig"`
	KeyID string `json:"keyid,omitempty"`
}

var bundleKeys = jsonkeys.Schema{
	"": {"mediaType", "verificationMaterial", "dsseEnvelope", "messageSignature"},
	".verificationMaterial": {
		"publicKey", "certificate", "x509CertificateChain", "tlogEntries", "timestampVerificationData",
	},
	".verificationMaterial.publicKey":                           {"hint"},
	".verificationMaterial.certificate":                         {"rawBytes"},
	".verificationMaterial.x509CertificateChain":                {"certificates"},
	".verificationMaterial.x509CertificateChain.certificates[]": {"rawBytes"},
	".dsseEnvelope":              {"payload", "payloadType", "signatures"},
	".dsseEnvelope.signatures[]": {"sig", "keyid"},
}

// Parse reads a bundle that is to sign a subject, whose digest must be a SHA-256. It refuses whatever else is a bundle:
// the error wraps [ErrAttestation] if it is good for another purpose, [ErrMessageSignature] if it signs bytes, and
// [ErrOtherSubject] if it signs another image.
func Parse(raw []byte, subject digest.Digest) (*Bundle, error) {
	if err := checkDigest(subject); err != nil {
		return nil, err
	}
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("%w: a bundle of more than %s", ErrTooLarge, sizes.Format(MaxSize))
	}
	var d document
	if err := jsonkeys.Decode(raw, bundleKeys, &d); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if !isMediaType(d.MediaType) {
		return nil, fmt.Errorf("bundle: the media type %.80q is not one of a bundle of version 0.1 to 0.3", d.MediaType)
	}
	b := &Bundle{Raw: raw, Subject: subject}
	err := b.readMaterial(d.VerificationMaterial)
	switch {
	case err != nil:
		return nil, fmt.Errorf("bundle: %w", err)
	case d.MessageSignature != nil:
		return nil, ErrMessageSignature
	case d.DSSEEnvelope == nil:
		return nil, errors.New("bundle: it has no dsseEnvelope")
	}
	if err := b.readEnvelope(d.DSSEEnvelope); err != nil {
		return nil, fmt.Errorf("bundle: envelope: %w", err)
	}
	if err := statement.Check(b.payload, subject); err != nil {
		return nil, err
	}
	b.PredicateType = statement.PredicateType
	return b, nil
}

// readMaterial reads what the bundle says about the signer.
func (b *Bundle) readMaterial(m *material) error {
	if m == nil {
		return errors.New("it has no verificationMaterial")
	}
	var leaf *certificate
	kinds := 0
	if m.PublicKey != nil {
		kinds++
		b.Hint = m.PublicKey.Hint
	}
	if m.Certificate != nil {
		kinds++
		leaf = m.Certificate
	}
	if m.X509CertificateChain != nil {
		kinds++
		if len(m.X509CertificateChain.Certificates) == 0 {
			return errors.New("its chain has no certificate")
		}
		leaf = &m.X509CertificateChain.Certificates[0]
	}
	if kinds != 1 {
		return fmt.Errorf("it has %d of publicKey, certificate and x509CertificateChain instead of one", kinds)
	}
	if leaf == nil {
		return nil
	}
	var err error
	if b.Certificate, err = decodeBase64(leaf.RawBytes); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return nil
}

func (b *Bundle) readEnvelope(e *envelope) (err error) {
	if e.PayloadType != payloadType {
		return fmt.Errorf("the payload is of type %.80q instead of %s", e.PayloadType, payloadType)
	}
	if len(e.Signatures) != 1 {
		return fmt.Errorf("it has %d signatures instead of one", len(e.Signatures))
	}
	if b.payload, err = decodeBase64(e.Payload); err != nil {
		return fmt.Errorf("payload: %w", err)
	}
	if b.signature, err = decodeBase64(e.Signatures[0].Sig); err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	return nil
}

// decodeBase64 reads bytes in the one form that cosign writes. There must be some.
func decodeBase64(s string) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("it is not base64: %w", err)
	case len(data) == 0:
		return nil, errors.New("it is empty")
	case base64.StdEncoding.EncodeToString(data) != s:
		return nil, errors.New("it is not the base64 form of its bytes")
	}
	return data, nil
}

// checkDigest returns an error if a digest is not a SHA-256.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %.80q: %w", string(d), err)
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %s: bundles are looked for by SHA-256 only", d)
	}
	return nil
}
