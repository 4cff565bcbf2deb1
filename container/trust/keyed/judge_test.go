package keyed_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyed"
)

func base64Of(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// newKey returns a key on a curve.
func newKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// public returns a public key in PEM form.
func public(t testing.TB, k crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// sign signs as the container tools do.
func sign(t testing.TB, k crypto.Signer, message []byte) []byte {
	t.Helper()
	sum, opts := sha256.Sum256(message), crypto.SHA256
	data := sum[:]
	if _, ok := k.(ed25519.PrivateKey); ok {
		data, opts = message, crypto.Hash(0)
	}
	s, err := k.Sign(rand.Reader, data, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKeysOfAllKindsThatSignImages(t *testing.T) {
	t.Parallel()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for kind, k := range map[string]crypto.Signer{
		"P-256": newKey(t, elliptic.P256()), "P-384": newKey(t, elliptic.P384()), "P-521": newKey(t, elliptic.P521()),
		"Ed25519": ed, "RSA": long,
	} {
		var s signing
		payload := payloadFor("quay.io/os:1", image)
		s.add(payload, sign(t, k, payload))
		files := map[string][]byte{"k": public(t, k)}
		if err := s.judge(t, name(t, "quay.io/os:1"), `[{"type":"sigstoreSigned","keyPath":"k"}]`, files); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		files["k"] = public(t, newKey(t, elliptic.P256()))
		if err := s.judge(t, name(t, "quay.io/os:1"), `[{"type":"sigstoreSigned","keyPath":"k"}]`, files); err == nil {
			t.Errorf("%s: another key is accepted", kind)
		}
	}
}

func TestFilesThatAreNotOneGoodKey(t *testing.T) {
	t.Parallel()
	good := public(t, newKey(t, elliptic.P256()))
	short, err := rsa.GenerateKey(rand.Reader, 1024) // too short
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(newKey(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, data []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}) }
	for what, data := range map[string][]byte{
		"no public key in PEM":       []byte("ssh-ed25519 AAAA"),
		"more than one":              append(append([]byte(nil), good...), good...),
		"it is a private key":        block("PRIVATE KEY", private),
		"it is a certificate":        block("CERTIFICATE", []byte("x")),
		"PEM block \"PUBLIC KEY\": ": block("PUBLIC KEY", []byte("x")),
		"has 1024 bits":              public(t, short),
		"curve other than":           public(t, newKey(t, elliptic.P224())),
		"has more than 65.5\u00a0kB": append(append([]byte(nil), good...), strings.Repeat(" ", keyed.MaxKeySize)...),
		"there is no file k":         nil,
		"no public key in PEM ":      {},
	} {
		files := map[string][]byte{"k": data}
		if data == nil {
			delete(files, "k")
		}
		err := (&signing{}).judge(t, name(t, "quay.io/os:1"), `[{"type":"sigstoreSigned","keyPath":"k"}]`, files)
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(what)) {
			t.Errorf("error %v, want one that says %q", err, what)
		}
	}
}

func TestPayloadsThatDoNotSignTheImage(t *testing.T) {
	t.Parallel()
	k := newKey(t, elliptic.P256())
	files := map[string][]byte{"k": public(t, k)}
	good := string(payloadFor("quay.io/os:1", image))
	replaced := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return strings.Replace(good, old, with, 1)
	}
	other := digest.FromString("another image")
	for what, tt := range map[string]struct{ payload, want string }{
		"good":                 {good, ""},
		"no optional part":     {replaced(`,"optional":null`, ``), "all of its keys"},
		"more in optional":     {replaced(`"optional":null`, `"optional":{"creator":"x","tag":1}`), ""},
		"another image":        {replaced(image.String(), other.String()), "for another image, " + other.String()},
		"another algorithm":    {replaced("sha256:", "sha512:"), "for another image"},
		"a digest in capitals": {replaced(image.String(), strings.ToUpper(image.String())), "for another image"},
		"another type":         {replaced("container image signature", "blob signature"), "blob signature"},
		"no type":              {replaced(`,"type":"cosign container image signature"`, ``), "all of its keys"},
		"an unknown key":       {replaced(`"critical":{`, `"critical":{"more":1,`), "more"},
		"an unknown top key":   {replaced(`{"critical"`, `{"more":1,"critical"`), "more"},
		"a key twice": {
			replaced(`"image":{`, `"image":{"docker-manifest-digest":"`+other.String()+`",`), "ambiguous",
		},
		"a key in capitals": {replaced(`"docker-manifest-digest"`, `"Docker-Manifest-Digest"`), "ambiguous"},
		"more behind":       {good + good, "something follows"},
		"a list":            {"[" + good + "]", "an object is expected"},
		"not JSON":          {"x", "not JSON"},
		"no reference":      {replaced(`quay.io/os:1`, ``), "does not accept"},
	} {
		var s signing
		s.add([]byte(tt.payload), sign(t, k, []byte(tt.payload)))
		err := s.judge(t, name(t, "quay.io/os:1"), `[{"type":"sigstoreSigned","keyPath":"k"}]`, files)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", what, err, tt.want)
		}
		var refused *keyed.RefusedError
		if err != nil && (!errors.As(err, &refused) || refused.Signed != image) {
			t.Errorf("%s: %T is not a refusal of the image", what, err)
		}
	}
}

