package access_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
)

const short = 200 * time.Millisecond

// mute takes a request, answers nothing, and waits until the client has gone.
func mute(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// requests are those that reading and writing an image consist of.
var requests = []struct{ name, do, method, part string }{
	{"the first request", "reading", http.MethodGet, "/v2/"},
	{"a manifest", "reading", http.MethodGet, "/manifests/"},
	{"the first request of a push", "writing", http.MethodGet, "/v2/"},
	{"whether the image is there", "writing", http.MethodHead, "/manifests/"},
	{"whether a blob is there", "writing", http.MethodHead, "/blobs/"},
	{"the begin of an upload", "writing", http.MethodPost, "/uploads/"},
	{"the content of a blob", "writing", http.MethodPatch, "/uploads/"},
	{"the manifest of a push", "writing", http.MethodPut, "/manifests/"},
}

func TestAServerThatNeverAnswersIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, c := range requests {
		if c.name != "a manifest" && c.name != "the content of a blob" {
			continue // it takes long, and the next test has all of them
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, true)
			var warned atomic.Int32
			o := access.Options{CertDir: trust(t, s), Silence: short, Warn: func(string) { warned.Add(1) }}
			if err := write(t, s, o); err != nil {
				t.Fatal(err)
			}
			var asked atomic.Int32
			s.set(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method != c.method || !strings.Contains(r.URL.Path, c.part) {
					return false
				}
				asked.Add(1)
				mute(r)
				return true
			})
			err := both[c.do](t, s, o)
			if !errors.Is(err, access.ErrSilent) || !strings.Contains(err.Error(), s.host) {
				t.Errorf("got %v", err)
			}
			if asked.Load() < 2 || warned.Load() < 2 {
				t.Errorf("%d requests, %d warnings: it was not tried again", asked.Load(), warned.Load())
			}
		})
	}
}

func TestAServerThatIsSilentOnceIsAskedAgain(t *testing.T) {
	t.Parallel()
	for _, c := range requests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, true)
			o := access.Options{CertDir: trust(t, s), Silence: short}
			if err := write(t, s, o); err != nil {
				t.Fatal(err)
			}
			var was atomic.Bool
			s.set(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method != c.method || !strings.Contains(r.URL.Path, c.part) || was.Swap(true) {
					return false
				}
				mute(r)
				return true
			})
			if err := both[c.do](t, s, o); err != nil || !was.Load() {
				t.Errorf("silent: %v, got %v", was.Load(), err)
			}
		})
	}
}

// It may also stop in the middle of an answer.
func TestAnAnswerThatStopsIsAskedForAgain(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{true, false} {
		s := newServer(t, secure)
		o := access.Options{InsecureSkipTLSVerify: true, Silence: short}
		if err := write(t, s, o); err != nil {
			t.Fatal(err)
		}
		var was atomic.Bool
		s.set(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") || was.Swap(true) {
				return false
			}
			w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
			_, _ = w.Write([]byte(`{"schemaVersion": 2,`))
			_ = http.NewResponseController(w).Flush()
			mute(r)
			return true
		})
		if err := read(t, s, o); err != nil || !was.Load() {
			t.Errorf("stopped: %v, got %v", was.Load(), err)
		}
	}
}

// slowly makes a pause before each read.
type slowly struct {
	io.Reader
	pause time.Duration
}

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(s.pause)
	return s.Reader.Read(p)
}

// slowLayer is a layer that takes long to be made.
type slowLayer struct {
	v1.Layer
	pause time.Duration
}

func (l slowLayer) Compressed() (io.ReadCloser, error) {
	r, err := l.Layer.Compressed()
	return struct {
		io.Reader
		io.Closer
	}{slowly{r, l.pause}, r}, err
}

func TestWhatIsSlowAndMovesIsNotGivenUp(t *testing.T) {
	t.Parallel()
	large := static.NewLayer(bytes.Repeat([]byte("x"), 5_000_000), types.OCILayer)
	for _, c := range []struct {
		name  string
		layer v1.Layer
		pause time.Duration // of the server
	}{
		{"the server reads slowly", large, short / 20},
		{"the layer is made slowly", slowLayer{static.NewLayer([]byte("x"), types.OCILayer), 3 * short}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, false)
			// What the kernel took for the server has arrived, and it is the server's turn.
			s.Config.ConnState = func(conn net.Conn, state http.ConnState) {
				if tcp, ok := conn.(*net.TCPConn); ok && state == http.StateNew {
					_ = tcp.SetReadBuffer(100_000)
				}
			}
			begin := time.Now()
			s.set(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPatch {
					r.Body = io.NopCloser(slowly{r.Body, c.pause})
				}
				return false
			})
			img, err := mutate.AppendLayers(empty.Image, c.layer)
			if err != nil {
				t.Fatal(err)
			}
			o := access.Options{InsecureSkipTLSVerify: true, Silence: short, Warn: func(text string) { t.Error(text) }}
			if _, err := dest.Write(t.Context(), img, s.ref(), dest.Options{Registry: o}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took < 2*short {
				t.Errorf("it took %v: nothing was slow", took)
			}
		})
	}
}

// With a mirror that is silent, the next place is asked.
func TestASilentMirrorIsPassedOver(t *testing.T) {
	mirror, registry := newServer(t, false), newServer(t, false)
	mirror.set(func(_ http.ResponseWriter, r *http.Request) bool {
		mute(r)
		return true
	})
	o := access.Options{InsecureSkipTLSVerify: true, Silence: short}
	if err := write(t, registry, o); err != nil {
		t.Fatal(err)
	}
	registriesConf(t, registry.host, "insecure = true\n[[registry.mirror]]\nlocation = \""+mirror.host+"\"\ninsecure")
	begin := time.Now()
	if err := read(t, registry, o); err != nil {
		t.Fatal(err)
	}
	if asked, _ := mirror.counts(); asked == 0 || time.Since(begin) < short {
		t.Errorf("the mirror had %d requests", asked)
	}
}
