package access_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"go.podman.io/image/v5/pkg/sysregistriesv2"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
)

// answer answers a request. It returns false to leave the request to the registry.
type answer func(http.ResponseWriter, *http.Request) bool

// server is a registry on loopback that counts requests, in total and with credentials.
type server struct {
	*httptest.Server
	host string

	mu           sync.Mutex
	asked, shown int
	bend         answer
}

func newServer(t *testing.T, secure bool) *server {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := &server{}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked++
		if r.Header.Get("Authorization") != "" {
			s.shown++
		}
		bend := s.bend
		s.mu.Unlock()
		if bend == nil || !bend(w, r) {
			inner.ServeHTTP(w, r)
		}
	})
	s.Server = httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	_, s.host, _ = strings.Cut(s.URL, "://")
	return s
}

func (s *server) set(bend answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.shown, s.bend = 0, 0, bend
}

func (s *server) counts() (asked, shown int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.shown
}

func (s *server) ref() imgref.ImageReference {
	return imgref.ImageReference{Transport: imgref.Registry, Name: s.host + "/a/b:c"}
}

// trust writes the certificate of a server into a new directory and returns the directory.
func trust(t *testing.T, s *server) string {
	t.Helper()
	dir := t.TempDir()
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func image(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func write(t *testing.T, s *server, o access.Options) error {
	t.Helper()
	_, err := dest.Write(t.Context(), image(t), s.ref(), dest.Options{Registry: o})
	return err
}

// read reads an image including all its layers.
func read(t *testing.T, s *server, o access.Options) (err error) {
	t.Helper()
	src, err := source.Open(t.Context(), imgref.Unverified(s.ref()), source.Options{Registry: o})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	for _, l := range src.Manifest.Layers {
		r, err := src.Blob(t.Context(), l)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}

var both = map[string]func(*testing.T, *server, access.Options) error{"reading": read, "writing": write}

var secret = &access.Credentials{Username: "me", Password: "secret"}

func unauthorized(challenge string) answer {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "" {
			return false
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

// withoutDigest leaves out the optional header of answers about manifests.
type withoutDigest struct{ http.ResponseWriter }

func (w withoutDigest) WriteHeader(status int) {
	w.Header().Del("Docker-Content-Digest")
	w.ResponseWriter.WriteHeader(status)
}

func TestARegistryMayLeaveOutTheDigestOfAManifest(t *testing.T) {
	t.Parallel()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := newServer(t, true)
	s.set(func(w http.ResponseWriter, r *http.Request) bool {
		inner.ServeHTTP(withoutDigest{w}, r)
		return true
	})
	o := access.Options{CertDir: trust(t, s)}
	for range 2 { // the second image replaces the first
		if err := write(t, s, o); err != nil {
			t.Fatal(err)
		}
		if err := read(t, s, o); err != nil {
			t.Fatal(err)
		}
	}
}

// A token may expire at any request, also when the content of a layer was just sent.
func TestATokenThatExpiresIsRenewed(t *testing.T) {
	t.Parallel()
	for name, method := range map[string]string{
		"HEAD": http.MethodHead, "POST": http.MethodPost, "PATCH": http.MethodPatch, "PUT": http.MethodPut,
		"a chunk": http.MethodPatch, "a whole blob": http.MethodPut,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, true)
			var mu sync.Mutex
			var issued int
			expired := false
			s.set(func(w http.ResponseWriter, r *http.Request) bool {
				mu.Lock()
				defer mu.Unlock()
				if r.URL.Path == "/token" {
					issued++
					_, _ = fmt.Fprintf(w, `{"token": "t%d"}`, issued)
					return true
				}
				if name == "a chunk" && r.Method == http.MethodPatch && r.ContentLength < 0 {
					w.WriteHeader(http.StatusLengthRequired)
					return true
				}
				if name == "a whole blob" && r.Method == http.MethodPatch {
					w.WriteHeader(http.StatusMethodNotAllowed)
					return true
				}
				shown := r.Header.Get("Authorization")
				if shown == "Bearer t1" && r.Method == method {
					_, _ = io.Copy(io.Discard, r.Body)
					expired = true
				}
				if shown != "" && (shown != "Bearer t1" || !expired) {
					return false
				}
				return unauthorized(`Bearer realm="`+s.URL+`/token",service="x",scope="repository:a/b:pull,push"`)(
					w, strip(r))
			})
			o := access.Options{CertDir: trust(t, s), Credentials: secret}
			if err := write(t, s, o); err != nil {
				t.Fatal(err)
			}
			if err := read(t, s, o); err != nil {
				t.Fatal(err)
			}
			if !expired || issued < 2 {
				t.Errorf("the token did not expire: %d tokens", issued)
			}
		})
	}
}

// Some registries let everybody make the first request, and others that read, and ask for a token at one that writes.
func TestATokenMayBeAskedForLate(t *testing.T) {
	t.Parallel()
	for name, asks := range map[string]func(*http.Request) bool{
		"HEAD":  func(r *http.Request) bool { return r.Method == http.MethodHead },
		"POST":  func(r *http.Request) bool { return r.Method == http.MethodPost },
		"PATCH": func(r *http.Request) bool { return r.Method == http.MethodPatch },
		"PUT":   func(r *http.Request) bool { return r.Method == http.MethodPut },
		"manifest": func(r *http.Request) bool {
			return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for password, want := range map[string]bool{"secret": true, "wrong": false} {
				s := newServer(t, true)
				s.set(func(w http.ResponseWriter, r *http.Request) bool {
					_, given, _ := r.BasicAuth()
					switch {
					case r.URL.Path == "/token" && given == "secret":
						_, _ = io.WriteString(w, `{"token": "t"}`)
						return true
					case r.URL.Path == "/token":
						w.WriteHeader(http.StatusUnauthorized)
						return true
					case !asks(r), r.Header.Get("Authorization") == "Bearer t":
						return false
					}
					_, _ = io.Copy(io.Discard, r.Body)
					return unauthorized(`Bearer realm="`+s.URL+`/token",service="x"`)(w, strip(r))
				})
				who := &access.Credentials{Username: "me", Password: password}
				if err := write(t, s, access.Options{CertDir: trust(t, s), Credentials: who}); (err == nil) != want {
					t.Errorf("password %s: got %v", password, err)
				}
			}
		})
	}
}

// strip returns the request without credentials.
func strip(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Del("Authorization")
	return r
}

// The rule holds for every address: loopback is not exempt.
func TestNothingGoesToAServerThatSpeaksPlainHTTP(t *testing.T) {
	t.Parallel()
	s := newServer(t, false)
	s.set(unauthorized(`Basic realm="x"`))
	for name, do := range both {
		for _, host := range []string{s.host, strings.Replace(s.host, "127.0.0.1", "localhost", 1)} {
			s.host = host
			err := do(t, s, access.Options{Credentials: secret})
			if !errors.Is(err, access.ErrPlainHTTP) || !strings.Contains(err.Error(), "--insecure-skip-tls-verification") {
				t.Errorf("%s %s: got %v", name, host, err)
			}
		}
	}
	if asked, _ := s.counts(); asked != 0 {
		t.Errorf("%d requests were sent", asked)
	}
}

// Some servers answer a TLS handshake with something that is not HTTP either.
func TestAServerThatDoesNotSpeakTLS(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("<html>what was that?</html>\n"))
			_ = c.Close()
		}
	}()
	for name, do := range both {
		if err := do(t, &server{host: l.Addr().String()}, access.Options{}); !errors.Is(err, access.ErrPlainHTTP) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestARegistryCannotLeadToPlainHTTP(t *testing.T) {
	t.Parallel()
	redirect := func(to *server, method, part string) answer {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != method || !strings.Contains(r.URL.Path, part) {
				return unauthorized(`Basic realm="http://name"`)(w, r)
			}
			http.Redirect(w, r, to.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
	}
	for _, c := range []struct {
		name string
		do   []string
		bend func(plain *server) answer
	}{
		{"the first request is redirected", []string{"reading", "writing"}, func(p *server) answer {
			return redirect(p, http.MethodGet, "/v2/")
		}},
		{"a manifest is redirected", []string{"reading"}, func(p *server) answer {
			return redirect(p, http.MethodGet, "/manifests/")
		}},
		{"a blob is redirected", []string{"reading"}, func(p *server) answer {
			return redirect(p, http.MethodGet, "/blobs/")
		}},
		{"the upload of a manifest is redirected", []string{"writing"}, func(p *server) answer {
			return redirect(p, http.MethodPut, "/manifests/")
		}},
		{"blobs are to be uploaded elsewhere", []string{"writing"}, func(p *server) answer {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost {
					return unauthorized(`Basic realm="x"`)(w, r)
				}
				w.Header().Set("Location", p.URL+"/v2/a/b/blobs/uploads/1")
				w.WriteHeader(http.StatusAccepted)
				return true
			}
		}},
		{"the token server speaks plain HTTP", []string{"reading", "writing"}, func(p *server) answer {
			return unauthorized(`Bearer service="x",realm="` + p.URL + `/token"`)
		}},
		{"the token server after other parameters", []string{"reading", "writing"}, func(p *server) answer {
			return unauthorized(`Bearer scope="repository:a/b:pull,push" , realm="` + p.URL + `/token"`)
		}},
		{"the token server is redirected", []string{"writing"}, func(p *server) answer {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/token" {
					http.Redirect(w, r, p.URL+"/token", http.StatusTemporaryRedirect)
					return true
				}
				return unauthorized(`Bearer realm="https://`+r.Host+`/token"`)(w, strip(r))
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			secure, plain := newServer(t, true), newServer(t, false)
			opts := access.Options{Credentials: secret, CertDir: trust(t, secure)}
			if err := write(t, secure, opts); err != nil {
				t.Fatal(err)
			}
			secure.set(c.bend(plain))
			for _, name := range c.do {
				if err := both[name](t, secure, opts); !errors.Is(err, access.ErrPlainHTTP) {
					t.Errorf("%s: got %v", name, err)
				}
			}
			if asked, _ := plain.counts(); asked != 0 {
				t.Errorf("%d requests were sent", asked)
			}
		})
	}
}

