package setup_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/trust/setup"
)

func TestScopes(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("0f", 32)
	for _, c := range []struct{ text, scope, image string }{
		{"ghcr.io/exampleos/os", "ghcr.io/exampleos/os", "ghcr.io/exampleos/os"},
		{"ghcr.io/exampleos/os:stable", "ghcr.io/exampleos/os:stable", "ghcr.io/exampleos/os:stable"},
		{"ghcr.io/exampleos/os@" + digest, "ghcr.io/exampleos/os@" + digest, "ghcr.io/exampleos/os@" + digest},
		{"ghcr.io/exampleos/os:a@" + digest, "ghcr.io/exampleos/os@" + digest, "ghcr.io/exampleos/os@" + digest},
		{"ghcr.io", "ghcr.io", "ghcr.io/IMAGE"},
		{"localhost/os", "localhost/os", "localhost/os"},
		{"registry:5000", "registry:5000", "registry:5000/IMAGE"},
		{"registry:5000/os", "registry:5000/os", "registry:5000/os"},
		{"[::1]:5000/os", "[::1]:5000/os", "[::1]:5000/os"},
		{"*.exampleos.example", "*.exampleos.example", "HOST.exampleos.example/IMAGE"},
		{"docker.io/exampleos", "docker.io/exampleos", "docker.io/exampleos"},
		{"docker.io/debian:12", "docker.io/library/debian:12", "docker.io/library/debian:12"},
		{"index.docker.io/exampleos/os", "docker.io/exampleos/os", "docker.io/exampleos/os"},
		{"index.docker.io", "docker.io", "docker.io/IMAGE"},
	} {
		got, err := setup.ParseScope(c.text)
		if err != nil || got != c.scope || setup.ImageIn(got) != c.image {
			t.Errorf("%s: got %q, %q, %v", c.text, got, setup.ImageIn(got), err)
		}
	}
}

func TestWhatIsNoScope(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"":                        "begins with the name of a registry",
		"debian":                  "docker.io/library/debian",
		"exampleos/os":            "docker.io/exampleos/os",
		"docker://ghcr.io/a":      "without a transport",
		"ghcr.io/Exampleos/os":    "lowercase",
		"ghcr.io/os/":             "invalid reference format",
		"ghcr.io/../os":           "invalid reference format",
		"ghcr.io:os/x":            "name of the registry",
		"-ghcr.io":                "name of the registry",
		"*.exampleos.example/os":  "*.DOMAIN",
		"*.exampleos.example:443": "*.DOMAIN",
		"*":                       "*.DOMAIN",
		"ghcr.io/os:a b":          "invalid reference format",
	} {
		if got, err := setup.ParseScope(text); !errors.Is(err, setup.ErrScope) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %q, %v, want an error with %q", text, got, err, says)
		}
	}
}

func TestTheScopeOfAnImageIsItsRepository(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{
		"ghcr.io/exampleos/os:stable": "ghcr.io/exampleos/os", "debian": "docker.io/library/debian",
		"localhost:5000/os@sha256:" + strings.Repeat("0f", 32): "localhost:5000/os",
	} {
		if got, err := setup.ScopeOf(image); err != nil || got != want {
			t.Errorf("%s: got %q, %v", image, got, err)
		}
	}
	if _, err := setup.ScopeOf("OS"); !errors.Is(err, setup.ErrScope) {
		t.Errorf("got %v", err)
	}
}
