package keyed

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// MaxKeySize limits the file of a key in bytes.
const MaxKeySize = 64 << 10

// The sizes of RSA keys in bits.
const minRSA, maxRSA = 2048, 16384

// key is a public key that signs images.
type key struct {
	public crypto.PublicKey
	// fingerprint is the SHA-256 of the key in its PKIX form.
	fingerprint string
	// file is its name in the policy, or empty.
	file string
}

// String names the key.
func (k key) String() string {
	if k.file == "" {
		return k.fingerprint
	}
	return k.fingerprint + " (" + k.file + ")"
}

// parseKey reads a public key in PEM form. There must be only one, because other programs read the first one and leave
// out the others.
func parseKey(data []byte) (key, error) {
	if len(data) > MaxKeySize {
		return key{}, fmt.Errorf("the key has more than %d bytes", MaxKeySize)
	}
	block, rest := pem.Decode(data)
	if block == nil {
		return key{}, errors.New("there is no public key in PEM form (-----BEGIN PUBLIC KEY-----)")
	}
	if strings.Contains(string(rest), "-----BEGIN") {
		return key{}, errors.New("there is more than one PEM block: give each key a file, and name them in keyPaths")
	}
	var public crypto.PublicKey
	var err error
	switch {
	case block.Type == "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return key{}, errors.New("it is a private key: name the public key that belongs to it")
	default:
		return key{}, fmt.Errorf("the PEM block %.40q is not a public key", block.Type)
	}
	if err != nil {
		return key{}, fmt.Errorf("public key: %w", err)
	}
	if err := checkKey(public); err != nil {
		return key{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return key{}, fmt.Errorf("public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return key{public: public, fingerprint: "sha256:" + hex.EncodeToString(sum[:])}, nil
}

// checkKey refuses keys that are weak, or that nobody signs images with.
func checkKey(public crypto.PublicKey) error {
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		switch p.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return errors.New("the key is on a curve other than P-256, P-384 and P-521")
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if n := p.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Errorf("the RSA key has %d bits, and needs %d to %d", n, minRSA, maxRSA)
		}
		return nil
	}
	return fmt.Errorf("keys of type %T do not sign images", public)
}

// signed reports whether the key signed a message. The hash is always SHA-256, as in the container tools.
func (k key) signed(message, signature []byte) bool {
	sum := sha256.Sum256(message)
	switch p := k.public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(p, sum[:], signature)
	case ed25519.PublicKey:
		return ed25519.Verify(p, message, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, sum[:], signature) == nil
	}
	return false
}
