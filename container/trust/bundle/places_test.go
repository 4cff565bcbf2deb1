package bundle_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.podman.io/image/v5/pkg/sysregistriesv2"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// registriesConf sets registries.conf for this test.
func registriesConf(t *testing.T, text string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "registries.conf")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONTAINERS_REGISTRIES_CONF", name)
	sysregistriesv2.InvalidateCache()
	t.Cleanup(sysregistriesv2.InvalidateCache)
}

func TestMirrorsAreAskedInOrder(t *testing.T) {
	fail := func(code int) func(*registry) {
		return func(r *registry) {
			r.bend = func(w http.ResponseWriter, _ *http.Request, _ string) bool {
				w.WriteHeader(code)
				return true
			}
		}
	}
	good, nothing := func(r *registry) { r.attach(stored(t, "b1.json"), nil) }, func(*registry) {}
	bad := func(r *registry) { r.attach(stored(t, "b1-flip.json"), nil) }
	damaged := func(r *registry) {
		r.content["manifests/"+r.attach(stored(t, "b1.json"), nil).Digest.String()] = []byte("{}")
	}
	flood := func(r *registry) { r.others(bundle.MaxManifests + 1) }
	for _, c := range []struct {
		name         string
		mirror, main func(*registry)
		// from is who has the bundle, or empty; mainAsked says that the registry itself was asked
		from      string
		mainAsked bool
		want      error
	}{
		{name: "the mirror has it", mirror: good, main: good, from: "mirror"},
		{name: "the mirror has none", mirror: nothing, main: good, from: "main", mainAsked: true},
		{name: "the mirror has a bad one", mirror: bad, main: good, from: "main", mainAsked: true},
		{name: "the mirror has other content", mirror: damaged, main: good, from: "main", mainAsked: true},
		{name: "the mirror does not know the repository", mirror: fail(http.StatusNotFound), main: good, from: "main",
			mainAsked: true},
		{name: "the mirror fails", mirror: fail(http.StatusBadGateway), main: good, from: "main", mainAsked: true},
		{name: "the mirror lets nobody in", mirror: fail(http.StatusForbidden), main: good, from: "main", mainAsked: true},
		{name: "the mirror has too many", mirror: flood, main: good, from: "main", mainAsked: true},
		{name: "nobody has one", mirror: nothing, main: nothing, mainAsked: true, want: bundle.ErrUnsigned},
		{name: "the mirror has other content, and the registry has none", mirror: damaged, main: nothing, mainAsked: true,
			want: oci.ErrMismatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			places := map[string]*registry{"mirror": newRegistry(t), "main": newRegistry(t)}
			c.mirror(places["mirror"])
			c.main(places["main"])
			registriesConf(t, `[[registry]]
prefix = "os.example/team"
location = "`+places["main"].host+`/a"
insecure = true
[[registry.mirror]]
location = "`+places["mirror"].host+`/a"
insecure = true
`)
			s := bundle.Find("os.example/team/b:c", access.Options{Anonymous: true}, signedImage)
			s.SetPace(0, noWait)
			b, _, err := s.VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
			if asked := len(places["main"].requests()) > 0; asked != c.mainAsked {
				t.Errorf("the registry was asked: %v", asked)
			}
			if c.from == "" {
				if !errors.Is(err, c.want) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := places[c.from].host + "/a/b"; b.From != want {
				t.Errorf("found at %s, want %s", b.From, want)
			}
		})
	}
}

func TestAMirrorThatFailsDoesNotMakeAnImageUnsigned(t *testing.T) {
	mirror, main := newRegistry(t), newRegistry(t)
	mirror.bend = func(w http.ResponseWriter, _ *http.Request, _ string) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return true
	}
	registriesConf(t, `[[registry]]
location = "`+main.host+`"
insecure = true
[[registry.mirror]]
location = "`+mirror.host+`"
insecure = true
`)
	s := bundle.Find(main.host+"/a/b:c", access.Options{Anonymous: true}, signedImage)
	s.SetPace(0, noWait)
	_, _, err := s.VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
	if _, ok := errors.AsType[*bundle.IncompleteError](err); !ok || !strings.Contains(err.Error(), mirror.host) {
		t.Errorf("got %v", err)
	}
}

func TestABlockedRegistryIsNotAsked(t *testing.T) {
	r := newRegistry(t)
	registriesConf(t, "[[registry]]\nlocation = \""+r.host+"\"\nblocked = true\n")
	_, _, err := r.find().VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
	if err == nil || errors.Is(err, bundle.ErrUnsigned) || len(r.requests()) > 0 {
		t.Errorf("got %v after %v", err, r.requests())
	}
}

func TestCredentialsAndCertificatesAreThoseOfTheImage(t *testing.T) {
	r := newRegistry(t)
	r.attach(stored(t, "b1.json"), nil)
	r.pages(1, func(path string, n int) string {
		if n == 0 {
			return path + "?n=1"
		}
		return ""
	})
	guarded := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if user, password, _ := req.BasicAuth(); user != "me" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.ServeHTTP(w, req)
	})
	s := newTLSServer(t, guarded)
	dir := t.TempDir()
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	image := strings.TrimPrefix(s.URL, "https://") + "/a/b:c"
	find := func(o access.Options) error {
		s := bundle.Find(image, o, signedImage)
		s.SetPace(0, noWait)
		_, _, err := s.VerifyKeys(t.Context(), cosignKeys(t, "key1.pub"))
		return err
	}
	me := &access.Credentials{Username: "me", Password: "secret"}
	if err := find(access.Options{CertDir: dir, Credentials: me}); err != nil {
		t.Error(err)
	}
	asked := len(r.requests())
	if err := find(access.Options{CertDir: dir, Anonymous: true}); !errors.Is(err, access.ErrDenied) {
		t.Errorf("without credentials: got %v", err)
	}
	if err := find(access.Options{Anonymous: true}); err == nil || errors.Is(err, bundle.ErrUnsigned) {
		t.Errorf("without the certificate: got %v", err)
	}
	if n := len(r.requests()); n != asked {
		t.Errorf("%d requests came through", n-asked)
	}
}

func TestATokenThatTheRegistryDemandsIsFetched(t *testing.T) {
	r := newRegistry(t)
	r.attach(stored(t, "b1-flip.json"), nil)
	r.attach(stored(t, "b1.json"), nil)
	valid, issued := "", 0
	var s *httptest.Server
	s = newTLSServer(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/token":
			issued++
			valid = fmt.Sprintf("Bearer t%d", issued)
			_, _ = fmt.Fprintf(w, `{"token": "t%d"}`, issued)
		case req.Header.Get("Authorization") != valid || valid == "":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+s.URL+`/token",service="x",scope="repository:a/b:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			r.ServeHTTP(w, req)
			if strings.Contains(req.URL.Path, "/referrers/") {
				valid = "expired"
			}
		}
	}))
	found := bundle.Find(strings.TrimPrefix(s.URL, "https://")+"/a/b:c", access.Options{InsecureSkipTLSVerify: true},
		signedImage)
	if _, _, err := found.VerifyKeys(t.Context(), cosignKeys(t, "key1.pub")); err != nil || issued != 2 {
		t.Errorf("got %v after %d tokens", err, issued)
	}
}
