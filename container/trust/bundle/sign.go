package bundle

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/trust/pubkey"
	"github.com/ostree-ext/ostree-ext-go/container/trust/statement"
)

// Sign returns a bundle in which a key signs a manifest or an index, in the form that cosign 3 gives it. The bytes are
// the same each time for keys of Go's crypto/ecdsa, for Ed25519 and for RSA; another signer of ECDSA may use random
// numbers.
func Sign(signer crypto.Signer, image digest.Digest) ([]byte, error) {
	if err := checkDigest(image); err != nil {
		return nil, err
	}
	key, err := pubkey.New(signer.Public())
	if err != nil {
		return nil, err
	}
	named, err := hint(key)
	if err != nil {
		return nil, err
	}
	payload := statement.New(image)
	signature, err := sign(signer, encodePAE(payloadType, payload))
	if err != nil {
		return nil, fmt.Errorf("signing with the key %s: %w", key, err)
	}
	raw, err := json.Marshal(document{
		MediaType:            MediaType,
		VerificationMaterial: &material{PublicKey: &publicKey{Hint: named}},
		DSSEEnvelope: &envelope{
			Payload:     base64.StdEncoding.EncodeToString(payload),
			PayloadType: payloadType,
			Signatures:  []envelopeSignature{{Sig: base64.StdEncoding.EncodeToString(signature)}},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	// A signer may be a device.
	b, err := Parse(raw, image)
	if err == nil {
		_, err = b.VerifyKeys([]Key{key})
	}
	if err != nil {
		return nil, fmt.Errorf("what the signer made cannot be verified: %w", err)
	}
	return raw, nil
}

// sign signs a message as sigstore does by default for the kind of key.
func sign(signer crypto.Signer, message []byte) ([]byte, error) {
	switch p := signer.Public().(type) {
	case ed25519.PublicKey:
		return signer.Sign(rand.Reader, message, crypto.Hash(0))
	case *ecdsa.PublicKey:
		hash := curveHash(p)
		if private, ok := signer.(*ecdsa.PrivateKey); ok {
			return private.Sign(nil, sum(hash, message), hash) // as RFC 6979 says
		}
		return signer.Sign(rand.Reader, sum(hash, message), hash)
	default:
		return signer.Sign(rand.Reader, sum(crypto.SHA256, message), crypto.SHA256)
	}
}
