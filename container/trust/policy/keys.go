package policy

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
)

// KeyError is the error for a key or certificate of a policy that cannot be used.
type KeyError struct {
	// Path is the file, or empty if the policy itself has the key.
	Path string
	Err  error
}

// Error implements error.
func (e *KeyError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("a key in the policy cannot be used: %v", e.Err)
	}
	return fmt.Sprintf("the key %s, which the policy names, cannot be used: %v", e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *KeyError) Unwrap() error { return e.Err }

// A key is one of the keys of a requirement.
type key struct {
	path string // empty for data
	data []byte
}

// String names the key.
func (k key) String() string {
	if k.path == "" {
		return "a key in the policy"
	}
	return k.path
}

// keysOf reads the keys of a requirement and checks that they are of its kind.
func keysOf(q policyjson.Requirement) ([]key, error) {
	check := func(data []byte) error { _, err := publicKey(data); return err }
	if q.Type == policyjson.SignedBy {
		check = func(data []byte) error { _, err := keyring(data); return err }
	}
	keys, err := readKeys(q.KeyPaths, q.KeyDatas, check)
	if err != nil {
		return nil, err
	}
	_, err = readKeys(q.RekorKeyPaths, q.RekorKeyDatas, checkLogKey)
	if f := q.Fulcio; f != nil && err == nil {
		_, err = readKeys(nonEmpty(f.CAPath), nonNil(f.CAData), checkCertificates)
	}
	if p := q.PKI; p != nil && err == nil {
		_, err = readKeys(nonEmpty(p.RootsPath, p.IntermediatesPath), nonNil(p.RootsData, p.IntermediatesData),
			checkCertificates)
	}
	return keys, err
}

func nonEmpty(paths ...string) (list []string) {
	for _, p := range paths {
		if p != "" {
			list = append(list, p)
		}
	}
	return list
}

func nonNil(datas ...[]byte) (list [][]byte) {
	for _, d := range datas {
		if d != nil {
			list = append(list, d)
		}
	}
	return list
}

func readKeys(paths []string, datas [][]byte, check func([]byte) error) ([]key, error) {
	var keys []key
	for _, path := range paths {
		data, err := readFile(path)
		if err == nil {
			err = check(data)
		}
		if err != nil {
			return nil, &KeyError{Path: path, Err: err}
		}
		keys = append(keys, key{path, data})
	}
	for _, data := range datas {
		if err := check(data); err != nil {
			return nil, &KeyError{Err: err}
		}
		keys = append(keys, key{data: data})
	}
	return keys, nil
}

// publicKey reads a PEM file with a public key.
func publicKey(data []byte) (any, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		keys, err := openpgp.ReadKeyRing(bytes.NewReader(data))
		if err == nil && len(keys) > 0 || bytes.Contains(data, []byte("-----BEGIN PGP ")) {
			return nil, errKeyring
		}
		return nil, errors.New("it is not a public key in PEM, as cosign writes it to cosign.pub")
	}
	switch {
	case block.Type == "PUBLIC KEY", block.Type == "RSA PUBLIC KEY":
	case block.Type == "CERTIFICATE":
		return nil, errors.New("it is a certificate, and a public key is needed: " +
			"\"openssl x509 -pubkey -noout\" prints the key of a certificate")
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, errors.New("it is a private key, which does not belong on hosts: " +
			"\"cosign public-key --key\" prints the public one")
	default:
		return nil, fmt.Errorf("it is a %.60q in PEM, and a public key is needed", block.Type)
	}
	var found any
	var err error
	if block.Type == "PUBLIC KEY" {
		found, err = x509.ParsePKIXPublicKey(block.Bytes)
	} else {
		found, err = x509.ParsePKCS1PublicKey(block.Bytes)
	}
	if err != nil {
		return nil, err
	}
	switch found.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return found, nil
	}
	return nil, fmt.Errorf("it is a key of the kind %T: RSA, ECDSA and Ed25519 are possible", found)
}

var errKeyring = errors.New("it is an OpenPGP key, which belongs to signedBy, and sigstoreSigned needs a public key " +
	"in PEM")

// fingerprint returns the SHA-256 of a public key, as a SubjectPublicKeyInfo, in hexadecimal digits.
func fingerprint(found any) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(found)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// keyring reads a file with OpenPGP keys.
func keyring(data []byte) (openpgp.EntityList, error) {
	keys, err := openpgp.ReadKeyRing(bytes.NewReader(data))
	if err != nil {
		keys, err = openpgp.ReadArmoredKeyRing(bytes.NewReader(data))
	}
	if err == nil && len(keys) > 0 {
		return keys, nil
	}
	if _, isKey := publicKey(data); isKey == nil {
		return nil, errors.New("it is a public key in PEM, which belongs to sigstoreSigned, and signedBy needs an OpenPGP " +
			"keyring, as \"gpg --export\" writes it")
	}
	if bytes.HasPrefix(data, []byte("KBXf")) || (len(data) > 12 && string(data[8:12]) == "KBXf") {
		return nil, errors.New("it is a keybox, which only GnuPG reads: \"gpg --export\" writes a keyring")
	}
	if err == nil {
		err = errors.New("it has no keys")
	}
	return nil, fmt.Errorf("it is not an OpenPGP keyring, as \"gpg --export\" writes it: %w", err)
}

func checkLogKey(data []byte) error {
	found, err := publicKey(data)
	if err != nil {
		return err
	}
	if _, ok := found.(*ecdsa.PublicKey); !ok {
		return errors.New("the key of a log has to be an ECDSA key")
	}
	return nil
}

func checkCertificates(data []byte) error {
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return errors.New("it has no certificates in PEM")
	}
	return nil
}
