// Package pubkey reads the public keys that sign images: one place for which kinds and sizes of keys are good. What a
// signature by a key is depends on the format, and is left to the packages that verify.
package pubkey

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

// A Key is a public key that signs images.
type Key struct {
	// Public is an *ecdsa.PublicKey of P-256, P-384 or P-521, an ed25519.PublicKey, or an *rsa.PublicKey.
	Public crypto.PublicKey
	// Fingerprint is the SHA-256 of the key in its PKIX form (SubjectPublicKeyInfo, DER), as "sha256:…".
	Fingerprint string
	// File is where the key was read, or empty.
	File string
}

// FingerprintPrefix is what a fingerprint begins with, before the hexadecimal digits.
const FingerprintPrefix = "sha256:"

// RSA keys must have as many bits.
const minRSA, maxRSA = 2048, 8192

// String names the key by its fingerprint and its file.
func (k Key) String() string {
	if k.File == "" {
		return k.Fingerprint
	}
	return k.Fingerprint + " (" + k.File + ")"
}

// New returns a key. It refuses keys of other kinds than those that [Key] names, and RSA keys that are too short or too
// long.
func New(public crypto.PublicKey) (Key, error) {
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		switch p.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
		default:
			return Key{}, errors.New("the key is on a curve other than P-256, P-384 and P-521")
		}
	case ed25519.PublicKey:
	case *rsa.PublicKey:
		if n := p.N.BitLen(); n < minRSA || n > maxRSA {
			return Key{}, fmt.Errorf("the RSA key has %d bits, and should have %d to %d", n, minRSA, maxRSA)
		}
	default:
		return Key{}, fmt.Errorf("keys of type %T do not sign images", public)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, fmt.Errorf("public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return Key{Public: public, Fingerprint: FingerprintPrefix + hex.EncodeToString(sum[:])}, nil
}

// Parse reads the key in a PEM block: "PUBLIC KEY" (PKIX) or "RSA PUBLIC KEY" (PKCS #1).
func Parse(block *pem.Block) (Key, error) {
	var public crypto.PublicKey
	var err error
	switch {
	case block.Type == "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		err = errors.New("it is a private key: keep it away from hosts, and give the public key that belongs to it")
	case block.Type == "CERTIFICATE":
		err = errors.New("it is a certificate, where a public key is expected")
	default:
		err = errors.New("it is not a public key")
	}
	if err != nil {
		return Key{}, fmt.Errorf("PEM block %.80q: %w", block.Type, err)
	}
	return New(public)
}
