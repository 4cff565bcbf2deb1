package fetch_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/fetch"
)

// tokens returns a guard that demands a token, which the same server issues at /token.
func tokens(s *server) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token":
			_, _ = fmt.Fprint(w, `{"token": "t"}`)
			return false
		case r.Header.Get("Authorization") != "Bearer t":
			challenge(w, s.URL+"/token")
			return false
		}
		return true
	}
}

func challenge(w http.ResponseWriter, realm string) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="x",scope="repository:a/b:pull"`)
	w.WriteHeader(http.StatusUnauthorized)
}

// authFile writes a file with credentials for a host.
func authFile(t *testing.T, host, user, password string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "auth.json")
	text := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host,
		base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A token may expire while a blob is read, and another server may issue the tokens.
func TestATokenThatExpiresIsRenewed(t *testing.T) {
	t.Parallel()
	data := noise(20, 100_000)
	s := newServer(t, data)
	issued, shown := 0, ""
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		issued++
		shown, _, _ = r.BasicAuth()
		_, _ = fmt.Fprintf(w, `{"token": "t%d"}`, issued)
	}))
	defer issuer.Close()
	valid := "Bearer t1"
	s.guard = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != valid {
			challenge(w, issuer.URL+"/token?a=b")
			return false
		}
		return true
	}
	s.bend = func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n == 1 {
			valid = "Bearer t2"
			cutAfter(w, data, 50_000)
		}
		return false
	}
	o := access.Options{InsecureSkipTLSVerify: true, AuthFile: authFile(t, s.host, "me", "secret")}
	got, err := read(t.Context(), newClient(t, s.host+"/a/b:c", o, fetch.Options{}), describe(data))
	if err != nil || !bytes.Equal(got, data) || issued != 2 || shown != "me" {
		t.Errorf("got %d bytes, %v; %d tokens were issued, for %q", len(got), err, issued, shown)
	}
	// A token that is refused right after it was issued is not asked for again and again.
	valid, issued = "none", 0
	_, err = read(t.Context(), newClient(t, s.host+"/a/b:c", o, fetch.Options{}), describe(data))
	if !errors.Is(err, access.ErrDenied) || issued > 2 {
		t.Errorf("got %v; %d tokens were issued", err, issued)
	}
}

// Some registries demand credentials only for some requests.
func TestCredentialsThatAreDemandedLaterAreSent(t *testing.T) {
	t.Parallel()
	data := noise(21, 100_000)
	s := newServer(t, data)
	demand := false
	s.guard = func(w http.ResponseWriter, r *http.Request) bool {
		if demand {
			return tokens(s)(w, r)
		}
		return true
	}
	s.bend = func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n == 1 {
			demand = true
			cutAfter(w, data, 50_000)
		}
		return false
	}
	got, err := read(t.Context(), newClient(t, s.host+"/a/b:c", plain, fetch.Options{}), describe(data))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestErrorsAboutCredentialsSayWhichWereUsed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.guard = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	file, other := authFile(t, s.host, "me", "secret"), authFile(t, "other.example", "me", "secret")
	helper := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(helper, []byte(`{"credHelpers":{"`+s.host+`":"fetchtest"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		o    access.Options
		says []string
	}{
		{"a file", access.Options{AuthFile: file}, []string{`as user "me" from ` + file, "podman login " + s.host}},
		{"a file for another registry", access.Options{AuthFile: other}, []string{"without credentials", other}},
		{"none", access.Options{Anonymous: true}, []string{"without credentials"}},
		{"the command line", access.Options{Credentials: &access.Credentials{Username: "you", Password: "secret"}},
			[]string{`as user "you" from the command line`}},
	} {
		c.o.InsecureSkipTLSVerify = true
		_, err := read(t.Context(), newClient(t, s.host+"/a/b:c", c.o, fetch.Options{}), describe([]byte("x")))
		if !errors.Is(err, access.ErrDenied) {
			t.Fatalf("%s: got %v", c.name, err)
		}
		for _, want := range append(c.says, s.host+"/a/b", "401 Unauthorized") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", c.name, err, want)
			}
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q has the password", c.name, err)
		}
	}
}

