package keyed_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyed"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testhome"
)

func TestMain(m *testing.M) { os.Exit(testhome.Tests{M: m}.Run()) }

// name parses the name of an image.
func name(t testing.TB, s string) reference.Named {
	t.Helper()
	n, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// get reads something of a repository, or nil if it is not there.
func get(t *testing.T, host, what string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/v2/"+what, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageIndex+", "+ocispec.MediaTypeImageManifest)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		t.Fatal(err)
	case resp.StatusCode == http.StatusNotFound:
		return nil
	case resp.StatusCode != http.StatusOK:
		t.Fatalf("%s: %s: %s", what, resp.Status, data)
	}
	return data
}

// judge judges a document in a repository of the images that cosign signed.
func judge(t *testing.T, host, repository string, document []byte, rule *keyed.Rule) ([]oci.Signature, error) {
	t.Helper()
	signed := digest.FromBytes(document)
	tag, err := keyed.Tag(signed)
	if err != nil {
		t.Fatal(err)
	}
	manifest := get(t, host, repository+"/manifests/"+tag)
	if manifest == nil {
		return nil, errors.New("there is no attachment")
	}
	a, err := keyed.ParseAttachment(manifest, signed)
	if err != nil {
		return nil, err
	}
	payloads := map[digest.Digest][]byte{}
	for _, d := range a.Payloads() {
		payloads[d] = get(t, host, repository+"/blobs/"+d.String())
	}
	return rule.Judge(name(t, sigstorefixture.Host+"/"+repository+":latest"), a, payloads)
}

// What the container tools make of the images that the real cosign signed is made of them here, too.
func TestVerdictsOnAttachmentsAreThoseOfTheContainerTools(t *testing.T) {
	r := sigstorefixture.Load(t)
	n := 0
	for _, v := range sigstorefixture.Verdicts(t) {
		if v.Bundles {
			continue
		}
		n++
		t.Run(v.String(), func(t *testing.T) {
			var keys []string
			for _, k := range v.Keys {
				keys = append(keys, sigstorefixture.PublicKey(t, k))
			}
			policy, err := json.Marshal(map[string]any{
				"default": []any{map[string]any{"type": "reject"}},
				"transports": map[string]any{"docker": map[string]any{sigstorefixture.Host: []any{map[string]any{
					"type": "sigstoreSigned", "keyPaths": keys,
					"signedIdentity": map[string]string{
						"type": "exactRepository", "dockerRepository": sigstorefixture.Name(v.Image),
					},
				}}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			p, err := keyed.ParsePolicy(policy)
			if err != nil {
				t.Fatal(err)
			}
			rule, err := p.Rule(name(t, sigstorefixture.Name(v.Image)+":latest"))
			if err != nil {
				t.Fatal(err)
			}
			if err := rule.UseKeys(os.ReadFile); err != nil {
				t.Fatal(err)
			}
			repository := "os/" + v.Image
			top := get(t, r.Host, repository+"/manifests/latest")
			signatures, err := judge(t, r.Host, repository, top, rule)
			var index ocispec.Index
			if json.Unmarshal(top, &index) == nil && err != nil && len(index.Manifests) > 0 {
				member := get(t, r.Host, repository+"/manifests/"+index.Manifests[0].Digest.String())
				signatures, err = judge(t, r.Host, repository, member, rule)
			}
			if (err == nil) != v.Accept {
				t.Errorf("accepted: %t, want %t (%v)", err == nil, v.Accept, err)
			}
			if v.Accept && (len(signatures) != 1 || signatures[0].Kind != oci.SignedAttachment ||
				signatures[0].Rule != "docker: registry.example" || !strings.Contains(signatures[0].Signer, ".pub")) {
				t.Errorf("the signatures are %+v", signatures)
			}
		})
	}
	if n == 0 {
		t.Error("there are no verdicts about attachments")
	}
}

// image is a document that a test signs.
var image = digest.FromString("an image")

// signing is a test's image with signatures.
type signing struct {
	layers   []ocispec.Descriptor
	payloads map[digest.Digest][]byte
}

// add adds a signature of a payload.
func (s *signing) add(payload, signature []byte) {
	d := digest.FromBytes(payload)
	if s.payloads == nil {
		s.payloads = map[digest.Digest][]byte{}
	}
	s.payloads[d] = payload
	s.layers = append(s.layers, ocispec.Descriptor{
		MediaType: "application/vnd.dev.cosign.simplesigning.v1+json", Digest: d, Size: int64(len(payload)),
		Annotations: map[string]string{"dev.cosignproject.cosign/signature": base64Of(signature)},
	})
}

// manifest returns the attachment's manifest.
func (s *signing) manifest(t testing.TB) []byte {
	t.Helper()
	data, err := json.Marshal(ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig},
		Layers: s.layers,
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// judge judges the image under a name with a rule for all images.
func (s *signing) judge(t testing.TB, as reference.Named, requirements string, keys map[string][]byte) error {
	t.Helper()
	p, err := keyed.ParsePolicy([]byte(`{"default":` + requirements + `}`))
	if err != nil {
		t.Fatal(err)
	}
	rule, err := p.Rule(as)
	if err != nil {
		return err
	}
	err = rule.UseKeys(func(file string) ([]byte, error) {
		data, ok := keys[file]
		if !ok {
			return nil, fmt.Errorf("there is no file %s", file)
		}
		return data, nil
	})
	if err != nil {
		return err
	}
	a, err := keyed.ParseAttachment(s.manifest(t), image)
	if err != nil {
		return err
	}
	_, err = rule.Judge(as, a, s.payloads)
	return err
}

// payloadFor returns what cosign signs.
func payloadFor(ref string, d digest.Digest) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},`+
		`"type":"cosign container image signature"},"optional":null}`, ref, d)
}
