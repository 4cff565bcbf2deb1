package signer_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"github.com/ostree-ext/ostree-ext-go/container/signer"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
)

// never is for keys that need no passphrase.
func never() ([]byte, error) { return nil, errors.New("the passphrase was asked for") }

func passphrase(s string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(s), nil }
}

func inPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t testing.TB, private any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func newECDSA(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newKey returns a key of P-256, as cosign makes them.
func newKey(t testing.TB) *signer.Key {
	t.Helper()
	k, err := signer.ReadKey(inPEM("PRIVATE KEY", pkcs8(t, newECDSA(t, elliptic.P256()))), never)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeysInEveryForm(t *testing.T) {
	t.Parallel()
	ec, rsaKey := newECDSA(t, elliptic.P256()), newRSA(t, 2048)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	sealed := func(level encrypted.KDFParameterStrength) []byte {
		data, err := encrypted.EncryptWithCustomKDFParameters(pkcs8(t, ec), []byte("secret"), level)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	parameters := inPEM("EC PARAMETERS", []byte("x")) // openssl ecparam -genkey writes them
	cosigns, err := os.ReadFile(sigstorefixture.PrivateKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data       []byte
		passphrase func() ([]byte, error)
		encrypted  bool
	}{
		"PKCS#8, P-256":              {inPEM("PRIVATE KEY", pkcs8(t, ec)), never, false},
		"PKCS#8, P-384":              {inPEM("PRIVATE KEY", pkcs8(t, newECDSA(t, elliptic.P384()))), never, false},
		"PKCS#8, P-521":              {inPEM("PRIVATE KEY", pkcs8(t, newECDSA(t, elliptic.P521()))), never, false},
		"PKCS#8, Ed25519":            {inPEM("PRIVATE KEY", pkcs8(t, ed)), never, false},
		"PKCS#8, RSA":                {inPEM("PRIVATE KEY", pkcs8(t, rsaKey)), never, false},
		"PKCS#1":                     {inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), never, false},
		"SEC 1":                      {inPEM("EC PRIVATE KEY", sec1), never, false},
		"after the parameters":       {append(parameters, inPEM("EC PRIVATE KEY", sec1)...), never, false},
		"cosign 3, empty passphrase": {cosigns, passphrase(""), true},
		"sigstore": {inPEM("ENCRYPTED SIGSTORE PRIVATE KEY", sealed(encrypted.Standard)), passphrase("secret"),
			true},
		"an old cosign": {inPEM("ENCRYPTED COSIGN PRIVATE KEY", sealed(encrypted.Legacy)), passphrase("secret"),
			true},
		"a higher cost": {inPEM("ENCRYPTED SIGSTORE PRIVATE KEY", sealed(encrypted.OWASP)), passphrase("secret"),
			true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, err := signer.ReadKey(c.data, c.passphrase)
			if err != nil {
				t.Fatal(err)
			}
			if k.Encrypted() != c.encrypted {
				t.Errorf("encrypted: %t", k.Encrypted())
			}
			first, err := signer.SignMessage(k, []byte("message"))
			if err != nil {
				t.Fatal(err)
			}
			second, err := signer.SignMessage(k, []byte("message"))
			if err != nil || string(first) != string(second) {
				t.Errorf("it signs the same message in two ways: %v", err)
			}
			if !signer.VerifyMessage(k.Public(), []byte("message"), first) {
				t.Error("the signature is not good")
			}
			if signer.VerifyMessage(k.Public(), []byte("massage"), first) {
				t.Error("the signature is good for another message")
			}
		})
	}
}

func TestKeysThatCannotSign(t *testing.T) {
	t.Parallel()
	ec := newECDSA(t, elliptic.P256())
	public, err := x509.MarshalPKIXPublicKey(ec.Public())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := encrypted.Encrypt(pkcs8(t, ec), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	edit := func(from, to string) []byte {
		text := strings.Replace(string(sealed), from, to, 1)
		if text == string(sealed) {
			t.Fatalf("%q is not in the key", from)
		}
		return inPEM("ENCRYPTED SIGSTORE PRIVATE KEY", []byte(text))
	}
	other, err := encrypted.Encrypt([]byte("something else"), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	small, err := x509.MarshalPKCS8PrivateKey(newECDSA(t, elliptic.P224()))
	if err != nil {
		t.Fatal(err)
	}
	// A space changes nothing, and does no damage.
	good := edit(`"scrypt"`, `"scrypt" `)
	sigstores := func(data []byte) []byte { return inPEM("ENCRYPTED SIGSTORE PRIVATE KEY", data) }
	legacy := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: public,
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}})
	asked := errors.New("nobody answers")
	nobody := func() ([]byte, error) { return nil, asked }
	secret := passphrase("secret")
	for name, c := range map[string]struct {
		data       []byte
		passphrase func() ([]byte, error)
		want       error
		says       string
	}{
		"nothing":                  {nil, never, signer.ErrKey, "not in PEM form"},
		"text":                     {[]byte("my secret key"), never, signer.ErrKey, "not in PEM form"},
		"a public key":             {inPEM("PUBLIC KEY", public), never, signer.ErrKey, "name the private key"},
		"a certificate":            {inPEM("CERTIFICATE", public), never, signer.ErrKey, "name the private key"},
		"another PEM block":        {inPEM("OPENSSH PRIVATE KEY", public), never, signer.ErrKey, "OPENSSH PRIVATE KEY"},
		"damaged":                  {inPEM("PRIVATE KEY", public), never, signer.ErrKey, "damaged"},
		"a small curve":            {inPEM("PRIVATE KEY", small), never, signer.ErrKey, "P-224"},
		"a small RSA key":          {inPEM("PRIVATE KEY", pkcs8(t, newRSA(t, 1024))), never, signer.ErrKey, "1024 bits"},
		"encrypted by openssl":     {inPEM("ENCRYPTED PRIVATE KEY", public), never, signer.ErrKey, "openssl pkey"},
		"encrypted by old openssl": {legacy, never, signer.ErrKey, "openssl pkey"},
		"too large":                {make([]byte, 1<<20), never, signer.ErrKey, "more than"},
		"a wrong passphrase":       {good, passphrase("guess"), signer.ErrPassphrase, "passphrase is wrong"},
		"no passphrase":            {good, nobody, asked, "nobody"},
		"another cost":             {edit("65536", "1073741824"), secret, signer.ErrKey, "not supported"},
		"another block size":       {edit(`"r":8`, `"r":8000`), secret, signer.ErrKey, "not supported"},
		"another derivation":       {edit(`"scrypt"`, `"argon2"`), secret, signer.ErrKey, "not supported"},
		"another cipher":           {edit("nacl/secretbox", "none"), secret, signer.ErrKey, "not supported"},
		"a short nonce":            {edit(`"nonce":"`, `"nonce":"AAAA","was":"`), secret, signer.ErrKey, "damaged"},
		"a key twice":              {edit(`"r":8`, `"r":8,"r":8`), secret, signer.ErrKey, "damaged"},
		"a key in another case":    {edit(`"N":65536`, `"n":65536`), secret, signer.ErrKey, "damaged"},
		"not JSON":                 {sigstores([]byte("{")), secret, signer.ErrKey, "damaged"},
		"no key in it":             {sigstores(other), secret, signer.ErrKey, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := signer.ReadKey(c.data, c.passphrase)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v that says %q", err, c.want, c.says)
			}
		})
	}
}

func TestMessagesHaveNothingOfAKey(t *testing.T) {
	t.Parallel()
	ec := newECDSA(t, elliptic.P256())
	der := pkcs8(t, ec)
	k, err := signer.ReadKey(inPEM("PRIVATE KEY", der), never)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := ec.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	damaged := inPEM("PRIVATE KEY", append([]byte{0x31}, der[1:]...))
	_, failed := signer.ReadKey(damaged, never)
	texts := []string{fmt.Sprint(failed)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		texts = append(texts, fmt.Sprintf(verb, k), fmt.Sprintf(verb, signer.Options{Key: k}))
	}
	for _, text := range texts {
		for _, form := range []string{
			string(secret), fmt.Sprintf("%x", secret), fmt.Sprintf("%d", secret),
			base64.StdEncoding.EncodeToString(secret), base64.StdEncoding.EncodeToString(der),
		} {
			if strings.Contains(text, strings.Trim(form, "[]")) {
				t.Errorf("%q has the key", text)
			}
		}
	}
	var _ crypto.Signer = k
}
