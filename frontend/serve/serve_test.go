package serve_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
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

// fixture returns a layout with two layers of our own and one of another image.
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
	return serve.Config{Layout: dir, Result: dir, Repository: "secret",
		Images: chunk.Subset{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}}}, r
}

func start(t *testing.T, c serve.Config) *httptest.Server {
	t.Helper()
	h, err := serve.NewHandler(c, nil)
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

// checkImage reads an image as a client does.
func checkImage(
	t *testing.T, s *httptest.Server, c serve.Config, r *chunk.Result, layers []int, marked bool, want []string,
) {
	t.Helper()
	c.Images.Marked = marked
	single, err := c.Images.Image(r, layers...)
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
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		s.URL+"/v2/secret/blobs/"+r.Layers[0].Descriptor.Digest.String(), nil)
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

// askingRegistry is a registry that asks for layers.
type askingRegistry struct {
	*httptest.Server
	asked   chan string
	answers io.WriteCloser
	prior   chunk.Layer
}

// startAsking starts a registry that does not have the layer of another image.
func startAsking(t *testing.T) *askingRegistry {
	t.Helper()
	c, r := fixture(t)
	l := &askingRegistry{asked: make(chan string, 10), prior: r.Layers[1]}
	if err := os.Remove(filepath.Join(c.Layout, "blobs/sha256", l.prior.Descriptor.Digest.Encoded())); err != nil {
		t.Fatal(err)
	}
	in, answers := io.Pipe()
	l.answers, c.Prior = answers, &serve.PriorLayers{Answers: in, Dir: t.TempDir()}
	h, err := serve.NewHandler(c, func(line string) error { l.asked <- line; return nil })
	if err != nil {
		t.Fatal(err)
	}
	l.Server = httptest.NewServer(h)
	t.Cleanup(func() {
		_ = answers.Close()
		l.Close()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// answer writes an answer as the frontend does.
func (l *askingRegistry) answer(t *testing.T, size int, blob string) {
	t.Helper()
	if _, err := fmt.Fprintf(l.answers, "%s %d\n%s", l.prior.Descriptor.Digest, size, blob); err != nil {
		t.Error(err)
	}
}

func TestALayerOfThePriorImageIsAskedForAndServed(t *testing.T) {
	t.Parallel()
	l := startAsking(t)
	blob := l.prior.Name
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { get(t, l.Server, l.prior, http.StatusOK) })
	}
	if got := <-l.asked; got != l.prior.Descriptor.Digest.String() {
		t.Errorf("asked for %s", got)
	}
	l.answer(t, len(blob), blob)
	both.Wait()
	get(t, l.Server, l.prior, http.StatusOK)
	if len(l.asked) > 0 {
		t.Error("asked twice")
	}
}

func TestALayerThatCannotBeHadNowIsAskedForAnew(t *testing.T) {
	t.Parallel()
	l := startAsking(t)
	for _, tt := range []struct {
		size int
		blob string
		want int
	}{
		{serve.Unavailable, "", http.StatusNotFound},
		{serve.Unavailable, "", http.StatusNotFound},
		{len(l.prior.Name), l.prior.Name, http.StatusOK},
	} {
		var one sync.WaitGroup
		one.Go(func() { get(t, l.Server, l.prior, tt.want) })
		<-l.asked
		l.answer(t, tt.size, tt.blob)
		one.Wait()
	}
}

func TestNothingIsServedOfAnAnswerThatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, answer string }{
		{"an end", ""},
		{"half of a blob", "DIGEST SIZE\nelse"},
		{"another size", "DIGEST 3\nels"},
		{"no number", "DIGEST many\n"},
		{"another blob", digest.FromString("other").String() + " 5\nother"},
		{"no line", strings.Repeat("x", 10000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := startAsking(t)
			var one sync.WaitGroup
			one.Go(func() { get(t, l.Server, l.prior, http.StatusNotFound) })
			<-l.asked
			text := strings.NewReplacer("DIGEST", l.prior.Descriptor.Digest.String(), "SIZE",
				strconv.Itoa(len(l.prior.Name))).Replace(tt.answer)
			go func() {
				_, _ = io.WriteString(l.answers, text)
				_ = l.answers.Close()
			}()
			one.Wait()
			// The registry does not ask again.
			get(t, l.Server, l.prior, http.StatusNotFound)
		})
	}
}

// get requests the blob of a layer.
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

// TestTheRegistryEndsWithItsInput: a builder that was killed cannot end it otherwise.
func TestTheRegistryEndsWithItsInput(t *testing.T) {
	t.Parallel()
	for _, asks := range []bool{false, true} {
		c, _ := fixture(t)
		if asks {
			c.Prior = &serve.PriorLayers{Dir: t.TempDir()}
		}
		in, stdin := io.Pipe()
		stdout, out := io.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- serve.Run(t.Context(), c, in, out) }()
		if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if err := stdin.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("asks %t: %v", asks, err)
		}
	}
}
