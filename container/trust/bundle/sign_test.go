package bundle_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	sigstorebundle "github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
)

// sigstoreVerifies verifies a bundle with sigstore's own program.
func sigstoreVerifies(raw []byte, key crypto.PublicKey, subject digest.Digest) error {
	var b sigstorebundle.Bundle
	if err := b.UnmarshalJSON(raw); err != nil {
		return err
	}
	verifier, err := signature.LoadDefaultVerifier(key)
	if err != nil {
		return err
	}
	trusted := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(verifier, time.Time{}, time.Time{}), nil
	})
	v, err := verify.NewVerifier(trusted, verify.WithNoObserverTimestamps())
	if err != nil {
		return err
	}
	sum, err := hex.DecodeString(subject.Encoded())
	if err != nil {
		return err
	}
	_, err = v.Verify(&b, verify.NewPolicy(verify.WithArtifactDigest("sha256", sum), verify.WithKey()))
	return err
}

func TestSigstoreAgreesAboutTheBundlesOfCosign(t *testing.T) {
	one, two := cosignKeys(t, "key1.pub"), cosignKeys(t, "key2.pub")
	for _, file := range []string{"b1.json", "b2.json", "b1-flip.json", "b1-otherpayload.json", "other.json"} {
		raw := stored(t, file)
		for _, keys := range [][]bundle.Key{one, two} {
			b, err := bundle.Parse(raw, signedImage)
			if err == nil {
				_, err = b.VerifyKeys(keys)
			}
			theirs := sigstoreVerifies(raw, keys[0].Public, signedImage)
			if (err == nil) != (theirs == nil) {
				t.Errorf("%s by %s: we say %v, sigstore-go %v", file, keys[0], err, theirs)
			}
		}
	}
}

func TestWhatWeSignIsVerifiedByUsAndBySigstore(t *testing.T) {
	other := newECDSA(t)
	for name, key := range map[string]crypto.Signer{
		"P-256": newECDSA(t), "P-384": onCurve(t, elliptic.P384()), "P-521": onCurve(t, elliptic.P521()),
		"Ed25519": ed(t), "RSA": rsa2048(t),
	} {
		raw, err := bundle.Sign(key, signedImage)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := bundle.Sign(key, signedImage)
		if err != nil || !bytes.Equal(raw, again) {
			t.Errorf("%s: the second bundle differs, %v", name, err)
		}
		b, err := bundle.Parse(raw, signedImage)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := b.VerifyKeys([]bundle.Key{public(t, key)}); err != nil {
			t.Errorf("%s: we: %v", name, err)
		}
		if err := sigstoreVerifies(raw, key.Public(), signedImage); err != nil {
			t.Errorf("%s: sigstore-go: %v", name, err)
		}
		if sigstoreVerifies(raw, key.Public(), otherImage) == nil ||
			sigstoreVerifies(raw, other.Public(), signedImage) == nil {
			t.Errorf("%s: sigstore-go accepts another image or key", name)
		}
	}
}

// The bytes of cosign differ only in the signature.
func TestABundleHasTheFormOfCosigns(t *testing.T) {
	key := newECDSA(t)
	raw, err := bundle.Sign(key, signedImage)
	if err != nil {
		t.Fatal(err)
	}
	type form struct {
		VerificationMaterial struct{ PublicKey struct{ Hint string } }
		DSSEEnvelope         struct{ Signatures []struct{ Sig string } }
	}
	theirs := string(stored(t, "b1.json"))
	var ours, cosigns form
	if err := errors.Join(json.Unmarshal(raw, &ours), json.Unmarshal([]byte(theirs), &cosigns)); err != nil {
		t.Fatal(err)
	}
	want := replace(t, theirs, cosigns.VerificationMaterial.PublicKey.Hint, ours.VerificationMaterial.PublicKey.Hint)
	want = replace(t, want, cosigns.DSSEEnvelope.Signatures[0].Sig, ours.DSSEEnvelope.Signatures[0].Sig)
	if string(raw) != want {
		t.Errorf("got\n%s\nwant\n%s", raw, want)
	}
	sum, err := hex.DecodeString(strings.TrimPrefix(public(t, key).Fingerprint, "sha256:"))
	if err != nil || ours.VerificationMaterial.PublicKey.Hint != base64.StdEncoding.EncodeToString(sum) {
		t.Errorf("the hint is %s", ours.VerificationMaterial.PublicKey.Hint)
	}
}

