package setup

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// maxKey is the size of a file with keys, in bytes, above which it is refused.
const maxKey = 1 << 20

// ErrKey is wrapped by errors about files with keys.
var ErrKey = errors.New("this is not a file with a public key")

// A Key is the content of a file with a public key.
type Key struct {
	// Name is where it was read, for messages.
	Name string
	// Data is a public key of Sigstore in PEM, or a keyring with public keys of OpenPGP, armored or not.
	Data []byte
	// openPGP is set by check.
	openPGP bool
}

// check finds out what kind of key it is.
func (k *Key) check() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: %w", ErrKey, k.Name, fmt.Errorf(format, args...))
	}
	if len(k.Data) > maxKey {
		return fail("it has more than %s", sizes.Format(maxKey))
	}
	block, rest := pem.Decode(k.Data)
	if block == nil || bytes.HasPrefix([]byte(block.Type), []byte("PGP ")) {
		k.openPGP = true
		if err := checkKeyring(k.Data); err != nil {
			return fail("it is neither a public key in PEM nor one of OpenPGP: %w", err)
		}
		return nil
	}
	switch {
	case block.Type == "CERTIFICATE":
		return fail("it is a certificate: take the public key out of it, or sign with a key")
	case bytes.Contains([]byte(block.Type), []byte("PRIVATE KEY")):
		return fail("it is a private key, which has no place on hosts: name the public one")
	case block.Type != "PUBLIC KEY":
		return fail("it is a %q", block.Type)
	}
	if more, _ := pem.Decode(rest); more != nil {
		return fail("there is more than one key in it, and the container tools only read the first: make a file for each")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return fail("%w", err)
	}
	switch public.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey, ed25519.PublicKey:
		return nil
	}
	return fail("keys of the type %T make no signatures of images", public)
}

// checkKeyring returns an error if the data are not public keys of OpenPGP.
func checkKeyring(data []byte) error {
	var r io.Reader = bytes.NewReader(data)
	if block, err := armor.Decode(r); err == nil {
		r = block.Body
	} else {
		r = bytes.NewReader(data)
	}
	keys, err := openpgp.ReadKeyRing(r)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return errors.New("it has no keys")
	}
	for _, key := range keys {
		if key.PrivateKey != nil {
			return errors.New("it has a private key, which has no place on hosts: export the public one")
		}
	}
	return nil
}
