//go:build boot

package boot

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// blobRegistry is a registry on loopback that counts the bytes of each blob that it sends, and can send the end of
// a blob slowly.
type blobRegistry struct {
	// Host is the address with the port.
	Host string
	// Port is the port alone.
	Port string

	inner http.Handler
	dir   string // with a file for each blob

	mu     sync.Mutex
	limits map[string]limit
	sent   map[string][]*sent
}

// limit says that a blob is sent slowly from an offset on.
type limit struct {
	From int64
	Rate int64 // bytes per second
}

// sent is an answer with bytes of a blob: those from an offset on.
type sent struct{ From, Bytes int64 }

func newRegistry(t *testing.T) *blobRegistry {
	t.Helper()
	r := &blobRegistry{dir: t.TempDir(), limits: map[string]limit{}, sent: map[string][]*sent{}}
	r.inner = registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(r.dir)),
		registry.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewServer(r)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	r.Host = strings.TrimPrefix(s.URL, "http://")
	_, r.Port, _ = strings.Cut(r.Host, ":")
	return r
}

// ServeHTTP implements [http.Handler].
func (r *blobRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_, digest, isBlob := strings.Cut(req.URL.Path, "/blobs/sha256:")
	file := filepath.Join(r.dir, "sha256", digest)
	if _, err := os.Stat(file); req.Method != http.MethodGet || !isBlob || err != nil {
		r.inner.ServeHTTP(w, req)
		return
	}
	r.mu.Lock()
	answer := &sent{}
	r.sent[digest] = append(r.sent[digest], answer)
	l := r.limits[digest]
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeFile(&blobWriter{ResponseWriter: w, r: r, req: req, answer: answer, limit: l}, req, file)
}

// blobWriter counts and limits what is sent.
type blobWriter struct {
	http.ResponseWriter
	r      *blobRegistry
	req    *http.Request
	answer *sent
	limit  limit
	at     int64 // offset in the blob
}

// WriteHeader implements [http.ResponseWriter].
func (w *blobWriter) WriteHeader(code int) {
	// A whole answer has no such header.
	_, _ = fmt.Sscanf(w.Header().Get("Content-Range"), "bytes %d-", &w.at)
	w.r.mu.Lock()
	w.answer.From = w.at
	w.r.mu.Unlock()
	w.ResponseWriter.WriteHeader(code)
}

// Write implements [io.Writer].
func (w *blobWriter) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), 16<<10)]
		if w.limit.Rate > 0 && w.at >= w.limit.From {
			w.Flush()
			select {
			case <-time.After(time.Duration(len(part)) * time.Second / time.Duration(w.limit.Rate)):
			case <-w.req.Context().Done():
				return written, w.req.Context().Err()
			}
		}
		n, err := w.ResponseWriter.Write(part)
		written += n
		w.at += int64(n)
		w.r.mu.Lock()
		w.answer.Bytes += int64(n)
		w.r.mu.Unlock()
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// Flush implements [http.Flusher].
func (w *blobWriter) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Limit sets the limits from now on, by digest.
func (r *blobRegistry) Limit(limits map[string]limit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limits = limits
}

// Sent returns what was sent of each blob.
func (r *blobRegistry) Sent() map[string][]sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string][]sent{}
	for digest, list := range r.sent {
		for _, answer := range list {
			all[digest] = append(all[digest], *answer)
		}
	}
	return all
}

// Forget makes the counts start again.
func (r *blobRegistry) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.sent)
}

// image is what a manifest says.
type image struct {
	Config layer
	Layers []layer
}

type layer struct {
	Digest string
	Size   int64
}

// hex returns the digest without the name of the algorithm.
func (l layer) hex() string { return strings.TrimPrefix(l.Digest, "sha256:") }

// Image returns the image that the tag latest has now.
func (r *blobRegistry) Image(t *testing.T) (img image) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Host+"/v2/os/manifests/latest", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&img); err != nil || len(img.Layers) == 0 {
		t.Fatalf("the manifest: %s, %v", answer.Status, err)
	}
	return img
}

// added returns the layers that an image has and another has not, and their compressed size.
func (img image) added(old image) (layers []layer, size int64) {
	had := map[string]bool{}
	for _, l := range old.Layers {
		had[l.Digest] = true
	}
	for _, l := range img.Layers {
		if !had[l.Digest] {
			layers, size = append(layers, l), size+l.Size
		}
	}
	return layers, size
}

// bytesOf returns how many bytes were sent.
func bytesOf(answers []sent) (size int64) {
	for _, a := range answers {
		size += a.Bytes
	}
	return size
}
