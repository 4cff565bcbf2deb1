package sign

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// The engines of the sign API, as in the option --sign-type and the key sign-verify.
const (
	Ed25519 = "ed25519"
	SPKI    = "spki"
	Dummy   = "dummy"
)

// Engines returns the engines of the sign API.
func Engines() []string { return []string{Ed25519, SPKI, Dummy} }

// engine is one engine of the sign API.
type engine struct {
	name string
	// pem is whether keys in a file are PEM blocks. They may also be lines, as those of other engines are.
	pem bool
	// public parses a public key, and secret a secret one: base64 without spaces, or the DER of a PEM block.
	public func(text []byte) (publicKey, error)
	secret func(text []byte) (secretKey, error)
}

// publicKey verifies signatures.
type publicKey struct {
	// name is the kind of key and its SHA-256.
	name   string
	verify func(commit, sig []byte) bool
}

// secretKey signs.
type secretKey struct {
	public publicKey
	sign   func(commit []byte) ([]byte, error)
}

// key returns the key of detached metadata with the engine's signatures.
func (e *engine) key() string { return "ostree.sign." + e.name }

var engines = []*engine{
	{name: Ed25519, public: ed25519Public, secret: ed25519Secret},
	{name: SPKI, pem: true, public: spkiPublic, secret: spkiSecret},
	{name: Dummy, public: dummyPublic, secret: dummySecret},
}

// dummyVariable is the variable that switches dummy signatures on.
const dummyVariable = "OSTREE_DUMMY_SIGN_ENABLED"

// findEngine returns an engine by name. The dummy engine exists only if the environment says so.
func findEngine(name string, getenv func(string) string) (*engine, error) {
	i := slices.IndexFunc(engines, func(e *engine) bool { return e.name == name })
	switch {
	case i < 0:
		return nil, fmt.Errorf("%w: %.80q: Requested signature type is not implemented: there are ed25519 and spki",
			ErrConfig, name)
	case name == Dummy && getenv(dummyVariable) != "1":
		return nil, fmt.Errorf("%w: dummy signature type is only for ostree testing", ErrConfig)
	}
	return engines[i], nil
}

// keyName names a key by its kind and the SHA-256 of its bytes.
func keyName(kind string, key []byte) string {
	sum := sha256.Sum256(key)
	return kind + " SHA256:" + hex.EncodeToString(sum[:])
}

func decodeBase64(text []byte) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		return nil, fmt.Errorf("not base64: %w", err)
	}
	return data, nil
}

func ed25519Public(text []byte) (publicKey, error) {
	data, err := decodeBase64(text)
	if err == nil && len(data) != ed25519.PublicKeySize {
		err = fmt.Errorf("%d bytes, not the %d of a public key", len(data), ed25519.PublicKeySize)
	}
	if err != nil {
		return publicKey{}, err
	}
	return ed25519Key(data), nil
}

func ed25519Key(key ed25519.PublicKey) publicKey {
	return publicKey{keyName(Ed25519, key), func(commit, sig []byte) bool {
		return len(sig) == ed25519.SignatureSize && ed25519.Verify(key, commit, sig)
	}}
}

func ed25519Secret(text []byte) (secretKey, error) {
	data, err := decodeBase64(text)
	if err == nil && len(data) != ed25519.PrivateKeySize {
		err = fmt.Errorf("%d bytes, not the %d of a secret key", len(data), ed25519.PrivateKeySize)
	}
	if err != nil {
		return secretKey{}, err
	}
	key := ed25519.NewKeyFromSeed(data[:ed25519.SeedSize])
	if !bytes.Equal(key, data) {
		// To sign with such a pair would give the secret away.
		return secretKey{}, errors.New("the public half does not belong to the secret one")
	}
	return secretKey{
		ed25519Key(key.Public().(ed25519.PublicKey)),
		func(commit []byte) ([]byte, error) { return ed25519.Sign(key, commit), nil },
	}, nil
}

// dummyPublic makes a key of the test engine, whose signatures are the key itself.
func dummyPublic(text []byte) (publicKey, error) {
	key := bytes.TrimSpace(text)
	if len(key) == 0 {
		return publicKey{}, errors.New("it is empty")
	}
	return publicKey{Dummy + " " + string(key), func(_, sig []byte) bool { return bytes.Equal(sig, key) }}, nil
}

func dummySecret(text []byte) (secretKey, error) {
	public, err := dummyPublic(text)
	return secretKey{public, func([]byte) ([]byte, error) { return bytes.TrimSpace(text), nil }}, err
}
