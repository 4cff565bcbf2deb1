package keyed

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/container/trust/pubkey"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// MaxKeySize limits the file of a key in bytes.
const MaxKeySize = 64 << 10

// parseKey reads a public key in PEM form. There must be only one, because other programs read the first one and leave
// out the others.
func parseKey(data []byte) (pubkey.Key, error) {
	if len(data) > MaxKeySize {
		return pubkey.Key{}, fmt.Errorf("the key has more than %s", sizes.Format(MaxKeySize))
	}
	block, rest := pem.Decode(data)
	if block == nil {
		return pubkey.Key{}, errors.New("there is no public key in PEM form (-----BEGIN PUBLIC KEY-----)")
	}
	if strings.Contains(string(rest), "-----BEGIN") {
		return pubkey.Key{}, errors.New("there is more than one PEM block: give each key a file, and name them in keyPaths")
	}
	return pubkey.Parse(block)
}

// signedBy reports whether a key signed a message. The hash is always SHA-256, as in the container tools.
func signedBy(k pubkey.Key, message, signature []byte) bool {
	sum := sha256.Sum256(message)
	switch p := k.Public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(p, sum[:], signature)
	case ed25519.PublicKey:
		return ed25519.Verify(p, message, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, sum[:], signature) == nil
	}
	return false
}
