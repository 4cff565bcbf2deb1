package setup_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/ostree-ext/ostree-ext-go/container/trust/setup"
	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
)

// makeOn plans for a host without files.
func makeOn(t *testing.T, opts setup.Options) (*setup.Plan, error) {
	t.Helper()
	if opts.Host.Root == "" {
		opts.Host.Root = t.TempDir()
	}
	if opts.Scope == "" {
		opts.Scope = "ghcr.io/exampleos/os"
	}
	return setup.Make(opts)
}

func TestOptionsThatMakeNoRule(t *testing.T) {
	t.Parallel()
	pem, pgp := key(t, "first.pub"), key(t, "openpgp.asc")
	const issuer = "https://accounts.google.com"
	for says, opts := range map[string]setup.Options{
		"name the signer":              {},
		"an identity needs its issuer": {Identity: "a@b.example"},
		"an issuer alone is nobody":    {Issuer: issuer},
		"choose either an identity":    {Issuer: issuer, Identity: "a", Expression: "a"},
		"the issuer is a URL":          {Issuer: "accounts.google.com", Identity: "a"},
		"missing closing )":            {Issuer: issuer, Expression: "("},
		"unexpected )":                 {Issuer: issuer, Expression: "a)|(?:b"},
		"accepts everybody":            {Issuer: issuer, Expression: ".*"},
		"https://.+ accepts everybody": {Issuer: issuer, Expression: "https://.+"},
		"either keys or an identity":   {Issuer: issuer, Identity: "a", Keys: []setup.Key{pem}},
		"by an identity are bundles":   {Issuer: issuer, Identity: "a", NoBundles: true},
		"is for signatures by keys of": {Issuer: issuer, Identity: "a", Lookaside: "https://a.example"},
		"storage is for signatures":    {Keys: []setup.Key{pem}, Lookaside: "https://a.example"},
		"begins with https://":         {Keys: []setup.Key{pgp}, Lookaside: "/srv/signatures"},
		"cannot be the name of a file": {Keys: []setup.Key{pem}, Name: "../x"},
		"write the whole name":         {Keys: []setup.Key{pem}, Scope: "os"},
	} {
		_, err := makeOn(t, opts)
		if !errors.Is(err, setup.ErrOptions) && !errors.Is(err, setup.ErrScope) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	// A file of a user cannot be below another root, and a user has a home.
	for _, host := range []setup.Host{
		{Root: "/", User: true},
		{User: true, Env: func(string) string { return "" }},
		{User: true, Env: func(string) string { return "home" }},
	} {
		opts := setup.Options{Scope: "ghcr.io/os", Keys: []setup.Key{pem}, Host: host}
		if _, err := setup.Make(opts); !errors.Is(err, setup.ErrOptions) {
			t.Errorf("got %v", err)
		}
	}
}

func TestKeysOfEveryKind(t *testing.T) {
	t.Parallel()
	dir := fixtures.Dir(t)
	for _, name := range []string{
		"sigstore/keys/key1.pub", "signed/keys/spki-ed25519-1.pub.pem", "signed/keys/spki-p256-1.pub.pem",
		"signed/keys/spki-rsa-1.pub.pem", "signed/keys/key1.asc",
	} {
		data, err := os.ReadFile(dir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := makeOn(t, setup.Options{Keys: []setup.Key{{Name: name, Data: data}}})
		if err != nil || !plan.Changes() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFilesWithoutAPublicKeyAreRefused(t *testing.T) {
	t.Parallel()
	dir := fixtures.Dir(t)
	read := func(name string) string {
		t.Helper()
		data, err := os.ReadFile(dir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	first, second := string(key(t, "first.pub").Data), string(key(t, "second.pub").Data)
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	for _, c := range []struct{ name, data, says string }{
		{"a private key", read("signed/keys/spki-p256-1.pem"), "it is a private key"},
		{"an encrypted private key of cosign", read("sigstore/keys/key1.key"), "it is a private key"},
		{"a private key of OpenPGP", privateKeyring(t), "it has a private key"},
		{"two keys in one file", first + second, "there is more than one key"},
		{"a certificate", block("CERTIFICATE", []byte("x")), "it is a certificate"},
		{"another block", block("MESSAGE", []byte("x")), `it is a "MESSAGE"`},
		{"a broken key", block("PUBLIC KEY", []byte("x")), "asn1"},
		{"a key for key agreement", block("PUBLIC KEY", x25519(t)), "make no signatures"},
		{"text", "ssh-ed25519 AAAA", "neither a public key in PEM nor one of OpenPGP"},
		{"nothing", "", "neither a public key in PEM nor one of OpenPGP"},
		{"a cut keyring", string(key(t, "openpgp.gpg").Data[:40]), "neither a public key in PEM nor one of OpenPGP"},
		{"much", strings.Repeat("x", 1<<20+1), "more than 1.0\u00a0MB"},
	} {
		_, err := makeOn(t, setup.Options{Keys: []setup.Key{{Name: "FILE", Data: []byte(c.data)}}})
		if !errors.Is(err, setup.ErrKey) || !strings.Contains(err.Error(), c.says) ||
			!strings.Contains(err.Error(), "FILE") {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
	}
}

func privateKeyring(t *testing.T) string {
	t.Helper()
	e, err := openpgp.NewEntity("Example OS", "", "release@exampleos.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	w, err := armor.Encode(&b, openpgp.PrivateKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.SerializePrivate(w, nil), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func x25519(t *testing.T) []byte {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return der
}