// The flag allows any certificate, and plain HTTP only if the server does not speak TLS.
func TestTheFlagTakesHTTPSWhereItIsAnswered(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{true, false} {
		s := newServer(t, secure)
		for _, name := range []string{"writing", "reading"} {
			s.set(unauthorized(`Basic realm="x"`))
			if err := both[name](t, s, access.Options{Credentials: secret}); err == nil {
				t.Errorf("%s without the flag: no error", name)
			}
			if _, shown := s.counts(); shown != 0 {
				t.Errorf("%s without the flag: credentials were sent", name)
			}
			if err := both[name](t, s, access.Options{Credentials: secret, InsecureSkipTLSVerify: true}); err != nil {
				t.Errorf("%s with the flag: %v", name, err)
			}
			if _, shown := s.counts(); shown == 0 {
				t.Errorf("%s with the flag: no credentials were sent", name)
			}
		}
	}
}

// registriesConf writes a registries.conf for this test that sets one key of one location.
func registriesConf(t *testing.T, location, key string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "registries.conf")
	text := "[[registry]]\nlocation = \"" + location + "\"\n" + key + " = true\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONTAINERS_REGISTRIES_CONF", name)
	sysregistriesv2.InvalidateCache()
	t.Cleanup(sysregistriesv2.InvalidateCache)
}

