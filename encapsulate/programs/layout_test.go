package programs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func oneFile() []Image {
	return []Image{{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		Layers:   []Layer{{Name: "a program", Files: []File{{Path: "/a", Mode: 0o755, Content: []byte("a")}}}},
	}}
}

func TestALayoutHasTheIndexUnderItsName(t *testing.T) {
	t.Parallel()
	index, err := Index(t.Context(), oneFile(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "layout")
	if err := WriteLayout(dir, index, "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	read, err := ReadLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read.Digest(); err != nil || got != want {
		t.Errorf("got %s and %v, want %s", got, err, want)
	}
	data, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil || !strings.Contains(string(data), `"org.opencontainers.image.ref.name":"v1.2.3"`) &&
		!strings.Contains(string(data), `"org.opencontainers.image.ref.name": "v1.2.3"`) {
		t.Errorf("got %s and %v", data, err)
	}
	for name, mode := range map[string]os.FileMode{"": 0o755, "index.json": 0o644, "oci-layout": 0o644, "blobs": 0o755} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: got %v and %v, want %o", name, info.Mode(), err, mode)
		}
	}
}

func TestALayoutWithoutAnIndexIsRefused(t *testing.T) {
	t.Parallel()
	image, err := New(t.Context(), oneFile()[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, add := range map[string][]v1.Image{"nothing": nil, "an image": {image}} {
		dir := filepath.Join(t.TempDir(), "layout")
		p, err := layout.Write(dir, empty.Index)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range add {
			if err := p.AppendImage(i); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := ReadLayout(dir); err == nil || !strings.Contains(err.Error(), "want one index") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
