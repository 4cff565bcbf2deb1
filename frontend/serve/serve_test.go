package serve_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
	"github.com/ostree-ext/ostree-ext-go/frontend/serve"
)

// fixture is a layout with two layers of our own and one of another image.
func fixture(t *testing.T) (serve.Config, *chunk.Result) {
	t.Helper()
	dir := t.TempDir()
	blobs := filepath.Join(dir, "blobs/sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	r := &chunk.Result{Config: json.RawMessage("{}")}
	for _, content := range []string{"layer one", "elsewhere", "layer two"} {
		sum := digest.FromString(content)
		l := chunk.Layer{
			Name: content, DiffID: digest.FromString("diff " + content), Origin: chunk.Made,
			Descriptor: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: sum, Size: int64(len(content))},
		}
		if content == "elsewhere" {
			l.Origin = chunk.FromPrior
		}
		r.Layers = append(r.Layers, l)
		if err := os.WriteFile(filepath.Join(blobs, sum.Encoded()), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, chunk.ResultFile), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return serve.Config{Layout: dir, Result: dir, Repository: "secret", Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}}, r
}

func start(t *testing.T, c serve.Config) *httptest.Server {
	t.Helper()
	h, err := serve.NewHandler(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.Close()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestEachLayerIsAnImageAndSoIsEachGroup(t *testing.T) {
	t.Parallel()
	c, r := fixture(t)
	s := start(t, c)
	for _, tt := range []struct {
		layers []int
		marked bool
		want   []string
	}{
		{[]int{0}, false, []string{"layer one"}},
		{[]int{2}, false, []string{"layer two"}},
		{[]int{0, 2}, true, []string{"mark", "layer one", "layer two"}},
	} {
		checkImage(t, s, c, r, tt.layers, tt.marked, tt.want)
	}
	c.Whole = true
	checkImage(t, start(t, c), c, r, []int{0, 2}, false, []string{"layer one", "layer two"})
}

// checkImage reads an image as any client does.
func checkImage(t *testing.T, s *httptest.Server, c serve.Config, r *chunk.Result, layers []int, marked bool, want []string) {
	t.Helper()
	single, err := r.Alone(c.Platform, marked, layers...)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(s.Listener.Addr().String() + "/" + c.Repository + "@" + single.Digest().String())
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range config.History {
		got = append(got, h.CreatedBy)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
	list, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range list {
		blob, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(blob)
		if err != nil {
			t.Fatal(err)
		}
		if want[i] != "mark" && string(data) != want[i] {
			t.Errorf("layer %d is %q, want %q", i, data, want[i])
		}
	}
}

func TestNothingElseIsServed(t *testing.T) {
	t.Parallel()
	c, r := fixture(t)
	s := start(t, c)
	layer, elsewhere := r.Layers[0].Descriptor.Digest.String(), r.Layers[1].Descriptor.Digest.String()
	for _, tt := range []struct {
		name, method, path string
		want               int
	}{
		{"a layer", http.MethodGet, "/v2/secret/blobs/" + layer, http.StatusOK},
		{"a layer's size", http.MethodHead, "/v2/secret/blobs/" + layer, http.StatusOK},
		{"another repository", http.MethodGet, "/v2/public/blobs/" + layer, http.StatusNotFound},
		{"no repository", http.MethodGet, "/v2/blobs/" + layer, http.StatusNotFound},
		{"the list", http.MethodGet, "/v2/_catalog", http.StatusNotFound},
		{"tags", http.MethodGet, "/v2/secret/tags/list", http.StatusNotFound},
		{"a tag", http.MethodGet, "/v2/secret/manifests/latest", http.StatusNotFound},
		{"a blob of another image", http.MethodGet, "/v2/secret/blobs/" + elsewhere, http.StatusNotFound},
		{"a file of the layout", http.MethodGet, "/v2/secret/blobs/sha256:../../index.json", http.StatusNotFound},
		{"an upload", http.MethodPost, "/v2/secret/blobs/uploads/", http.StatusMethodNotAllowed},
		{"a deletion", http.MethodDelete, "/v2/secret/blobs/" + layer, http.StatusMethodNotAllowed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), tt.method, s.URL+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := s.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != tt.want {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.want)
			}
		})
	}
}

func TestARestOfALayerCanBeAskedFor(t *testing.T) {
	t.Parallel()
	c, r := fixture(t)
	s := start(t, c)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v2/secret/blobs/"+r.Layers[0].Descriptor.Digest.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", "bytes=6-")
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusPartialContent || string(data) != "one" {
		t.Errorf("status %d, %q, %v", resp.StatusCode, data, err)
	}
}

// step runs the chunk step on files that do not compress alike.
func step(t *testing.T, in, dir string, req chunk.Request) (chunk.Dirs, *chunk.Result) {
	t.Helper()
	dirs := chunk.Dirs{In: in, Layout: filepath.Join(dir, "layout"), Result: filepath.Join(dir, "result")}
	for _, d := range []string{dirs.Layout, dirs.Result} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := chunk.Run(t.Context(), req, dirs, io.Discard); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dirs.Result, chunk.ResultFile))
	if err != nil {
		t.Fatal(err)
	}
	result, err := chunk.ParseResult(data)
	if err != nil {
		t.Fatal(err)
	}
	return dirs, result
}

func TestLayersOfThePriorImageAreMadeAgainForABuilderThatAsks(t *testing.T) {
	t.Parallel()
	in := t.TempDir()
	for name, content := range map[string]string{"usr/bin/one": "one ", "usr/bin/two": "two ", "srv/data": "data "} {
		name = filepath.Join(in, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(strings.Repeat(content, 5000)), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	epoch := time.Unix(0, 0).UTC()
	req := chunk.Request{
		Options: chunk.Options{Format: chunk.FormatPlain}, Config: json.RawMessage("{}"),
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, Created: &epoch,
	}
	_, first := step(t, in, t.TempDir(), req)
	if err := os.WriteFile(filepath.Join(in, "srv/data"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}

	for _, tt := range []struct {
		compression string
		want        int
	}{{"gzip", http.StatusOK}, {"zstd", http.StatusNotFound}} {
		again := req
		again.Options.Compression = tt.compression
		again.Prior = first.Config
		request, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "request.json")
		if err := os.WriteFile(name, request, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, l := range first.Layers {
			again.PriorLayers = append(again.PriorLayers, l.Descriptor)
		}
		dirs, second := step(t, in, t.TempDir(), again)
		s := start(t, serve.Config{
			Layout: dirs.Layout, Result: dirs.Result, Repository: "secret", Platform: req.Platform,
			Remake: serve.Remake{Request: name, In: in, Scratch: t.TempDir()},
		})
		kept, made := second.From(chunk.FromPrior), second.From(chunk.Made)
		if len(kept) == 0 || len(made) == 0 {
			t.Fatalf("%d layers kept, %d made", len(kept), len(made))
		}
		for _, i := range made {
			get(t, s, second.Layers[i], http.StatusOK)
		}
		for _, i := range kept {
			get(t, s, second.Layers[i], tt.want)
		}
	}
}

// get asks for the blob of a layer.
func get(t *testing.T, s *httptest.Server, l chunk.Layer, want int) {
	t.Helper()
	resp, err := s.Client().Get(s.URL + "/v2/secret/blobs/" + l.Descriptor.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want || want == http.StatusOK && digest.FromBytes(data) != l.Descriptor.Digest {
		t.Errorf("layer %s: %s, %d bytes, want status %d", l.Name, resp.Status, len(data), want)
	}
}
