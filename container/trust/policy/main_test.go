package policy_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/internal/testhome"
)

func TestMain(m *testing.M) { os.Exit(testhome.Tests{M: m}.Run()) }

// docker returns the reference to an image in a registry.
func docker(name string) imgref.ImageReference {
	return imgref.ImageReference{Transport: imgref.Registry, Name: name}
}

// configure writes files of the user's configuration of the container tools, for this test: "policy.json",
// "registries.d/0.yaml".
func configure(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, "containers", name), text)
	}
	t.Setenv("XDG_CONFIG_HOME", dir)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
