package signer_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/signer"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

const repository = "os/os"

// world is a registry with images in one repository.
type world struct {
	t   *testing.T
	reg *testreg.Registry
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t, testreg.New(t)}
}

// listing is a world whose registry lists the artifacts of a subject.
func listing(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.reg.ServeReferrers(testreg.Referrers{In: func(string) bool { return true }})
	return w
}

func (w *world) ref(tag string) imgref.ImageReference {
	return imgref.ImageReference{Transport: imgref.Registry, Name: w.reg.Host + "/" + repository + tag}
}

// put stores a document and returns its descriptor.
func (w *world) put(tag, mediaType string, v any) ocispec.Descriptor {
	w.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	d := digest.FromBytes(data)
	if tag == "" {
		tag = d.String()
	}
	if err := w.reg.Put(repository, tag, mediaType, data); err != nil {
		w.t.Fatal(err)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

// image stores a manifest that differs from others by its content.
func (w *world) image(tag, content string) ocispec.Descriptor {
	w.t.Helper()
	return w.put(tag, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{},
		Annotations: map[string]string{"content": content},
	})
}

func (w *world) index(tag string, members ...ocispec.Descriptor) ocispec.Descriptor {
	w.t.Helper()
	return w.put(tag, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: members,
	})
}

// get reads a document by its tag or digest. It returns nil if there is none.
func (w *world) get(reference string) []byte {
	w.t.Helper()
	return w.read("manifests/" + reference)
}

func (w *world) read(path string) []byte {
	w.t.Helper()
	res, err := http.Get("http://" + w.reg.Host + "/v2/" + repository + "/" + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		return nil
	}
	return data
}

var plainHTTP = access.Options{InsecureSkipTLSVerify: true}

// options are for quick tests: nobody else writes.
func options(format signer.Format, key crypto.Signer) signer.Options {
	return signer.WithPause(signer.Options{Registry: plainHTTP, Format: format, Key: key}, time.Nanosecond)
}

func (w *world) sign(ref imgref.ImageReference, o signer.Options) *signer.Result {
	w.t.Helper()
	r, err := signer.Sign(w.t.Context(), ref, "", o)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// attached is a signature in an attachment.
type attached struct {
	name   string
	digest digest.Digest
	good   bool // by the key that was asked about
}

// attachment reads the attachment of a document.
func (w *world) attachment(d digest.Digest, key crypto.Signer) (list []attached) {
	w.t.Helper()
	data := w.get(attachmentTag(d))
	if data == nil {
		return nil
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		w.t.Fatal(err)
	}
	var config ocispec.Image
	w.blob(m.Config, &config)
	if len(config.RootFS.DiffIDs) != len(m.Layers) {
		w.t.Errorf("the configuration lists %d layers, and the manifest %d", len(config.RootFS.DiffIDs), len(m.Layers))
	}
	for _, l := range m.Layers {
		var p struct {
			Critical struct {
				Identity struct {
					Reference string `json:"docker-reference"`
				}
				Image struct {
					Digest digest.Digest `json:"docker-manifest-digest"`
				}
				Type string
			}
		}
		data := w.blob(l, &p)
		if l.MediaType != "application/vnd.dev.cosign.simplesigning.v1+json" ||
			p.Critical.Type != "cosign container image signature" {
			w.t.Errorf("a layer is of the type %s, and its payload of the type %s", l.MediaType, p.Critical.Type)
		}
		signature, err := base64.StdEncoding.DecodeString(l.Annotations["dev.cosignproject.cosign/signature"])
		if err != nil {
			w.t.Error(err)
		}
		list = append(list, attached{p.Critical.Identity.Reference, p.Critical.Image.Digest,
			signer.VerifyMessage(key.Public(), data, signature)})
	}
	return list
}

// blob reads a JSON blob, and checks that it is what the descriptor says.
func (w *world) blob(d ocispec.Descriptor, v any) []byte {
	w.t.Helper()
	data := w.read("blobs/" + d.Digest.String())
	if digest.FromBytes(data) != d.Digest || int64(len(data)) != d.Size {
		w.t.Fatalf("%s: there is something else of %d bytes", d.Digest, len(data))
	}
	if err := json.Unmarshal(data, v); err != nil {
		w.t.Fatal(err)
	}
	return data
}

func attachmentTag(d digest.Digest) string { return strings.Replace(d.String(), ":", "-", 1) + ".sig" }

func fallbackTag(d digest.Digest) string { return strings.Replace(d.String(), ":", "-", 1) }

// referrers returns the digests of the artifacts of a document, whose bundles must be of a key: as the registry lists
// them or, with fallback, as the index at the tag does.
func (w *world) referrers(d digest.Digest, fallback bool) (list []digest.Digest) {
	w.t.Helper()
	data := w.read("referrers/" + d.String())
	if fallback {
		data = w.get(fallbackTag(d))
	}
	if data == nil {
		return nil
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		w.t.Fatal(err)
	}
	for _, e := range index.Manifests {
		list = append(list, e.Digest)
	}
	return list
}

func mediaTypeOf(data []byte) string {
	var m struct{ MediaType string }
	_ = json.Unmarshal(data, &m)
	return m.MediaType
}