func TestCredentialsStayWithTheRegistryThatRedirects(t *testing.T) {
	t.Parallel()
	data := noise(22, 100_000)
	for name, guard := range map[string]func(s *server) func(http.ResponseWriter, *http.Request) bool{
		"tokens": tokens,
		"passwords": func(*server) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if _, _, ok := r.BasicAuth(); ok {
					return true
				}
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				return false
			}
		},
	} {
		s, store := newServer(t), newServer(t, data)
		s.guard = guard(s)
		s.bend = func(w http.ResponseWriter, r *http.Request, _ int) bool {
			http.Redirect(w, r, store.URL+r.URL.Path+"?signature=hidden", http.StatusTemporaryRedirect)
			return true
		}
		leaked := 0
		store.guard = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Authorization") != "" {
				leaked++
			}
			return true
		}
		store.bend = func(w http.ResponseWriter, _ *http.Request, n int) bool {
			if n == 1 {
				cutAfter(w, data, 50_000)
			}
			return false
		}
		o := access.Options{InsecureSkipTLSVerify: true, AuthFile: authFile(t, s.host, "me", "secret")}
		got, err := read(t.Context(), newClient(t, s.host+"/a/b:c", o, fetch.Options{}), describe(data))
		if err != nil || !bytes.Equal(got, data) || leaked > 0 {
			t.Errorf("%s: got %d bytes, %v; credentials were sent %d times", name, len(got), err, leaked)
		}
		if len(s.asked()) != 2 || len(store.asked()) != 2 {
			t.Errorf("%s: the registry was asked %q, the other server %q", name, s.asked(), store.asked())
		}
		// What is wrong there is not the fault of the credentials, and addresses may have secrets.
		for _, status := range []int{http.StatusForbidden, http.StatusNotFound} {
			store.bend = func(w http.ResponseWriter, _ *http.Request, _ int) bool { w.WriteHeader(status); return true }
			_, err = read(t.Context(), newClient(t, s.host+"/a/b:c", o, fetch.Options{}), describe(data))
			if err == nil || errors.Is(err, access.ErrDenied) || !strings.Contains(err.Error(), store.host) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		store.Close()
		_, err = read(t.Context(), newClient(t, s.host+"/a/b:c", o, fetch.Options{}), describe(data))
		if err == nil || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), store.host) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestARedirectToPlainHTTPIsNotFollowed(t *testing.T) {
	t.Parallel()
	data := noise(23, 1000)
	s, store := newTLSServer(t), newServer(t, data)
	s.bend = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		http.Redirect(w, r, store.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	}
	_, err := read(t.Context(), newClient(t, s.host+"/a/b:c", s.trusted, fetch.Options{}), describe(data))
	if !errors.Is(err, access.ErrPlainHTTP) || store.all != 0 {
		t.Errorf("got %v; %d requests were sent", err, store.all)
	}
	if len(s.asked()) != 1 {
		t.Errorf("the registry was asked %d times", len(s.asked()))
	}
}

func TestCertificatesAreChecked(t *testing.T) {
	t.Parallel()
	data := noise(24, 1000)
	s := newTLSServer(t, data)
	s.bend = func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		// With HTTP/2 all readers would share one connection, which would break for all.
		if r.ProtoMajor != 1 {
			t.Errorf("the request came with %s", r.Proto)
		}
		return false
	}
	got, err := read(t.Context(), newClient(t, s.host+"/a/b:c", s.trusted, fetch.Options{}), describe(data))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	clock := newClock()
	_, err = read(t.Context(), newClient(t, s.host+"/a/b:c", access.Options{}, fetch.Options{Clock: clock}),
		describe(data))
	if err == nil || !strings.Contains(err.Error(), "certificate") || len(clock.slept) > 0 {
		t.Errorf("got %v after %v", err, clock.slept)
	}
	plain := newServer(t, data)
	_, err = read(t.Context(), newClient(t, plain.host+"/a/b:c", access.Options{}, fetch.Options{Clock: clock}),
		describe(data))
	if !errors.Is(err, access.ErrPlainHTTP) || plain.all != 0 || len(clock.slept) > 0 {
		t.Errorf("got %v after %v", err, clock.slept)
	}
}

// The library does not accept token servers at private addresses. The tools of a host do.
func TestATokenServerMayHaveAPrivateAddress(t *testing.T) {
	t.Parallel()
	data := noise(25, 1000)
	s, issuer := newTLSServer(t, data), newTLSServer(t)
	var asked []string
	issuer.guard = func(w http.ResponseWriter, r *http.Request) bool {
		user, _, _ := r.BasicAuth()
		asked = append(asked, user+" "+r.URL.String())
		_, _ = fmt.Fprint(w, `{"token": "t"}`)
		return false
	}
	realm := issuer.URL + "/token?a=b"
	s.guard = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer t" {
			return true
		}
		challenge(w, realm)
		return false
	}
	o := access.Options{CertDir: s.trusted.CertDir, AuthFile: authFile(t, s.host, "me", "secret")}
	if _, err := read(t.Context(), newClient(t, s.host+"/a/b:c", o, fetch.Options{}), describe(data)); err != nil {
		t.Error(err)
	}
	want := "me /token?a=b&scope=repository%3Aa%2Fb%3Apull&service=x"
	if len(asked) != 1 || asked[0] != want {
		t.Errorf("the token server was asked %q, want %q", asked, want)
	}
	// The rule about plain HTTP holds for it.
	plain := newServer(t)
	realm = plain.URL + "/token"
	_, err := read(t.Context(), newClient(t, s.host+"/a/b:c", o, fetch.Options{}), describe(data))
	if !errors.Is(err, access.ErrPlainHTTP) || plain.all > 0 {
		t.Errorf("got %v; %d requests were sent", err, plain.all)
	}
	// One that refuses the credentials does so for the registry.
	realm = issuer.URL + "/token"
	issuer.guard = func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	_, err = read(t.Context(), newClient(t, s.host+"/a/b:c", o, fetch.Options{}), describe(data))
	if !errors.Is(err, access.ErrDenied) || !strings.Contains(err.Error(), `as user "me"`) ||
		!strings.Contains(err.Error(), issuer.host) {
		t.Errorf("got %v", err)
	}
}
