package bundle_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
)

// rsa2048 returns an RSA key of 2048 bits.
func rsa2048(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func onCurve(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ed(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// publicPEM returns a public key as a PEM block.
func publicPEM(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestEveryKindOfKeyVerifiesTheAlgorithmsThatPeopleSignWith(t *testing.T) {
	message := pae(inToto, statement)
	s256, s384, s512 := sha256.Sum256(message), sha512.Sum384(message), sha512.Sum512(message)
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	p256, p384, p521, edKey, rsaKey := onCurve(t, elliptic.P256()), onCurve(t, elliptic.P384()),
		onCurve(t, elliptic.P521()), ed(t), rsa2048(t)
	all := []crypto.Signer{p256, p384, p521, edKey, rsaKey}
	for _, c := range []struct {
		name   string
		key    crypto.Signer
		signed []byte
		opts   crypto.SignerOpts
		good   bool
	}{
		{"P-256 with SHA-256", p256, s256[:], crypto.SHA256, true},
		{"P-384 with SHA-384", p384, s384[:], crypto.SHA384, true},
		{"P-384 with SHA-256, as before", p384, s256[:], crypto.SHA256, true},
		{"P-521 with SHA-512", p521, s512[:], crypto.SHA512, true},
		{"P-521 with SHA-256, as before", p521, s256[:], crypto.SHA256, true},
		{"Ed25519", edKey, message, crypto.Hash(0), true},
		{"Ed25519ph", edKey, s512[:], crypto.SHA512, true},
		{"RSA, PKCS #1", rsaKey, s256[:], crypto.SHA256, true},
		{"RSA, PSS", rsaKey, s256[:], pss, true},
		{"P-256 with SHA-512", p256, s512[:], crypto.SHA512, false},
		{"P-384 with SHA-512", p384, s512[:], crypto.SHA512, false},
		{"RSA with SHA-512", rsaKey, s512[:], crypto.SHA512, false},
		{"Ed25519 over a hash", edKey, s256[:], crypto.Hash(0), false},
	} {
		sig, err := c.key.Sign(rand.Reader, c.signed, c.opts)
		if err != nil {
			t.Fatal(err)
		}
		b, err := bundle.Parse(wrap(t, inToto, statement, sig), signedImage)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range all {
			candidate := public(t, k)
			_, err := b.VerifyKeys([]bundle.Key{candidate})
			if want := c.good && candidate.Fingerprint == public(t, c.key).Fingerprint; want != (err == nil) {
				t.Errorf("%s: got %v from a %T", c.name, err, k)
			}
		}
	}
}

func TestAFileMayHaveSeveralKeys(t *testing.T) {
	one, two := cosignKeys(t, "key1.pub")[0], cosignKeys(t, "key2.pub")[0]
	rsaKey := rsa2048(t)
	inPKCS1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)})
	file := filepath.Join(t.TempDir(), "rotation.pub")
	text := "# until March\n" + string(stored(t, "key1.pub")) + "# from then on\n" + string(stored(t, "key2.pub")) +
		publicPEM(t, ed(t).Public()) + string(inPKCS1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := bundle.LoadKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 4 || keys[0].Fingerprint != one.Fingerprint || keys[1].Fingerprint != two.Fingerprint ||
		keys[3].Fingerprint != public(t, rsaKey).Fingerprint || keys[2].File != file {
		t.Errorf("got %v", keys)
	}
}

func TestTheFingerprintIsTheHashOfTheKey(t *testing.T) {
	block, _ := pem.Decode(stored(t, "key1.pub"))
	sum := sha256.Sum256(block.Bytes)
	if got, want := cosignKeys(t, "key1.pub")[0].Fingerprint, "sha256:"+hex.EncodeToString(sum[:]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFilesThatHaveNoUsableKeys(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(ed(t))
	if err != nil {
		t.Fatal(err)
	}
	good := string(stored(t, "key1.pub"))
	block := func(kind string, data []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":                     {"", "no public key"},
		"no PEM":                      {"hello", "no public key"},
		"a private key":               {block("PRIVATE KEY", private), "private key"},
		"a private key of cosign":     {block("ENCRYPTED SIGSTORE PRIVATE KEY", private), "private key"},
		"a certificate":               {block("CERTIFICATE", private), "certificate"},
		"something else":              {block("PGP PUBLIC KEY BLOCK", private), "not a public key"},
		"no key in the block":         {block("PUBLIC KEY", []byte("x")), "PUBLIC KEY"},
		"a short RSA key":             {publicPEM(t, &small.PublicKey), "1024 bits"},
		"another curve":               {publicPEM(t, &onCurve(t, elliptic.P224()).PublicKey), "curve"},
		"a key that does not sign":    {publicPEM(t, x25519.PublicKey()), "do not sign"},
		"a good key, then a bad one":  {good + block("CERTIFICATE", private), "certificate"},
		"a damaged block, then a key": {replace(t, good, "MFkw", "!!!!") + good, "damaged"},
		"a key, then a damaged block": {good + replace(t, good, "MFkw", "!!!!"), "damaged"},
		"a block without its end":     {good + "-----BEGIN PUBLIC KEY-----\n", "damaged"},
		"too many keys":               {strings.Repeat(good, 101), "100 keys"},
		"a huge file":                 {good + strings.Repeat("\n", 1<<20), "too large"},
	} {
		file := filepath.Join(t.TempDir(), "keys.pub")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := bundle.LoadKeys(file)
		if err == nil || keys != nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: got %v, %v", name, keys, err)
		}
	}
	if _, err := bundle.LoadKeys(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that does not exist: got %v", err)
	}
}
