package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
)

const (
	good       = `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:CC","size":7},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:DD","size":9}]}`
	goodDocker = `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"sha256:CC","size":7},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"sha256:DD","size":9}]}`
)

func expand(s string) []byte {
	return []byte(strings.NewReplacer("CC", strings.Repeat("c", 64), "DD", strings.Repeat("d", 64)).Replace(s))
}

func parse(data []byte) (*ocispec.Manifest, error) {
	if err := checkManifestBytes(data, ""); err != nil {
		return nil, err
	}
	mediaType, err := manifestType(data, "")
	if err != nil {
		return nil, err
	}
	return parseManifest(oci.Document{Raw: data, MediaType: mediaType})
}

func TestDockerManifestsAreReadAsOCI(t *testing.T) {
	t.Parallel()
	view := func(data []byte) *oci.Image {
		m, err := parse(expand(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		img, err := oci.New(oci.Document{}, *m, []byte("{}"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	want, got := view([]byte(good)), view([]byte(goodDocker))
	if diff := cmp.Diff(want.Manifest.Layers, got.Manifest.Layers); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want.Manifest.Config, got.Manifest.Config); diff != "" {
		t.Error(diff)
	}
}

func TestHostileManifestsAreRefused(t *testing.T) {
	t.Parallel()
	change := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	layer := `{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:DD","size":9}`
	for name, in := range map[string]string{
		"nothing":              "",
		"not JSON":             "manifest",
		"an array":             "[]",
		"null":                 "null",
		"no schema version":    change(`"schemaVersion":2,`, ""),
		"schema version 1":     change(`"schemaVersion":2`, `"schemaVersion":1`),
		"schema version 3":     change(`"schemaVersion":2`, `"schemaVersion":3`),
		"unknown media type":   change(`"schemaVersion":2`, `"schemaVersion":2,"mediaType":"text/plain"`),
		"index and image":      change(`"schemaVersion":2`, `"schemaVersion":2,"manifests":[]`),
		"says it is an index":  change(`"schemaVersion":2`, `"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json"`),
		"negative size":        change(`"size":9`, `"size":-9`),
		"size beyond int64":    change(`"size":9`, `"size":99999999999999999999`),
		"fractional size":      change(`"size":9`, `"size":9.5`),
		"no digest":            change(`"digest":"sha256:DD",`, ""),
		"short digest":         change("sha256:DD", "sha256:dd"),
		"path in digest":       change("sha256:DD", "sha256:../../../etc/passwd"),
		"sha512":               change("sha256:DD", "sha512:DDDD"),
		"no config":            `{"schemaVersion":2,"layers":[]}`,
		"one layer, two sizes": change(layer, layer+","+strings.Replace(layer, "9", "8", 1)),
		"too many layers":      change(layer, layer+strings.Repeat(","+layer, maxLayers)),
		"too large":            change(`"schemaVersion":2`, `"schemaVersion":2,"x":"`+strings.Repeat("x", maxManifestSize)+`"`),
	} {
		if m, err := parse(expand(in)); !errors.Is(err, ErrInvalidManifest) {
			t.Errorf("%s: got %v, %v", name, m, err)
		}
	}
	if _, err := parse(expand(good)); err != nil {
		t.Errorf("the one that all were made of: %v", err)
	}
}

func TestADigestInANameGoesBeforeATag(t *testing.T) {
	t.Parallel()
	d := "sha256:" + strings.Repeat("a", 64)
	for in, want := range map[string]string{
		"host:5000/a/b:tag@" + d: "host:5000/a/b@" + d,
		"host:5000/a/b@" + d:     "host:5000/a/b@" + d,
		"host/a:tag":             "host/a:tag",
	} {
		if got, _, err := splitDigest(in); err != nil || got != want {
			t.Errorf("%s: got %s, %v", in, got, err)
		}
	}
	if _, _, err := splitDigest("host/a@sha256:12"); err == nil {
		t.Error("a damaged digest is taken")
	}
}

func TestUpstream_AuthFileOrder(t *testing.T) {
	t.Parallel()
	top, user := t.TempDir(), t.TempDir()
	touch := func(name string) string {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	env := map[string]string{}
	root := authSearch{env: func(k string) string { return env[k] }, root: true, top: top}
	find := func(s authSearch, opts Options, want string) {
		t.Helper()
		if got, err := s.find(opts); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	find(root, Options{}, "")
	find(root, Options{}, touch(top+"/usr/lib/ostree/auth.json"))
	find(root, Options{}, touch(top+"/etc/ostree/auth.json"))
	find(root, Options{}, touch(top+"/run/ostree/auth.json"))
	env["REGISTRY_AUTH_FILE"] = touch(user + "/registry.json")
	find(root, Options{}, env["REGISTRY_AUTH_FILE"])
	find(root, Options{AuthFile: touch(user + "/mine")}, user+"/mine")
	find(root, Options{Anonymous: true}, "")
	if _, err := root.find(Options{AuthFile: user + "/none"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a named file that is absent: %v", err)
	}

	clear(env)
	plain := authSearch{env: func(k string) string { return env[k] }, home: user, top: top}
	find(plain, Options{}, "")
	find(plain, Options{}, touch(user+"/.config/ostree/auth.json"))
	env["XDG_RUNTIME_DIR"] = user + "/run"
	find(plain, Options{}, user+"/.config/ostree/auth.json")
	find(plain, Options{}, touch(user+"/run/ostree/auth.json"))
}

// Links to the file are followed; one that leads nowhere is as good as no file.
func TestUpstream_AuthFileLinks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		links map[string]string // below the root; a target that starts with a slash is below it, too
		want  string
	}{
		{"relative", map[string]string{"etc/ostree/auth.json": "../../usr/lib/container-auth.json"}, "etc/ostree/auth.json"},
		{"absolute", map[string]string{"run/ostree/auth.json": "/usr/lib/container-auth.json"}, "run/ostree/auth.json"},
		{"dangling, with a file behind it", map[string]string{"run/ostree/auth.json": "/run/nosuch", "etc/ostree/auth.json": "../../usr/lib/container-auth.json"}, "etc/ostree/auth.json"},
		{"dangling, relative", map[string]string{"run/ostree/auth.json": "../nosuch"}, ""},
		{"a directory that is a link", map[string]string{"etc/ostree": "/usr/lib/credentials"}, "etc/ostree/auth.json"},
		{"nothing", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			for _, name := range []string{"usr/lib/container-auth.json", "usr/lib/credentials/auth.json"} {
				name = filepath.Join(top, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte("{}"), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			for name, target := range c.links {
				if filepath.IsAbs(target) {
					target = filepath.Join(top, target)
				}
				name = filepath.Join(top, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.Symlink(target, name)); err != nil {
					t.Fatal(err)
				}
			}
			want := c.want
			if want != "" {
				want = filepath.Join(top, want)
			}
			s := authSearch{env: func(string) string { return "" }, root: true, top: top}
			// What was found is as good when it is given back as the file to use.
			got, err := s.find(Options{})
			if err != nil || got != want {
				t.Fatalf("got %q, %v; want %q", got, err, want)
			}
			if again, err := s.find(Options{AuthFile: got}); err != nil || again != got {
				t.Errorf("the second time: got %q, %v; want %q", again, err, got)
			}
		})
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(expand(good))
	f.Add(expand(goodDocker))
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:00","size":1,"platform":{"os":"linux","architecture":"amd64"}}]}`))
	for _, seed := range testfiles.Read(f, "testdata/*.json") {
		f.Add(seed.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		mediaType, err := manifestType(data, "")
		if err != nil {
			return
		}
		if isIndex(mediaType) {
			_, _ = chooseInstance(data, mediaType, nil)
			return
		}
		m, err := parseManifest(oci.Document{Raw: data, MediaType: mediaType})
		if err != nil {
			return
		}
		for _, d := range append(m.Layers, m.Config) {
			if d.Size < 0 || len(d.Digest.Encoded()) != 64 {
				t.Errorf("a descriptor that no one may use: %+v", d)
			}
		}
	})
}
