//go:build containers_image_openpgp

package trust_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
	"github.com/ostree-ext/ostree-ext-go/container/trust/trusttest"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// hostile is a registry with an image that key 1 signed, b1:latest, and another one in the same repository that nobody
// signed, b1:poison.
type hostile struct {
	*testreg.Registry
	t                *testing.T
	image            ocispec.Manifest
	unsigned         []byte
	unsignedDigest   digest.Digest
	answers          map[string]func(w http.ResponseWriter, req *http.Request)
	bundles, signing []byte
}

const repository = "os/b1"

func newHostile(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{Registry: sigstorefixture.Load(t), t: t, answers: map[string]func(http.ResponseWriter, *http.Request){}}
	if err := json.Unmarshal(ask(t, h.Registry, repository+"/manifests/latest"), &h.image); err != nil {
		t.Fatal(err)
	}
	poison(t, h.Registry)
	h.unsigned = ask(t, h.Registry, repository+"/manifests/poison")
	h.unsignedDigest = digest.FromBytes(h.unsigned)
	h.bundles = ask(t, h.Registry, repository+"/referrers/"+manifestDigest)
	var list ocispec.Index
	if err := json.Unmarshal(h.bundles, &list); err != nil || len(list.Manifests) == 0 {
		t.Fatalf("%s: %v", h.bundles, err)
	}
	h.signing = ask(t, h.Registry, repository+"/manifests/"+list.Manifests[0].Digest.String())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if answer := h.answers[strings.TrimPrefix(req.URL.Path, "/v2/"+repository+"/")]; answer != nil {
			answer(w, req)
			return
		}
		h.ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	sigstorefixture.RegistriesConf(t, &testreg.Registry{Host: strings.TrimPrefix(s.URL, "http://")})
	return h
}

// send has a path below the repository answer with some bytes.
func (h *hostile) send(path, mediaType string, data []byte, header ...string) {
	h.answers[path] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		_, _ = w.Write(data)
	}
}

// list has a list of referrers of the unsigned image name some manifests.
func (h *hostile) list(manifests ...[]byte) {
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
	index.SchemaVersion = 2
	for _, m := range manifests {
		d := digest.FromBytes(m)
		index.Manifests = append(index.Manifests, ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageManifest, ArtifactType: bundle.MediaType, Digest: d, Size: int64(len(m)),
		})
		h.send("manifests/"+d.String(), ocispec.MediaTypeImageManifest, m)
	}
	data, err := json.Marshal(index)
	if err != nil {
		h.t.Fatal(err)
	}
	h.send("referrers/"+h.unsignedDigest.String(), ocispec.MediaTypeImageIndex, data)
}

// claiming is the artifact with the signature of the signed image, which says that it is one of the unsigned image.
func (h *hostile) claiming() []byte {
	return bytes.ReplaceAll(h.signing, []byte(manifestDigest), []byte(h.unsignedDigest))
}

