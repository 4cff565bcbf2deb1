package keyless_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyless"
	"github.com/ostree-ext/ostree-ext-go/internal/testca"
)

// mirror is a TUF repository behind HTTPS with a trusted root in it.
type mirror struct {
	*testca.Repository
	instance *testca.Authority
	options  keyless.UpdateOptions
	asked    []string
}

func newMirror(t *testing.T) *mirror {
	t.Helper()
	m := &mirror{Repository: testca.NewRepository(t), instance: testca.New(t)}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		m.asked = append(m.asked, req.URL.Path)
		m.ServeHTTP(w, req)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	m.options = keyless.UpdateOptions{Mirror: s.URL, Root: m.Root(), CacheDir: filepath.Join(t.TempDir(), "cache"),
		Client: s.Client()}
	m.publish(time.Hour)
	return m
}

// publish publishes the files once more, for some time.
func (m *mirror) publish(good time.Duration) {
	m.Publish(time.Now().Add(good), map[string][]byte{
		"trusted_root.json":        m.instance.Root().JSON(),
		"signing_config.v0.2.json": m.instance.SigningConfig("https://a.example"),
	})
}

func TestUpdateGetsTheTrustedRoot(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	got, err := keyless.Update(t.Context(), m.options)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.TrustedRoot) != string(m.instance.Root().JSON()) || got.SigningConfig != nil {
		t.Errorf("got %s, %s", got.TrustedRoot, got.SigningConfig)
	}
	v, err := keyless.New(got.TrustedRoot)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(m.instance.Sign(signed()), image, []keyless.Identity{byMain}); err != nil {
		t.Error(err)
	}

	m.options.SigningConfig = true
	for _, change := range []func(){
		func() {},
		func() { m.publish(time.Hour) },
		func() { m.Rotate(time.Now().Add(time.Hour)); m.Rotate(time.Now().Add(time.Hour)); m.publish(time.Hour) },
		func() { m.options.CacheDir = "" },
	} {
		change()
		got, err := keyless.Update(t.Context(), m.options)
		if err != nil {
			t.Fatal(err)
		}
		if string(got.SigningConfig) != string(m.instance.SigningConfig("https://a.example")) {
			t.Errorf("got %s", got.SigningConfig)
		}
	}
}

func TestUpdateRefusesRepositories(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*mirror)
		want   error
	}{
		{"of another root", func(m *mirror) { m.options.Root = testca.NewRepository(t).Root() }, keyless.ErrForged},
		{"that has expired", func(m *mirror) { m.publish(-time.Hour) }, keyless.ErrStale},
		{"whose root has expired", func(m *mirror) { m.Rotate(time.Now().Add(-time.Hour)); m.publish(time.Hour) },
			keyless.ErrStale},
		{"that went back to an earlier state", func(m *mirror) {
			before := m.Files()
			m.publish(time.Hour)
			if _, err := keyless.Update(t.Context(), m.options); err != nil {
				t.Error(err)
			}
			m.Serve(before)
		}, keyless.ErrOlder},
		{"that went back to an earlier list of files", func(m *mirror) {
			before := m.Files()
			m.publish(time.Hour)
			files := m.Files()
			files["2.targets.json"] = before["1.targets.json"]
			m.Serve(files)
		}, keyless.ErrOlder},
		{"with a file that was changed", func(m *mirror) {
			files := m.Files()
			for name, data := range files {
				if strings.HasSuffix(name, "trusted_root.json") {
					files[name] = []byte(strings.Replace(string(data), "fulcio", "Fulcio", 1))
				}
			}
			m.Serve(files)
		}, keyless.ErrForged},
		{"with a root that nobody signed", func(m *mirror) {
			files := m.Files()
			files["2.root.json"] = testca.NewRepository(t).Root()
			m.Serve(files)
		}, keyless.ErrForged},
		{"with a trusted root that cannot be read", func(m *mirror) {
			m.Publish(time.Now().Add(time.Hour), map[string][]byte{"trusted_root.json": []byte("{}")})
		}, keyless.ErrTrustedRoot},
		{"without a trusted root", func(m *mirror) { m.Publish(time.Now().Add(time.Hour), nil) }, nil},
		{"without a configuration that is asked for", func(m *mirror) {
			m.options.SigningConfig = true
			m.Publish(time.Now().Add(time.Hour), map[string][]byte{"trusted_root.json": m.instance.Root().JSON()})
		}, nil},
		{"with a configuration that cannot be read", func(m *mirror) {
			m.options.SigningConfig = true
			m.Publish(time.Now().Add(time.Hour), map[string][]byte{"trusted_root.json": m.instance.Root().JSON(),
				"signing_config.v0.2.json": []byte("{}")})
		}, nil},
		{"whose metadata is endless", func(m *mirror) {
			files := m.Files()
			files["timestamp.json"] = []byte(strings.Repeat(" ", 1<<20))
			m.Serve(files)
		}, nil},
		{"that has nothing", func(m *mirror) { m.Serve(nil) }, nil},
		{"that is not a URL", func(m *mirror) { m.options.Mirror = "mirror.example" }, nil},
		{"whose root is not one", func(m *mirror) { m.options.Root = []byte("{}") }, nil},
		{"whose certificate is unknown", func(m *mirror) { m.options.Client = nil }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t)
			tt.change(m)
			got, err := keyless.Update(t.Context(), m.options)
			if err == nil || got.TrustedRoot != nil || got.SigningConfig != nil {
				t.Fatalf("got %+v, %v", got, err)
			}
			for _, reason := range []error{keyless.ErrForged, keyless.ErrStale, keyless.ErrOlder, keyless.ErrTrustedRoot} {
				if errors.Is(err, reason) != errors.Is(tt.want, reason) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			}
		})
	}
}

func TestUpdateNamesACacheThatIsDamaged(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	if _, err := keyless.Update(t.Context(), m.options); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(m.options.CacheDir, "*", "timestamp.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got %q, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keyless.Update(t.Context(), m.options); err == nil || !strings.Contains(err.Error(), m.options.CacheDir) {
		t.Errorf("got %v", err)
	}
}

func TestUpdateNeverGoesFromHTTPSToHTTP(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	plain := httptest.NewServer(m)
	t.Cleanup(plain.Close)
	s := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	t.Cleanup(s.Close)
	m.options.Mirror, m.options.Client = s.URL, s.Client()
	if _, err := keyless.Update(t.Context(), m.options); err == nil || !strings.Contains(err.Error(), "redirect") {
		t.Errorf("got %v", err)
	}
	m.options.Mirror = plain.URL // who writes http:// means it: the files are signed
	if _, err := keyless.Update(t.Context(), m.options); err != nil {
		t.Error(err)
	}
}

func TestUpdateCanBeInterrupted(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := keyless.Update(ctx, m.options); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(m.asked) > 0 {
		t.Errorf("it asked for %q", m.asked)
	}
}
