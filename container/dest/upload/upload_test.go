package upload

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

func newUploader(t *testing.T, reg *testreg.Registry) *Uploader {
	t.Helper()
	repo, err := name.NewRepository(reg.Host+"/a", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return New(http.DefaultTransport, repo)
}

// large is a layer that is made while it is read, and whose digest is known after that.
type large struct {
	size int64
	hash atomic.Pointer[v1.Hash]
	most atomic.Uint64 // bytes of heap in use
}

func (l *large) Digest() (v1.Hash, error) {
	if h := l.hash.Load(); h != nil {
		return *h, nil
	}
	return v1.Hash{}, stream.ErrNotComputed
}

func (l *large) Size() (int64, error) {
	if l.hash.Load() == nil {
		return 0, stream.ErrNotComputed
	}
	return l.size, nil
}

func (l *large) DiffID() (v1.Hash, error)             { return l.Digest() }
func (l *large) Uncompressed() (io.ReadCloser, error) { return l.Compressed() }
func (l *large) MediaType() (types.MediaType, error)  { return types.OCILayer, nil }

func (l *large) Compressed() (io.ReadCloser, error) {
	r, w := io.Pipe()
	go func() {
		noise := rand.NewChaCha8([32]byte{1})
		h, _, err := v1.SHA256(io.TeeReader(io.LimitReader(noise, l.size), &watched{w, l, 0}))
		if err == nil {
			l.hash.Store(&h)
		}
		w.CloseWithError(err)
	}()
	return r, nil
}

// watched looks at the heap now and then.
type watched struct {
	io.Writer
	l *large
	n int
}

func (w *watched) Write(p []byte) (int, error) {
	if w.n++; w.n%100 == 0 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		w.l.most.Store(max(w.l.most.Load(), m.HeapAlloc))
	}
	return w.Writer.Write(p)
}

// The size of a blob does not matter, and neither does its digest have to be known.
func TestMemoryIsBounded(t *testing.T) {
	for name, how := range map[string]testreg.Uploads{
		"streamed":             {},
		"in chunks":            {NeedLength: true},
		"whole":                {NoPatch: 405},
		"in chunks of 1000 kB": {MaxRequest: 1_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			reg := testreg.New(t)
			how.Discard = true
			reg.TakeUploads(how)
			runtime.GC()
			l := &large{size: 128<<20 + 1}
			if err := newUploader(t, reg).Blob(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			const limit = 2*firstChunk + 16<<20
			if got := l.most.Load(); got > limit || got == 0 {
				t.Errorf("%d MiB of memory were in use, more than %d", got>>20, limit>>20)
			}
		})
	}
}

// After the digest is known, a blob that is there is not sent.
func TestABlobThatIsThereIsNotSentAgain(t *testing.T) {
	t.Parallel()
	reg := testreg.New(t)
	reg.TakeUploads(testreg.Uploads{NoPatch: 405, Discard: true})
	u := newUploader(t, reg)
	if err := u.Blob(t.Context(), &large{size: 100_000}); err != nil {
		t.Fatal(err)
	}
	before := len(reg.Uploads())
	if err := u.Blob(t.Context(), &large{size: 100_000}); err != nil {
		t.Fatal(err)
	}
	if after := len(reg.Uploads()); after != before {
		t.Errorf("%d more requests", after-before)
	}
}

func TestACancelledUploadEnds(t *testing.T) {
	t.Parallel()
	for _, how := range []testreg.Uploads{
		{}, {NoPatch: 405}, {NeedLength: true}, {MaxRequest: 1_000_000}, {Cut: 1_000_000},
		{NeedLength: true, FailChunks: 100, FailStatus: 503},
	} {
		reg := testreg.New(t)
		how.Discard = true
		reg.TakeUploads(how)
		ctx, cancel := context.WithCancel(t.Context())
		l := &large{size: 1 << 40}
		done := make(chan error, 1)
		go func() { done <- newUploader(t, reg).Blob(ctx, l) }()
		for l.most.Load() == 0 {
			runtime.Gosched()
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%+v: got %v", how, err)
		}
	}
}

// overTLS sends every request over HTTPS, as the library does once it knows the registry.
type overTLS struct{ http.RoundTripper }

func (o overTLS) RoundTrip(req *http.Request) (*http.Response, error) {
	req.URL.Scheme = "https"
	return o.RoundTripper.RoundTrip(req)
}

func TestErrorsHaveTheAddressThatWasAsked(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	defer s.Close()
	repo, err := name.NewRepository(s.Listener.Addr().String() + "/a")
	if err != nil {
		t.Fatal(err)
	}
	err = New(overTLS{s.Client().Transport}, repo).Blob(t.Context(), &large{size: 100})
	if want := "POST https://" + repo.RegistryStr() + "/v2/a/"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestWhatARegistrySaysItHas(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0-0": 0, "0-99": 100, "bytes=0-99": 100, "50-99": 100, "": -1, "99": -1, "0-": -1, "0-x": -1, "0--5": -1,
		"0-99999999999999999999": -1,
	} {
		got, ok := received(http.Header{"Range": {text}})
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}

func TestInternalAddresses(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"127.0.0.1": true, "10.1.2.3": true, "169.254.169.254": true, "192.168.0.1": true, "0.0.0.0": true, "::1": true,
		"fe80::1%eth0": true, "::ffff:10.0.0.1": true, "fd00::1": true, "127.1": true, "2130706433": true,
		"0x7f000001": true, "0x7f.1": true,
		"8.8.8.8": false, "registry.example": false, "2001:4860::1": false, "a1": false, "storage.example.com": false,
	} {
		if got := internal(host); got != want {
			t.Errorf("%s: got %v", host, got)
		}
	}
}