func TestRegistriesConfAllowsPlainHTTPForOneRegistry(t *testing.T) {
	named, other, secure := newServer(t, false), newServer(t, false), newServer(t, true)
	registriesConf(t, named.host+"/a", "insecure")
	for _, name := range []string{"writing", "reading"} {
		if err := both[name](t, named, access.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := both[name](t, other, access.Options{}); !errors.Is(err, access.ErrPlainHTTP) {
			t.Errorf("%s another one: got %v", name, err)
		}
		secure.set(func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		})
		if err := both[name](t, secure, access.Options{CertDir: trust(t, secure)}); !errors.Is(err, access.ErrPlainHTTP) {
			t.Errorf("%s, redirected: got %v", name, err)
		}
	}
}

func TestABlockedRegistryIsNeitherReadNorWritten(t *testing.T) {
	s := newServer(t, true)
	registriesConf(t, s.host, "blocked")
	for name, do := range both {
		if err := do(t, s, access.Options{CertDir: trust(t, s)}); err == nil || !strings.Contains(err.Error(), "blocked") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if asked, _ := s.counts(); asked != 0 {
		t.Errorf("%d requests were sent", asked)
	}
}

// A proxy for several registries is told which one is meant, whatever else the query has.
func TestAQueryIsSentBesideThatOfTheEndpoint(t *testing.T) {
	s := newServer(t, false)
	var asked url.Values
	s.set(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v2/a/b/things" {
			asked = r.URL.Query()
			return true
		}
		return false
	})
	for _, c := range []struct {
		name, conf, path string
		want             url.Values
	}{
		{"no query", "", "things", url.Values{}},
		{"a query", "", "things?n=1&last=x%2Fy&ns=z", url.Values{"n": {"1"}, "last": {"x/y"}, "ns": {"z"}}},
		{"a query for a proxy", `namespace-proxy = "os.example"`, "things?n=1&ns=z",
			url.Values{"n": {"1"}, "ns": {"os.example"}}},
		{"no query for a proxy", `namespace-proxy = "os.example"`, "things", url.Values{"ns": {"os.example"}}},
	} {
		conf := filepath.Join(t.TempDir(), "registries.conf")
		text := "[[registry]]\nlocation = \"os.example\"\n[[registry.mirror]]\nlocation = \"" + s.host +
			"\"\ninsecure = true\n" + c.conf + "\n"
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("CONTAINERS_REGISTRIES_CONF", conf)
		sysregistriesv2.InvalidateCache()
		t.Cleanup(sysregistriesv2.InvalidateCache)
		places, err := access.Options{Anonymous: true}.Endpoints("os.example/a/b:c")
		if err != nil {
			t.Fatal(err)
		}
		r, err := places[0].Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		res, err := r.Get(t.Context(), c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if !maps.EqualFunc(asked, c.want, slices.Equal) || r.Host() != s.host {
			t.Errorf("%s: %s was asked for %v, want %v", c.name, r.Host(), asked, c.want)
		}
	}
}
