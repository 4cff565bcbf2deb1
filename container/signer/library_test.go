package signer_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/ostree-ext/ostree-ext-go/container/signer"
)

// verifyAsSigstore has sigstore-go verify a bundle with a public key.
func verifyAsSigstore(t *testing.T, data []byte, d digest.Digest, public crypto.PublicKey) error {
	t.Helper()
	var b bundle.Bundle
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	v, err := signature.LoadDefaultVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(v, time.Time{}, time.Time{}), nil
	})
	verifier, err := verify.NewVerifier(material, verify.WithNoObserverTimestamps())
	if err != nil {
		t.Fatal(err)
	}
	sum, err := hex.DecodeString(d.Encoded())
	if err != nil {
		t.Fatal(err)
	}
	_, err = verifier.Verify(&b, verify.NewPolicy(verify.WithArtifactDigest("sha256", sum), verify.WithKey()))
	return err
}

func TestSigstoresLibraryAcceptsBundles(t *testing.T) {
	t.Parallel()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, private := range map[string]any{
		"P-256": newECDSA(t, elliptic.P256()), "P-384": newECDSA(t, elliptic.P384()), "P-521": newECDSA(t, elliptic.P521()),
		"Ed25519": ed, "RSA": newRSA(t, 2048),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := listing(t)
			key, err := signer.ReadKey(inPEM("PRIVATE KEY", pkcs8(t, private)), never)
			if err != nil {
				t.Fatal(err)
			}
			d := w.image("stable", name).Digest
			r := w.sign(w.ref(":stable"), options(signer.Bundle, key))
			var m ocispec.Manifest
			if err := json.Unmarshal(w.get(r.Signed[0].Referrer.String()), &m); err != nil {
				t.Fatal(err)
			}
			var any map[string]any
			data := w.blob(m.Layers[0], &any)
			if err := verifyAsSigstore(t, data, d, key.Public()); err != nil {
				t.Error(err)
			}
			if verifyAsSigstore(t, data, digest.FromString("other"), key.Public()) == nil {
				t.Error("it is accepted for another digest")
			}
			if verifyAsSigstore(t, data, d, newKey(t).Public()) == nil {
				t.Error("it is accepted with another key")
			}
			if m.Subject == nil || m.Subject.Digest != d || !bytes.Contains(data, []byte("dsseEnvelope")) {
				t.Errorf("the artifact is %+v", m)
			}
		})
	}
}
