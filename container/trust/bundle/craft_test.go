package bundle_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
	"github.com/ostree-ext/ostree-ext-go/container/trust/pubkey"
)

const (
	// signedImage and otherImage are what the bundles in testdata sign.
	signedImage = digest.Digest("sha256:308cd94b08669b1dbb88c1ed018b49ecc563a98af4668e16afd7783d200712ea")
	otherImage  = digest.Digest("sha256:87926565692842832ed93ead9cb7cbe50f84004845c3d5b37658b12fa3217571")

	inToto    = "application/vnd.in-toto+json"
	statement = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":` +
		`{"sha256":"308cd94b08669b1dbb88c1ed018b49ecc563a98af4668e16afd7783d200712ea"},"annotations":{}}],` +
		`"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`
)

// stored returns a file of testdata.
func stored(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// cosignKeys returns keys of testdata.
func cosignKeys(t testing.TB, names ...string) []bundle.Key {
	t.Helper()
	var keys []bundle.Key
	for _, name := range names {
		k, err := bundle.LoadKeys("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k...)
	}
	return keys
}

// newECDSA returns a key of P-256.
func newECDSA(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// public returns the key that verifies what a signer signs.
func public(t testing.TB, signer crypto.Signer) bundle.Key {
	t.Helper()
	k, err := pubkey.New(signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// pae returns what DSSE signs, as its specification writes it.
func pae(payloadType, payload string) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// craft returns a bundle whose signature of a payload is good.
func craft(t testing.TB, key *ecdsa.PrivateKey, payloadType, payload string) []byte {
	t.Helper()
	hashed := sha256.Sum256(pae(payloadType, payload))
	sig, err := key.Sign(rand.Reader, hashed[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return wrap(t, payloadType, payload, sig)
}

// wrap returns a bundle with a payload and a signature.
func wrap(t testing.TB, payloadType, payload string, sig []byte) []byte {
	t.Helper()
	raw, err := json.Marshal(map[string]any{
		"mediaType":            bundle.MediaType,
		"verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": "who knows"}},
		"dsseEnvelope": map[string]any{
			"payload":     base64.StdEncoding.EncodeToString([]byte(payload)),
			"payloadType": payloadType,
			"signatures":  []any{map[string]any{"sig": base64.StdEncoding.EncodeToString(sig)}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// replace returns text with one part replaced, which must be there.
func replace(t testing.TB, text, old, replacement string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("%q is not in %s", old, text)
	}
	return strings.Replace(text, old, replacement, 1)
}
