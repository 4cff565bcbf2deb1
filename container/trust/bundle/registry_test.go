package bundle_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
	"github.com/ostree-ext/ostree-ext-go/container/trust/rules"
	"github.com/ostree-ext/ostree-ext-go/container/trust/trusttest"
)

// registry is a registry on loopback with the repository a/b. It lists what the test says.
type registry struct {
	*httptest.Server
	host string

	mu        sync.Mutex
	content   map[string][]byte // by "manifests/REFERENCE" or "blobs/DIGEST"
	listed    []ocispec.Descriptor
	bend      func(w http.ResponseWriter, r *http.Request, path string) bool
	asked     []string
	noListing bool
}

// newRegistry starts a registry that lists what attach was called with.
func newRegistry(t *testing.T) *registry {
	t.Helper()
	r := &registry{content: map[string][]byte{}}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.Start()
	t.Cleanup(r.Close)
	r.host = strings.TrimPrefix(r.URL, "http://")
	return r
}

// ServeHTTP implements [http.Handler].
func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path, ok := strings.CutPrefix(req.URL.Path, "/v2/a/b/")
	if !ok {
		return // 200, as for /v2/
	}
	r.mu.Lock()
	if req.URL.RawQuery != "" {
		r.asked = append(r.asked, path+"?"+req.URL.RawQuery)
	} else {
		r.asked = append(r.asked, path)
	}
	bend, listed, noListing := r.bend, slices.Clone(r.listed), r.noListing
	data, found := r.content[path]
	r.mu.Unlock()
	switch {
	case bend != nil && bend(w, req, path):
	case strings.HasPrefix(path, "referrers/") && !noListing:
		sendIndex(w, listed)
	case !found:
		http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not here"}]}`, http.StatusNotFound)
	default:
		if strings.HasPrefix(path, "manifests/") {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		}
		_, _ = w.Write(data)
	}
}

func sendIndex(w http.ResponseWriter, listed []ocispec.Descriptor) {
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	_, _ = w.Write(index(listed))
}

// index returns an index of descriptors.
func index(listed []ocispec.Descriptor) []byte {
	data, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: listed,
	})
	if err != nil {
		panic(err)
	}
	return data
}

// requests returns the paths of all requests.
func (r *registry) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

// put stores a manifest without listing it.
func (r *registry) put(manifest []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(manifest),
		Size: int64(len(manifest)), ArtifactType: bundle.MediaType}
	r.content["manifests/"+d.Digest.String()] = manifest
	return d
}

// artifact stores a bundle and returns the manifest of its artifact, which may be changed.
func (r *registry) artifact(raw []byte, change func(*ocispec.Manifest)) []byte {
	layer := ocispec.Descriptor{MediaType: bundle.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	r.content["blobs/"+layer.Digest.String()] = raw
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: bundle.MediaType, Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{layer},
		Subject: &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: signedImage, Size: 540},
	}
	if change != nil {
		change(&m)
	}
	data, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}

// attach stores a bundle and lists its artifact.
func (r *registry) attach(raw []byte, change func(*ocispec.Manifest)) ocispec.Descriptor {
	d := r.put(r.artifact(raw, change))
	r.listed = append(r.listed, d)
	return d
}

// find searches for the bundles of the signed image. It does not wait for servers.
func (r *registry) find() *bundle.Search {
	s := bundle.Find(r.host+"/a/b:c", access.Options{InsecureSkipTLSVerify: true, Anonymous: true}, signedImage)
	s.SetPace(0, noWait)
	return s
}

// refused pulls the signed image, to which only what is in the registry is attached, with a file of keys that would be
// good for it. Nothing of it may get into a repository.
func (r *registry) refused(t *testing.T, keys string) {
	t.Helper()
	r.content["manifests/latest"] = stored(t, "b1-manifest.json")
	trusttest.Refused(t, imgref.ImageReference{Transport: imgref.Registry, Name: r.host + "/a/b:latest"}, trust.Options{
		Registry: access.Options{InsecureSkipTLSVerify: true, Anonymous: true},
		Policy:   trusttest.File(t, []byte(trusttest.RejectAll)),
		RuleDirs: []string{trusttest.Rules(t, map[string]*rules.Rule{
			r.host: {SignedBy: []rules.Signer{{KeyPath: keys}}},
		})},
	}, "")
}

// refused pulls the signed image with nothing but a bundle.
func refused(t *testing.T, raw []byte, keys string) {
	t.Helper()
	r := newRegistry(t)
	r.attach(raw, nil)
	r.refused(t, keys)
}

func noWait(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// skipReasons returns why things do not count, one a line.
func skipReasons(s *bundle.Search) string {
	var lines []string
	for _, what := range s.Skipped() {
		lines = append(lines, what.String())
	}
	return strings.Join(lines, "\n")
}

// others returns n artifacts of another type.
func (r *registry) others(n int) {
	for i := range n {
		r.attach(fmt.Appendf(nil, "{%d}", i), func(m *ocispec.Manifest) {
			m.ArtifactType, m.Layers[0].MediaType = "application/spdx+json", "application/spdx+json"
		})
	}
}

// newTLSServer starts a server that speaks TLS.
func newTLSServer(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}
