//go:build containers_image_openpgp

package policy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/pkg/sysregistriesv2"

	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

const (
	attachmentType       = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureAnnotation  = "dev.cosignproject.cosign/signature"
	certificateOfTheLeaf = "dev.sigstore.cosign/certificate"
	chainAnnotation      = "dev.sigstore.cosign/chain"
	logAnnotation        = "dev.sigstore.cosign/bundle"
)

// registry starts an empty registry as registry.example, with attachments switched on.
func registry(t *testing.T) *testreg.Registry {
	t.Helper()
	configure(t, map[string]string{"registries.d/0.yaml": attachmentsOn})
	r := testreg.New(t)
	sigstorefixture.RegistriesConf(t, r)
	return r
}

// publish stores an image of which nothing but the manifest exists, and returns the manifest.
func publish(t *testing.T, r *testreg.Registry, repository, tag, note string) oci.Document {
	t.Helper()
	raw, err := json.Marshal(object{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest,
		"annotations": object{"note": note}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Put(repository, tag, ocispec.MediaTypeImageManifest, raw); err != nil {
		t.Fatal(err)
	}
	return oci.Document{Raw: raw, MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(raw)}
}

// pair is a key with the file that has the public half.
type pair struct {
	private *ecdsa.PrivateKey
	file    string
	pem     []byte
}

func newPair(t *testing.T) pair {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pairOf(t, k)
}

func pairOf(t *testing.T, k *ecdsa.PrivateKey) pair {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	p := pair{private: k, pem: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		file: filepath.Join(t.TempDir(), "key.pub")}
	write(t, p.file, string(p.pem))
	return p
}

// payload is what an attachment signs: that an image has a name.
func payload(t *testing.T, name string, d digest.Digest) []byte {
	t.Helper()
	data, err := json.Marshal(object{"critical": object{
		"identity": object{"docker-reference": name}, "image": object{"docker-manifest-digest": d},
		"type": "cosign container image signature",
	}, "optional": nil})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// layer is an attachment.
type layer struct {
	payload     []byte
	annotations map[string]string
	mediaType   string        // instead of the usual
	digest      digest.Digest // instead of that of the payload
	size        int64         // instead of that of the payload
	absent      bool          // the payload is not stored
}

// sign returns the attachment by which a key signs a payload.
func (p pair) sign(t *testing.T, payload []byte) layer {
	t.Helper()
	sum := sha256.Sum256(payload)
	s, err := ecdsa.SignASN1(rand.Reader, p.private, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return layer{payload: payload,
		annotations: map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(s)}}
}

// attach stores attachments of a document.
func attach(t *testing.T, r *testreg.Registry, repository string, d digest.Digest, layers ...layer) {
	t.Helper()
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{}}
	m.SchemaVersion = 2
	for _, l := range layers {
		desc := ocispec.Descriptor{MediaType: attachmentType, Digest: digest.FromBytes(l.payload),
			Size: int64(len(l.payload)), Annotations: l.annotations}
		if l.mediaType != "" {
			desc.MediaType = l.mediaType
		}
		if l.digest != "" {
			desc.Digest = l.digest
		}
		if l.size != 0 {
			desc.Size = l.size
		}
		m.Layers = append(m.Layers, desc)
		if l.absent || l.digest != "" {
			continue
		}
		if err := r.PutBlob(repository, desc.Digest.String(), l.payload); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Put(repository, attachmentTag(d), ocispec.MediaTypeImageManifest, raw); err != nil {
		t.Fatal(err)
	}
}

func attachmentTag(d digest.Digest) string { return "sha256-" + d.Encoded() + ".sig" }

// many returns the same attachment several times, each with an annotation of its own.
func many(n int, l layer) []layer {
	list := make([]layer, n)
	for i := range list {
		list[i] = l
		list[i].annotations = map[string]string{"n": strconv.Itoa(i)}
		for k, v := range l.annotations {
			list[i].annotations[k] = v
		}
	}
	return list
}

// by returns a requirement for the keys.
func by(identity object, keys ...pair) object {
	var paths []string
	for _, k := range keys {
		paths = append(paths, k.file)
	}
	o := object{"type": policyjson.SigstoreSigned, "keyPaths": paths}
	if identity != nil {
		o["signedIdentity"] = identity
	}
	return o
}

var anyTag = object{"type": "matchRepository"}

// registriesConf sets registries.conf for this test.
func registriesConf(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "registries.conf")
	write(t, file, text)
	t.Setenv("CONTAINERS_REGISTRIES_CONF", file)
	sysregistriesv2.InvalidateCache()
	t.Cleanup(sysregistriesv2.InvalidateCache)
}