func TestOneGoodSignatureForEachRequirementIsEnough(t *testing.T) {
	t.Parallel()
	k1, k2, k3 := newKey(t, elliptic.P256()), newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	files := map[string][]byte{"k1": public(t, k1), "k2": public(t, k2), "k3": public(t, k3)}
	payload := payloadFor("quay.io/os:1", image)
	var s signing
	s.add(payload, []byte("no signature"))
	s.add(payload, sign(t, k1, payload))
	s.add(payload, sign(t, k2, payload))
	both := `{"type":"sigstoreSigned","keyPath":"k1"},{"type":"sigstoreSigned","keyPath":"k2"}`
	for requirements, want := range map[string]bool{
		`[` + both + `]`: true,
		`[` + both + `,{"type":"insecureAcceptAnything"}]`:                   true,
		`[` + both + `,{"type":"sigstoreSigned","keyPath":"k3"}]`:            false,
		`[{"type":"sigstoreSigned","keyPaths":["k3","k2"]}]`:                 true,
		`[{"type":"sigstoreSigned","keyPath":"k3"}]`:                         false,
		`[{"type":"sigstoreSigned","keyPaths":["k1"]}]`:                      true,
		`[{"type":"sigstoreSigned","keyData":"` + inPolicy(files) + `"}]`:    true,
		`[{"type":"sigstoreSigned","keyDatas":["` + inPolicy(files) + `"]}]`: true,
	} {
		if err := s.judge(t, name(t, "quay.io/os:1"), requirements, files); (err == nil) != want {
			t.Errorf("%s: %v, want accepted: %t", requirements, err, want)
		}
	}
}

func inPolicy(files map[string][]byte) string { return base64Of(files["k1"]) }

func TestLayersThatAreNoSignaturesDoNotCount(t *testing.T) {
	t.Parallel()
	k := newKey(t, elliptic.P256())
	files := map[string][]byte{"k": public(t, k)}
	payload := payloadFor("quay.io/os:1", image)
	for what, change := range map[string]func(*signing){
		"another type":         func(s *signing) { s.layers[0].MediaType = "application/vnd.dsse.envelope.v1+json" },
		"no annotation":        func(s *signing) { s.layers[0].Annotations = nil },
		"not base64":           func(s *signing) { s.layers[0].Annotations["dev.cosignproject.cosign/signature"] = "~" },
		"a huge payload":       func(s *signing) { s.layers[0].Size = keyed.MaxPayloadSize + 1 },
		"a digest that is not": func(s *signing) { s.layers[0].Digest = "sha256:x" },
		"no payload":           func(s *signing) { s.payloads = nil },
		"another payload":      func(s *signing) { s.payloads[s.layers[0].Digest] = payloadFor("quay.io/os:2", image) },
		"none":                 func(s *signing) { s.layers = nil },
	} {
		var s signing
		s.add(payload, sign(t, k, payload))
		change(&s)
		err := s.judge(t, name(t, "quay.io/os:1"), `[{"type":"sigstoreSigned","keyPath":"k"}]`, files)
		var refused *keyed.RefusedError
		if !errors.As(err, &refused) || len(refused.Reasons) != 1 {
			t.Errorf("%s: error %v", what, err)
		}
	}
}

func TestManifestsThatAreNoAttachment(t *testing.T) {
	t.Parallel()
	var many signing
	for range 129 {
		many.add([]byte("x"), []byte("y"))
	}
	index, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex})
	if err != nil {
		t.Fatal(err)
	}
	for what, data := range map[string][]byte{
		"not JSON":              []byte("x"),
		"index":                 index,
		"more than 128":         many.manifest(t),
		"more than 4.2\u00a0MB": []byte(strings.Repeat(" ", keyed.MaxManifestSize+1)),
		"ambiguous":             []byte(`{"layers":[],"Layers":[]}`),
		`its media type is ""`:  []byte(`{"layers":[]}`),
	} {
		if _, err := keyed.ParseAttachment(data, image); !errors.Is(err, keyed.ErrAttachment) ||
			!strings.Contains(err.Error(), what) {
			t.Errorf("error %v, want one that says %q", err, what)
		}
	}
	for _, d := range []digest.Digest{"", "sha256:x", digest.SHA512.FromString("x")} {
		if tag, err := keyed.Tag(d); err == nil {
			t.Errorf("%q has the tag %s", d, tag)
		}
	}
}

// FuzzAttachment reads what a stranger put beside an image.
func FuzzAttachment(f *testing.F) {
	k := newKey(f, elliptic.P256())
	payload := payloadFor("quay.io/os:1", image)
	var s signing
	s.add(payload, sign(f, k, payload))
	f.Add(s.manifest(f), payload)
	f.Add([]byte(`{}`), []byte(`{"critical":{},"optional":{}}`))
	p, err := keyed.ParsePolicy([]byte(`{"default":[{"type":"sigstoreSigned","keyPath":"k"}]}`))
	if err != nil {
		f.Fatal(err)
	}
	rule, err := p.Rule(name(f, "quay.io/os:1"))
	if err != nil {
		f.Fatal(err)
	}
	other := newKey(f, elliptic.P256()) // signed nothing
	if err := rule.UseKeys(func(string) ([]byte, error) { return public(f, other), nil }); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, manifest, payload []byte) {
		a, err := keyed.ParseAttachment(manifest, image)
		if err != nil {
			return
		}
		payloads := map[digest.Digest][]byte{digest.FromBytes(payload): payload}
		if got, err := rule.Judge(name(t, "quay.io/os:1"), a, payloads); err == nil {
			t.Errorf("a key that signed nothing signed %+v", got)
		}
	})
}
