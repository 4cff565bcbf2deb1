package bundle

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for signatures by P-384 and P-521
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/container/trust/pubkey"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// Key is a public key that signs images.
type Key = pubkey.Key

const (
	maxKeyFile = 1 << 20
	maxKeys    = 100
)

// LoadKeys reads a file with public keys. See [ParseKeys].
func LoadKeys(file string) (keys []Key, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	keys, err = ParseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for i := range keys {
		keys[i].File = file
	}
	return keys, nil
}

// ParseKeys reads public keys in PEM: one or more blocks "PUBLIC KEY" (PKIX) or "RSA PUBLIC KEY" (PKCS #1). Text
// outside of blocks is a comment. A block that cannot be read is an error, so that no key is left out that was meant.
func ParseKeys(data []byte) ([]Key, error) {
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("%w: keys of more than %s", ErrTooLarge, sizes.Format(maxKeyFile))
	}
	var keys []Key
	blocks := bytes.Count(data, []byte("-----BEGIN"))
	for range blocks {
		if len(keys) == maxKeys {
			return nil, fmt.Errorf("there are more than %d keys", maxKeys)
		}
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("a PEM block is damaged")
		}
		k, err := pubkey.Parse(block)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no public key in PEM (-----BEGIN PUBLIC KEY-----)")
	}
	return keys, nil
}

// hint returns how cosign names the key in bundles: by the base64 of the same SHA-256.
func hint(k Key) (string, error) {
	sum, err := hex.DecodeString(strings.TrimPrefix(k.Fingerprint, pubkey.FingerprintPrefix))
	if err != nil {
		return "", fmt.Errorf("fingerprint of a key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(sum), nil
}

// fingerprintOf returns the fingerprint for which a hint of cosign stands.
func fingerprintOf(hint string) (string, bool) {
	sum, err := decodeBase64(hint)
	if err != nil || len(sum) != sha256.Size {
		return "", false
	}
	return pubkey.FingerprintPrefix + hex.EncodeToString(sum), true
}

// signed reports whether the key signed a message. These are the algorithms that cosign and sigstore-go use for each
// kind of key: today's, and the ones before.
func signed(k Key, message, signature []byte) bool {
	switch p := k.Public.(type) {
	case *ecdsa.PublicKey:
		// All curves were used with SHA-256 before.
		return ecdsa.VerifyASN1(p, sum(curveHash(p), message), signature) ||
			curveHash(p) != crypto.SHA256 && ecdsa.VerifyASN1(p, sum(crypto.SHA256, message), signature)
	case ed25519.PublicKey:
		// cosign uses the pre-hashed form with its own private keys.
		return ed25519.Verify(p, message, signature) ||
			ed25519.VerifyWithOptions(p, sum(crypto.SHA512, message), signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
	case *rsa.PublicKey:
		hashed := sum(crypto.SHA256, message)
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, hashed, signature) == nil ||
			rsa.VerifyPSS(p, crypto.SHA256, hashed, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) == nil
	}
	return false
}

// curveHash returns the hash that belongs to the curve of a key.
func curveHash(p *ecdsa.PublicKey) crypto.Hash {
	switch p.Curve {
	case elliptic.P384():
		return crypto.SHA384
	case elliptic.P521():
		return crypto.SHA512
	}
	return crypto.SHA256
}

func sum(hash crypto.Hash, message []byte) []byte {
	h := hash.New()
	h.Write(message)
	return h.Sum(nil)
}