// TestNothingOfAnImageFromAHostileRegistryIsInTheRepository has a registry that tries to have an image taken for the
// signed one, or that gives it other content.
func TestNothingOfAnImageFromAHostileRegistryIsInTheRepository(t *testing.T) {
	const tag, poisoned, byDigest = ":latest", ":poison", "@" + manifestDigest
	for _, c := range []struct {
		what, name string
		attack     func(*hostile)
	}{
		{"another image in the repository", poisoned, func(*hostile) {}},
		{"another image under the signed digest, as the header says", tag, func(h *hostile) {
			h.send("manifests/latest", ocispec.MediaTypeImageManifest, h.unsigned, "Docker-Content-Digest", manifestDigest)
		}},
		{"another image where the digest was asked for", byDigest, func(h *hostile) {
			h.send("manifests/"+manifestDigest, ocispec.MediaTypeImageManifest, h.unsigned)
		}},
		{"an index that lists the signed image for another machine", ":mixed", func(h *hostile) {
			index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{
				{MediaType: ocispec.MediaTypeImageManifest, Digest: manifestDigest, Size: 540,
					Platform: &ocispec.Platform{OS: "linux", Architecture: "riscv64"}},
				{MediaType: ocispec.MediaTypeImageManifest, Digest: h.unsignedDigest, Size: int64(len(h.unsigned)),
					Platform: &ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}},
			}}
			index.SchemaVersion = 2
			data, err := json.Marshal(index)
			if err != nil {
				t.Fatal(err)
			}
			h.send("manifests/mixed", ocispec.MediaTypeImageIndex, data)
		}},
		{"the referrers of the signed image", poisoned, func(h *hostile) {
			h.send("referrers/"+h.unsignedDigest.String(), ocispec.MediaTypeImageIndex, h.bundles)
		}},
		{"the fallback tag of the signed image", poisoned, func(h *hostile) {
			h.send("manifests/"+bundle.FallbackTag(h.unsignedDigest), ocispec.MediaTypeImageIndex, h.bundles)
		}},
		{"an artifact that claims the unsigned image", poisoned, func(h *hostile) { h.list(h.claiming()) }},
		{"the image as its own signature", poisoned, func(h *hostile) { h.list(h.unsigned) }},
		{"a huge bundle", poisoned, func(h *hostile) {
			var m ocispec.Manifest
			if err := json.Unmarshal(h.claiming(), &m); err != nil {
				t.Fatal(err)
			}
			m.Layers[0].Size = 5 << 20
			data, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			h.list(data)
		}},
		{"thousands of referrers", poisoned, func(h *hostile) {
			var list strings.Builder
			list.WriteString(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[`)
			for n := range 10_001 {
				fmt.Fprintf(&list, `{"mediaType":%q,"digest":%q,"size":2},`, ocispec.MediaTypeImageManifest,
					digest.FromString(fmt.Sprint(n)))
			}
			h.send("referrers/"+h.unsignedDigest.String(), ocispec.MediaTypeImageIndex,
				[]byte(strings.TrimSuffix(list.String(), ",")+"]}"))
		}},
		{"pages without end", poisoned, func(h *hostile) {
			page := 0
			h.answers["referrers/"+h.unsignedDigest.String()] = func(w http.ResponseWriter, req *http.Request) {
				page++
				w.Header().Set("Link", fmt.Sprintf(`<%s?page=%d>; rel="next"`, req.URL.Path, page))
				w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
				_, _ = w.Write([]byte(`{"schemaVersion":2,"manifests":[]}`))
			}
		}},
		{"the signed image with another configuration", tag, func(h *hostile) {
			h.send("blobs/"+h.image.Config.Digest.String(), "application/octet-stream",
				bytes.Repeat([]byte(" "), int(h.image.Config.Size)))
		}},
		{"the signed image with another layer", tag, func(h *hostile) {
			l := h.image.Layers[len(h.image.Layers)-1]
			h.send("blobs/"+l.Digest.String(), "application/octet-stream", bytes.Repeat([]byte("x"), int(l.Size)))
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHostile(t)
			c.attack(h)
			r := trusttest.NewRepo(t)
			name := sigstorefixture.Name("b1") + c.name
			if res, err := pull(t, r, signed(name), byKeys(t, 1)); err == nil {
				t.Errorf("%s is stored", res.ManifestDigest)
			}
			// One who then pulls the signed image must not be trapped by that.
			h.answers = map[string]func(http.ResponseWriter, *http.Request){}
			res, err := pull(t, r, signed(sigstorefixture.Name("b1")+tag), byKeys(t, 1))
			if err != nil || res.ManifestDigest != manifestDigest {
				t.Errorf("the signed image is not stored: %v", err)
			}
		})
	}
}

// TestAPolicyThatBecameStricterDecidesAboutAStoredImage also has one that became weaker, which is refused as such.
func TestAPolicyThatBecameStricterDecidesAboutAStoredImage(t *testing.T) {
	sigstorefixture.RegistriesConf(t, sigstorefixture.Load(t))
	ref := signed(sigstorefixture.Name("b1") + ":latest")
	r := trusttest.NewRepo(t)
	if _, err := pull(t, r, imgref.Unverified(ref.Image), byKeys(t, 1)); err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][]int{{2}, {1}, {2}} {
		if _, err := pull(t, r, ref, byKeys(t, keys...)); (err == nil) != (keys[0] == 1) {
			t.Errorf("with the key %d: %v", keys[0], err)
		}
	}
}
