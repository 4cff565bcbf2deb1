// Package testreg is a registry on loopback for tests. It misbehaves on request: it cuts, delays and corrupts blobs,
// fails for a while, and demands credentials. It answers range requests for a blob with 206. It can also be a registry
// that takes blobs only in some ways.
package testreg

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Faults says how a registry misbehaves. With the zero value it works correctly.
type Faults struct {
	// User and Password are demanded if User is not empty.
	User, Password string
	// Fail is how many requests for each blob are answered with 503 first.
	Fail int
	// FailUploads is how many uploads are answered with 503 first, after some bytes were received.
	FailUploads int
	// Cut is the number of bytes after which the first request for a blob is disconnected.
	Cut int64
	// Flip inverts a bit in the middle of each blob.
	Flip bool
	// FlipManifest inverts a bit in the middle of each manifest.
	FlipManifest bool
	// Delay is the pause before each answer with a blob.
	Delay time.Duration
	// Refuse returns the status with which a request is refused, or 0. It may also do something before the request.
	Refuse func(*http.Request) int
	// After is called when a request was answered.
	After func(*http.Request)
	// Answer has the answers to GET requests for some paths.
	Answer map[string]Answer
}

// Answer is what a registry sends.
type Answer struct {
	MediaType string
	Body      []byte
}

// Registry is a running registry.
type Registry struct {
	// Host is the address with the port, with which image names begin.
	Host string

	inner   http.Handler
	mu      sync.Mutex
	faults  Faults
	asked   map[string]int
	uploads int
	resume  int
	blobs   int
	up      uploads

	referrers Referrers
}

// New starts a registry that ends with the test.
func New(t testing.TB) *Registry {
	t.Helper()
	r := newRegistry()
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.Host = strings.TrimPrefix(s.URL, "http://")
	return r
}

func newRegistry() *Registry {
	return &Registry{inner: registry.New(
		registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)), asked: map[string]int{}}
}

// Misbehave sets the faults from now on.
func (r *Registry) Misbehave(f Faults) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults, r.asked, r.uploads = f, map[string]int{}, 0
}

// Resumed returns the number of range requests for a blob.
func (r *Registry) Resumed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.resume
}

// BlobsSent returns the number of answers with a blob or a part of one.
func (r *Registry) BlobsSent() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blobs
}

// ServeHTTP implements [http.Handler].
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	f, referrers := r.faults, r.referrers
	r.mu.Unlock()
	if user, password, _ := req.BasicAuth(); f.User != "" && (user != f.User || password != f.Password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
		return
	}
	if f.Refuse != nil {
		if status := f.Refuse(req); status != 0 {
			http.Error(w, `{"errors":[{"code":"DENIED","message":"refused by the test"}]}`, status)
			return
		}
	}
	if f.After != nil {
		defer f.After(req)
	}
	if a, ok := f.Answer[req.URL.Path]; ok && req.Method == http.MethodGet {
		w.Header().Set("Content-Type", a.MediaType)
		_, _ = w.Write(a.Body)
		return
	}
	_, _, isReferrers := isReferrers(req)
	switch {
	case referrers.In != nil && isManifestPut(req):
		r.putManifest(w, req, referrers)
	case isReferrers:
		r.sendReferrers(w, req, referrers)
	case r.up.takes(req):
		r.up.serve(w, req, r.inner)
	case req.Method == http.MethodPatch && r.failUpload():
		_, _ = io.CopyN(io.Discard, req.Body, 1)
		http.Error(w, "try later", http.StatusServiceUnavailable)
	case req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/sha256:"):
		r.blob(w, req, f)
	case req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/manifests/") && f.FlipManifest:
		answer := r.ask(req)
		flip(answer.Body.Bytes())
		send(w, answer, answer.Body.Bytes())
	default:
		r.inner.ServeHTTP(w, req)
	}
}

func (r *Registry) failUpload() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uploads++
	return r.uploads <= r.faults.FailUploads
}

func (r *Registry) ask(req *http.Request) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	r.inner.ServeHTTP(answer, req)
	return answer
}

func (r *Registry) blob(w http.ResponseWriter, req *http.Request, f Faults) {
	from, partial := strings.CutPrefix(req.Header.Get("Range"), "bytes=")
	req.Header.Del("Range")
	r.mu.Lock()
	r.asked[req.URL.Path]++
	n := r.asked[req.URL.Path]
	r.blobs++
	if partial {
		r.resume++
	}
	r.mu.Unlock()
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-req.Context().Done():
			return
		}
	}
	if n <= f.Fail {
		http.Error(w, "try later", http.StatusServiceUnavailable)
		return
	}
	answer := r.ask(req)
	data := bytes.Clone(answer.Body.Bytes())
	if f.Flip {
		flip(data)
	}
	if partial && answer.Code == http.StatusOK {
		sendRest(w, data, strings.TrimSuffix(from, "-"))
		return
	}
	if f.Cut > 0 && n == f.Fail+1 && f.Cut < int64(len(data)) {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:f.Cut])
		panic(http.ErrAbortHandler) // net/http's way to cut a connection
	}
	send(w, answer, data)
}

func sendRest(w http.ResponseWriter, data []byte, from string) {
	start, err := strconv.Atoi(from)
	if err != nil || start > len(data) {
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	size := strconv.Itoa(len(data))
	w.Header().Set("Content-Range", "bytes "+from+"-"+strconv.Itoa(len(data)-1)+"/"+size)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)-start))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(data[start:])
}

func send(w http.ResponseWriter, answer *httptest.ResponseRecorder, data []byte) {
	for k, v := range answer.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(data)
}

func flip(data []byte) {
	if len(data) > 0 {
		data[len(data)/2] ^= 1
	}
}
