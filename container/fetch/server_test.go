package fetch_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/fetch"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// server is a registry on loopback with the blobs of the repository a/b. It answers Range headers.
type server struct {
	*httptest.Server
	host string
	// trusted has the options for a server that speaks TLS.
	trusted access.Options

	mu    sync.Mutex
	blobs map[string][]byte
	// bend answers the n-th request for a blob, counted from 1. It returns false to leave the answer to the server.
	bend func(w http.ResponseWriter, r *http.Request, n int) bool
	// guard, if set, sees every request first, and returns false if it answered.
	guard  func(w http.ResponseWriter, r *http.Request) bool
	ranges []string // the Range headers of the requests for blobs
	all    int      // all requests
}

func newServer(t *testing.T, blobs ...[]byte) *server {
	t.Helper()
	s := &server{blobs: map[string][]byte{}}
	for _, b := range blobs {
		s.blobs[digest.FromBytes(b).String()] = b
	}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	s.host = strings.TrimPrefix(s.URL, "http://")
	return s
}

// newTLSServer starts a server that speaks TLS.
func newTLSServer(t *testing.T, blobs ...[]byte) *server {
	t.Helper()
	s := &server{blobs: map[string][]byte{}}
	for _, b := range blobs {
		s.blobs[digest.FromBytes(b).String()] = b
	}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	s.host = strings.TrimPrefix(s.URL, "https://")
	dir := t.TempDir()
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	s.trusted = access.Options{CertDir: dir, Anonymous: true}
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	guard, bend := s.guard, s.bend
	s.all++
	s.mu.Unlock()
	if guard != nil && !guard(w, r) {
		return
	}
	d, ok := strings.CutPrefix(r.URL.Path, "/v2/a/b/blobs/")
	if !ok {
		return // 200, as for /v2/
	}
	s.mu.Lock()
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	n, data, have := len(s.ranges), s.blobs[d], s.blobs[d] != nil
	s.mu.Unlock()
	switch {
	case bend != nil && bend(w, r, n):
	case !have:
		http.Error(w, `{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}`, http.StatusNotFound)
	default:
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

func (s *server) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ranges)
}

// noise returns bytes that are the same for the same seed.
func noise(seed byte, n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

func describe(data []byte) ocispec.Descriptor {
	return ocispec.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// clock is a clock that does not wait.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.slept = c.now.Add(d), append(c.slept, d)
	return ctx.Err()
}

func (c *clock) total() (d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.slept {
		d += s
	}
	return d
}

func newClock() *clock { return &clock{now: time.Now()} }

// plain has the options for the registries of the tests.
var plain = access.Options{InsecureSkipTLSVerify: true, Anonymous: true}

func newClient(t *testing.T, image string, registry access.Options, opts fetch.Options) *fetch.Client {
	t.Helper()
	if opts.Clock == nil {
		opts.Clock = newClock()
	}
	if opts.Stall == 0 {
		opts.Stall = 10 * time.Second
	}
	c, err := fetch.New(image, registry, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// read reads a blob as its users do: through the check of its digest.
func read(ctx context.Context, c *fetch.Client, d ocispec.Descriptor) ([]byte, error) {
	r, err := c.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	v := oci.Verify(r, d)
	data, err := io.ReadAll(v)
	return data, errors.Join(err, v.Close())
}

// cutAfter sends n bytes of an answer and cuts the connection.
func cutAfter(w http.ResponseWriter, data []byte, n int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data[:n])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler) // net/http's way to cut a connection
}

// whole sends an answer with its length.
func whole(w http.ResponseWriter, data []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data)
}

// cutPart sends the first n bytes of the part that was asked for and cuts the connection.
func cutPart(w http.ResponseWriter, r *http.Request, data []byte, n int) {
	from := start(r)
	if from > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
		w.Header().Set("Content-Length", strconv.Itoa(len(data)-from))
		w.WriteHeader(http.StatusPartialContent)
	}
	cutAfter(w, data[from:], min(n, len(data)-from))
}

func ranged(w http.ResponseWriter, header string, data []byte) {
	w.Header().Set("Content-Range", header)
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(data)
}

// hang sends n bytes and then nothing, until the client gives up.
func hang(w http.ResponseWriter, r *http.Request, data []byte, n int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data[:n])
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// start returns where the part begins that a request asks for.
func start(r *http.Request) int {
	n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"))
	return n
}