// device is a signer of which only the interface is known.
type device struct {
	crypto.Signer
	sign func(random io.Reader, data []byte, opts crypto.SignerOpts) ([]byte, error)
}

func (d device) Sign(random io.Reader, data []byte, opts crypto.SignerOpts) ([]byte, error) {
	return d.sign(random, data, opts)
}

func TestADeviceSigns(t *testing.T) {
	key := newECDSA(t)
	raw, err := bundle.Sign(device{key, key.Sign}, signedImage)
	if err != nil {
		t.Fatal(err)
	}
	if err := sigstoreVerifies(raw, key.Public(), signedImage); err != nil {
		t.Error(err)
	}
	for name, sign := range map[string]func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error){
		"it fails": func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
			return nil, errors.New("the PIN is wrong")
		},
		"it signs with another key": newECDSA(t).Sign,
		"it returns r and s": func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
			return make([]byte, 64), nil
		},
	} {
		if _, err := bundle.Sign(device{key, sign}, signedImage); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestWhatCannotBeSigned(t *testing.T) {
	if _, err := bundle.Sign(newECDSA(t), digest.SHA512.FromString("x")); err == nil {
		t.Error("a SHA-512 was signed")
	}
	if _, err := bundle.Sign(onCurve(t, elliptic.P224()), signedImage); err == nil {
		t.Error("a key of P-224 signed")
	}
}

func TestAnArtifactIsFoundWhereItsPartsAre(t *testing.T) {
	key := newECDSA(t)
	raw, err := bundle.Sign(key, signedImage)
	if err != nil {
		t.Fatal(err)
	}
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: signedImage, Size: 540,
		Annotations: map[string]string{"left": "out"}}
	a, err := bundle.NewArtifact(raw, subject)
	if err != nil {
		t.Fatal(err)
	}
	for _, byTag := range []bool{false, true} {
		r := newRegistry(t)
		r.put(a.Manifest)
		r.content["blobs/"+digest.FromBytes(a.Bundle).String()] = a.Bundle
		if r.noListing = byTag; byTag {
			r.content["manifests/"+bundle.FallbackTag(signedImage)] = index([]ocispec.Descriptor{a.Descriptor})
		} else {
			r.listed = []ocispec.Descriptor{a.Descriptor}
		}
		b, _, err := r.find().VerifyKeys(t.Context(), []bundle.Key{public(t, key)})
		if err != nil || b.Artifact != a.Descriptor.Digest {
			t.Errorf("got %v", err)
		}
	}
	if _, err := bundle.NewArtifact(raw, ocispec.Descriptor{Digest: otherImage}); !errors.Is(err, bundle.ErrOtherSubject) {
		t.Errorf("an artifact for another image: got %v", err)
	}
	const want = `{"annotations":{"dev.sigstore.bundle.content":"dsse-envelope",` +
		`"dev.sigstore.bundle.predicateType":"https://sigstore.dev/cosign/sign/v1"},` +
		`"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json",` +
		`"config":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",` +
		`"mediaType":"application/vnd.oci.empty.v1+json","size":2},` +
		`"layers":[{"digest":"sha256:8116dfddd091cce96c363ba75ca7badd4d20ff01dd0b4f2a7e6a5885b1cb8dc8",` +
		`"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","size":659}],` +
		`"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2,` +
		`"subject":{"digest":"sha256:308cd94b08669b1dbb88c1ed018b49ecc563a98af4668e16afd7783d200712ea",` +
		`"mediaType":"application/vnd.oci.image.manifest.v1+json","size":540}}`
	a, err = bundle.NewArtifact(stored(t, "b1.json"), subject)
	if err != nil || string(a.Manifest) != want || string(a.Config) != "{}" {
		t.Errorf("got %s, %v", a.Manifest, err)
	}
}
