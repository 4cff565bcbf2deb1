package access

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

func firstFile(h host, opts Options) (string, error) {
	k, err := h.authFiles(opts)
	return append(k.files, "")[0], err
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
	root := host{env: func(k string) string { return env[k] }, root: true, top: top}
	find := func(h host, opts Options, want string) {
		t.Helper()
		if got, err := firstFile(h, opts); err != nil || got != want {
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
	if _, err := firstFile(root, Options{AuthFile: user + "/none"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a named file that is absent: %v", err)
	}

	clear(env)
	plain := host{env: func(k string) string { return env[k] }, home: user, top: top}
	find(plain, Options{}, "")
	find(plain, Options{}, touch(user+"/.config/ostree/auth.json"))
	env["XDG_RUNTIME_DIR"] = user + "/run"
	find(plain, Options{}, user+"/.config/ostree/auth.json")
	find(plain, Options{}, touch(user+"/run/ostree/auth.json"))
}

// Symbolic links are followed. A dangling one counts as a missing file.
func TestUpstream_AuthFileLinks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		links map[string]string // below the root; a target that starts with a slash is below it, too
		want  string
	}{
		{"relative", map[string]string{"etc/ostree/auth.json": "../../usr/lib/container-auth.json"}, "etc/ostree/auth.json"},
		{"absolute", map[string]string{"run/ostree/auth.json": "/usr/lib/container-auth.json"}, "run/ostree/auth.json"},
		{"dangling, with a file behind it", map[string]string{"run/ostree/auth.json": "/run/nosuch",
			"etc/ostree/auth.json": "../../usr/lib/container-auth.json"}, "etc/ostree/auth.json"},
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
			h := host{env: func(string) string { return "" }, root: true, top: top}
			// Naming the file that was found gives the same file.
			got, err := firstFile(h, Options{})
			if err != nil || got != want {
				t.Fatalf("got %q, %v; want %q", got, err, want)
			}
			if again, err := firstFile(h, Options{AuthFile: got}); err != nil || again != got {
				t.Errorf("the second time: got %q, %v; want %q", again, err, got)
			}
		})
	}
}

// After ostree's file come those of podman, then that of docker.
func TestTheOrderOfTheFiles(t *testing.T) {
	t.Parallel()
	top, user := t.TempDir(), t.TempDir()
	env := map[string]string{}
	h := host{env: func(k string) string { return env[k] }, home: user, top: top}
	all := []string{
		filepath.Join(top, "run/containers", strconv.Itoa(os.Getuid()), "auth.json"),
		user + "/.config/containers/auth.json",
		user + "/.docker/config.json",
	}
	for _, name := range append(all, user+"/run/containers/auth.json", user+"/d/config.json",
		user+"/ours/ostree/auth.json", user+"/run2/ostree/auth.json") {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte("{}"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		env  map[string]string
		opts Options
		want []string
	}{
		{"usual files", nil, Options{}, all},
		{"a directory of this session", map[string]string{"XDG_RUNTIME_DIR": user + "/run"}, Options{},
			[]string{user + "/run/containers/auth.json", all[1], all[2]}},
		{"docker's own variable", map[string]string{"DOCKER_CONFIG": user + "/d"}, Options{},
			[]string{all[0], all[1], user + "/d/config.json"}},
		{"only the first of ostree's",
			map[string]string{"XDG_RUNTIME_DIR": user + "/run2", "XDG_CONFIG_HOME": user + "/ours"}, Options{},
			[]string{user + "/run2/ostree/auth.json", all[2]}},
		{"a file that is named", nil, Options{AuthFile: all[2]}, all[2:]},
		{"none", map[string]string{"REGISTRY_AUTH_FILE": all[2]}, Options{Anonymous: true}, nil},
	} {
		clear(env)
		maps.Copy(env, c.env)
		got, err := h.authFiles(c.opts)
		if diff := cmp.Diff(c.want, got.files); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", c.name, err, diff)
		}
	}
}

func TestAFileThatCannotBeUsedIsAWarningUnlessItWasNamed(t *testing.T) {
	t.Parallel()
	repository, err := name.NewRepository("registry.example/a")
	if err != nil {
		t.Fatal(err)
	}
	for kind, create := range map[string]func(string) error{
		"not JSON":         func(f string) error { return os.WriteFile(f, []byte("{"), 0o600) },
		"a folder":         func(f string) error { return os.Mkdir(f, 0o700) },
		"a link to itself": func(f string) error { return os.Symlink(f, f) },
		"a helper that is absent": func(f string) error {
			return os.WriteFile(f, []byte(`{"credsStore":"ostree-ext-absent"}`), 0o600)
		},
		"a helper for the registry that is absent": func(f string) error {
			return os.WriteFile(f, []byte(`{"credHelpers":{"registry.example":"ostree-ext-absent"}}`), 0o600)
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			docker := filepath.Join(home, ".docker")
			config := filepath.Join(docker, "config.json")
			if err := errors.Join(os.Mkdir(docker, 0o700), create(config)); err != nil {
				t.Fatal(err)
			}
			var warned []string
			o := Options{Warn: func(s string) { warned = append(warned, s) }}
			h := host{env: func(string) string { return "" }, home: home, top: t.TempDir()}
			keys, err := h.authFiles(o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := keys.Resolve(repository)
			if err != nil || got != authn.Anonymous || len(warned) != 1 || !strings.Contains(warned[0], config) {
				t.Errorf("got %v, %v; warnings %q", got, err, warned)
			}
			o.AuthFile = config
			if keys, err = h.authFiles(o); err == nil {
				_, err = keys.Resolve(repository)
			}
			if err == nil || len(warned) != 1 {
				t.Errorf("the file was named: got %v, warnings %q", err, warned)
			}
		})
	}
}

func TestALoginSaysWhereTheCredentialsAre(t *testing.T) {
	dir := t.TempDir()
	helper := "#!/bin/sh\necho '{\"Username\":\"robot\",\"Secret\":\"s\"}'\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte(helper), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	auths := file("auths", `{"auths":{"os.example/team":{"auth":"bWU6c2VjcmV0"}}}`)
	helped := file("helped", `{"credHelpers":{"os.example":"test"}}`)
	empty := file("empty", `{}`)
	for _, c := range []struct {
		name string
		o    Options
		want Login
		says string
	}{
		{"a file", Options{AuthFile: auths}, Login{User: "me", From: auths, Asked: []string{auths}},
			`as user "me" from ` + auths},
		{"a helper", Options{AuthFile: helped},
			Login{User: "robot", From: helped, Helper: "docker-credential-test", Asked: []string{helped}},
			`as user "robot" from the helper docker-credential-test, which ` + helped + " names"},
		{"nothing in a file", Options{AuthFile: empty}, Login{Anonymous: true, Asked: []string{empty}},
			"without credentials, because there are none for it in " + empty},
		{"no file", Options{Anonymous: true}, Login{Anonymous: true},
			"without credentials"},
		{"given", Options{Credentials: &Credentials{Username: "me"}}, Login{User: "me"},
			`as user "me" from the command line`},
		{"a token", Options{Credentials: &Credentials{RegistryToken: "t"}}, Login{},
			`with a token from the command line`},
	} {
		got, err := c.o.Login("os.example/team/os:latest")
		c.want.Repository = "os.example/team/os"
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" || got.String() != c.says {
			t.Errorf("%s: %v, %s (-want +got):\n%s", c.name, err, got, diff)
		}
		if got.Registry() != "os.example" {
			t.Errorf("%s: the registry is %s", c.name, got.Registry())
		}
	}
}
