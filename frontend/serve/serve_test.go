package serve_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

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
	h, err := serve.NewHandler(c)
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

func TestALayerOfThePriorImageIsWhereTheAnswerSays(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer func(h *serve.Handler, d digest.Digest, address string)
		want   int
	}{
		{"elsewhere", func(h *serve.Handler, d digest.Digest, address string) { h.Answer(d, address) }, http.StatusOK},
		{"nowhere", func(h *serve.Handler, d digest.Digest, _ string) { h.Answer(d, "") }, http.StatusNotFound},
		{"what is unasked changes nothing", func(h *serve.Handler, d digest.Digest, address string) {
			h.Answer(digest.FromString("unasked"), "")
			h.Answer(d, address)
		}, http.StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, r := fixture(t)
			blobs := filepath.Join(c.Layout, "blobs/sha256")
			lent := r.Layers[1]
			place := t.TempDir()
			if err := os.Rename(filepath.Join(blobs, lent.Descriptor.Digest.Encoded()), filepath.Join(place, lent.Descriptor.Digest.Encoded())); err != nil {
				t.Fatal(err)
			}
			other := serveBlob(t, place, lent.Descriptor.Digest)
			asked := make(chan digest.Digest, 10)
			c.Ask = func(d digest.Digest) error { asked <- d; return nil }
			h, err := serve.NewHandler(c)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			s := httptest.NewServer(h)
			defer s.Close()
			get(t, s, r.Layers[0], http.StatusOK)
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() { get(t, s, lent, tt.want) })
			}
			d := <-asked
			if d != lent.Descriptor.Digest {
				t.Errorf("asked for %s", d)
			}
			tt.answer(h, d, other)
			both.Wait()
			h.Answer(d, other)
			get(t, s, lent, http.StatusOK)
			if len(asked) > 0 {
				t.Error("asked twice")
			}
		})
	}
}

// serveBlob serves a blob in a directory as a container does, and returns where.
func serveBlob(t *testing.T, dir string, d digest.Digest) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve.RunBlob(ctx, dir, d, "secret", w) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + strings.TrimSpace(line) + "/secret"
}

func TestRunAsksInLinesAndReadsTheAnswers(t *testing.T) {
	t.Parallel()
	c, r := fixture(t)
	first, second := r.Layers[1], r.Layers[2]
	r.Layers[2].Origin = chunk.FromPrior
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(c.Result, chunk.ResultFile), data, 0o644), os.RemoveAll(filepath.Join(c.Layout, "blobs/sha256")),
		os.Mkdir(filepath.Join(c.Layout, "blobs/sha256"), 0o755)); err != nil {
		t.Fatal(err)
	}
	place := t.TempDir()
	if err := os.WriteFile(filepath.Join(place, first.Descriptor.Digest.Encoded()), []byte(first.Name), 0o644); err != nil {
		t.Fatal(err)
	}
	other := serveBlob(t, place, first.Descriptor.Digest)
	ctx, cancel := context.WithCancel(t.Context())
	in, answers := io.Pipe()
	out, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve.Run(ctx, c, in, w) }()
	lines := bufio.NewScanner(out)
	lines.Scan()
	s := &httptest.Server{URL: "http://" + lines.Text()}
	var both sync.WaitGroup
	both.Go(func() { get(t, s, first, http.StatusOK) })
	lines.Scan()
	if lines.Text() != first.Descriptor.Digest.String() {
		t.Errorf("asked for %q", lines.Text())
	}
	fmt.Fprintf(answers, "%s %s\n%s\n", first.Descriptor.Digest, other, serve.Sync)
	lines.Scan()
	if lines.Text() != serve.Sync {
		t.Errorf("the answers were not taken: %q", lines.Text())
	}
	both.Wait()
	both.Go(func() { get(t, s, second, http.StatusNotFound) })
	lines.Scan()
	// With nobody to answer, nothing can be had.
	answers.Close()
	both.Wait()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// get asks for the blob of a layer.
func get(t *testing.T, s *httptest.Server, l chunk.Layer, want int) {
	t.Helper()
	resp, err := http.Get(s.URL + "/v2/secret/blobs/" + l.Descriptor.Digest.String())
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	if resp.StatusCode != want || want == http.StatusOK && digest.FromBytes(data) != l.Descriptor.Digest {
		t.Errorf("layer %s: %s, %d bytes, want status %d", l.Name, resp.Status, len(data), want)
	}
}
