package signer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"

	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// Errors about keys, which callers branch on. They say nothing about the content of a key.
var (
	// ErrKey is wrapped by errors about keys that cannot be used.
	ErrKey = errors.New("not a private key to sign with")
	// ErrPassphrase is wrapped by errors about passphrases that do not open a key.
	ErrPassphrase = errors.New("the passphrase is wrong, or the key is damaged")
)

// errOpenSSL is for keys that openssl encrypted.
var errOpenSSL = fmt.Errorf("%w: keys that openssl encrypted are not supported: decrypt it with 'openssl pkey', or "+
	"make one with 'cosign generate-key-pair' or 'skopeo generate-sigstore-key'", ErrKey)

// maxKeySize is the size in bytes that the file of a key may have, and minRSA how many bits an RSA key must have.
const (
	maxKeySize = 64 << 10
	minRSA     = 2048
)

// A Key is a private key. It is not printed.
type Key struct {
	private crypto.Signer
	// encrypted says that a passphrase was needed.
	encrypted bool
}

// ReadKey reads a private key in PEM form. That is an encrypted one of cosign or of the container tools ("ENCRYPTED
// SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"), or one without encryption ("PRIVATE KEY", "EC PRIVATE KEY",
// "RSA PRIVATE KEY"). It may be an ECDSA, Ed25519 or RSA key. passphrase is called only for an encrypted one. An error
// wraps [ErrKey] or [ErrPassphrase], or is that of passphrase.
func ReadKey(data []byte, passphrase func() ([]byte, error)) (*Key, error) {
	if len(data) > maxKeySize {
		return nil, fmt.Errorf("%w: it has more than %s", ErrKey, sizes.Format(maxKeySize))
	}
	block, rest := pem.Decode(data)
	for block != nil && block.Type == "EC PARAMETERS" { // openssl writes them first
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, fmt.Errorf("%w: it is not in PEM form", ErrKey)
	}
	k := &Key{}
	var private any
	var err error
	switch block.Type {
	case "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY":
		k.encrypted = true
		var der, secret []byte
		if secret, err = passphrase(); err != nil {
			return nil, err
		}
		if der, err = decrypt(block.Bytes, secret); err != nil {
			return nil, err
		}
		private, err = x509.ParsePKCS8PrivateKey(der)
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errOpenSSL
	case "PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE":
		return nil, fmt.Errorf("%w: it is a %s, and others verify with it: name the private key", ErrKey,
			strings.ToLower(block.Type))
	default:
		return nil, fmt.Errorf("%w: it is a PEM block of the type %.40q", ErrKey, block.Type)
	}
	if err != nil {
		if block.Headers["DEK-Info"] != "" {
			return nil, errOpenSSL
		}
		// The library's error may have parts of the key.
		return nil, fmt.Errorf("%w: its content is damaged, or of a kind that is not supported", ErrKey)
	}
	if k.private, err = supported(private); err != nil {
		return nil, err
	}
	return k, nil
}

// supported returns a key if the programs that verify signatures know its kind.
func supported(private any) (crypto.Signer, error) {
	switch p := private.(type) {
	case *ecdsa.PrivateKey:
		if p.Curve.Params().BitSize < 256 {
			return nil, fmt.Errorf("%w: the curve %s is too small: use P-256", ErrKey, p.Curve.Params().Name)
		}
		return p, nil
	case *rsa.PrivateKey:
		if n := p.N.BitLen(); n < minRSA {
			return nil, fmt.Errorf("%w: an RSA key of %d bits is too small: at least %d are needed", ErrKey, n, minRSA)
		}
		return p, nil
	case ed25519.PrivateKey:
		return p, nil
	}
	return nil, fmt.Errorf("%w: it is neither an ECDSA, an Ed25519 nor an RSA key", ErrKey)
}

// Encrypted reports whether the file of the key is encrypted.
func (k *Key) Encrypted() bool { return k.encrypted }

// String hides the key.
func (k *Key) String() string { return "private key" }

// GoString hides the key.
func (k *Key) GoString() string { return k.String() }

// Public implements [crypto.Signer].
func (k *Key) Public() crypto.PublicKey { return k.private.Public() }

// Sign implements [crypto.Signer]. The signature depends only on the key and what is signed: the numbers that ECDSA
// needs are made as in RFC 6979, and not by the reader.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if _, ok := k.private.(*rsa.PrivateKey); ok {
		return k.private.Sign(rand.Reader, digest, opts) // it only blinds the computation
	}
	return k.private.Sign(nil, digest, opts)
}

// signMessage signs a message as the container tools expect it from a key: with SHA-256, but for Ed25519.
func signMessage(s crypto.Signer, message []byte) ([]byte, error) {
	if _, ok := s.Public().(ed25519.PublicKey); ok {
		return s.Sign(rand.Reader, message, crypto.Hash(0))
	}
	h := sha256.Sum256(message)
	return s.Sign(rand.Reader, h[:], crypto.SHA256)
}

// verifyMessage reports whether a signature is one that [signMessage] makes with the key.
func verifyMessage(public crypto.PublicKey, message, signature []byte) bool {
	h := sha256.Sum256(message)
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(p, h[:], signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, h[:], signature) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(p, message, signature)
	}
	return false
}

// encryptedKey is the content of an encrypted key, as go-securesystemslib/encrypted writes it.
type encryptedKey struct {
	KDF struct {
		Name   string `json:"name"`
		Params struct {
			N int `json:"N"`
			R int `json:"r"`
			P int `json:"p"`
		} `json:"params"`
		Salt []byte `json:"salt"`
	} `json:"kdf"`
	Cipher struct {
		Name  string `json:"name"`
		Nonce []byte `json:"nonce"`
	} `json:"cipher"`
	Ciphertext []byte `json:"ciphertext"`
}

var encryptedKeys = jsonkeys.Schema{
	"": {"kdf", "cipher", "ciphertext"}, ".kdf": {"name", "params", "salt"}, ".kdf.params": {"N", "r", "p"},
	".cipher": {"name", "nonce"},
}

// decrypt opens an encrypted key. Only the costs that programs write are accepted, from 32 to 128 MiB of memory.
func decrypt(data, passphrase []byte) ([]byte, error) {
	var e encryptedKey
	if jsonkeys.Check(data, encryptedKeys) != nil || json.Unmarshal(data, &e) != nil {
		return nil, fmt.Errorf("%w: its encryption is damaged", ErrKey)
	}
	p := e.KDF.Params
	if e.KDF.Name != "scrypt" || e.Cipher.Name != "nacl/secretbox" || p.R != 8 || p.P != 1 ||
		p.N != 1<<15 && p.N != 1<<16 && p.N != 1<<17 {
		return nil, fmt.Errorf("%w: its encryption is of a kind that is not supported", ErrKey)
	}
	var nonce [24]byte
	if len(e.Cipher.Nonce) != len(nonce) {
		return nil, fmt.Errorf("%w: its encryption is damaged", ErrKey)
	}
	copy(nonce[:], e.Cipher.Nonce)
	derived, err := scrypt.Key(passphrase, e.KDF.Salt, p.N, p.R, p.P, 32)
	if err != nil {
		return nil, fmt.Errorf("%w: its encryption is damaged", ErrKey)
	}
	der, ok := secretbox.Open(nil, e.Ciphertext, &nonce, (*[32]byte)(derived))
	if !ok {
		return nil, ErrPassphrase
	}
	return der, nil
}
