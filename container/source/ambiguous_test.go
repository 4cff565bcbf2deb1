package source_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
)

// replaced returns text with one part replaced, which it must have.
func replaced(t *testing.T, text []byte, old, by string) []byte {
	t.Helper()
	out := bytes.Replace(text, []byte(old), []byte(by), 1)
	if bytes.Equal(out, text) {
		t.Fatalf("%s does not have %s", text, old)
	}
	return out
}

func writtenTo(t *testing.T, ref string) {
	t.Helper()
	to, err := imgref.ParseImageReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dest.Write(t.Context(), img, to, dest.Options{}); err != nil {
		t.Fatal(err)
	}
}

// The list of images in a layout decides which image is read, as a manifest decides which layers are.
func TestALayoutInWhichTwoReadersSeeTwoImagesIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, old, by string }{
		"a list twice":           {"index.json", `"manifests"`, `"manifests":[],"manifests"`},
		"a list in another case": {"index.json", `"manifests"`, `"Manifests":[],"manifests"`},
		"only in another case":   {"index.json", `"manifests"`, `"Manifests"`},
		"a list with an escape":  {"index.json", `"manifests"`, `"m\u0061nifests":[],"manifests"`},
		"a letter that folds":    {"index.json", `"manifests"`, `"manifest` + "\u017f" + `":[],"manifests"`},
		"a digest twice":         {"index.json", `"digest"`, `"digest":"","digest"`},
		"a name twice": {
			"index.json", `"annotations":{`, `"annotations":{"org.opencontainers.image.ref.name":"v",`},
		"a platform in two cases": {"index.json", `"digest"`, `"platform":{"os":"a","OS":"b"},"digest"`},
		"a version twice": {
			"oci-layout", `"imageLayoutVersion"`, `"imageLayoutVersion":"2","imageLayoutVersion"`},
		"a version in another case only": {"oci-layout", `"imageLayoutVersion"`, `"ImageLayoutVersion"`},
	} {
		dir := filepath.Join(t.TempDir(), "layout")
		writtenTo(t, "oci:"+dir+":v")
		file := filepath.Join(dir, c.file)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, replaced(t, data, c.old, c.by), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, "oci:"+dir+":v", source.Options{}); !errors.Is(err, jsonkeys.ErrAmbiguous) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// rewrite changes the list of images in a Docker archive, and writes it as often as it says.
func rewrite(t *testing.T, name string, times int, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		n := 1
		if h.Name == "manifest.json" {
			content, n = change(content), times
			h.Size = int64(len(content))
		}
		for range n {
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestADockerArchiveInWhichTwoReadersSeeTwoImagesIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		old, by string
		times   int
	}{
		"as it was":              {`"Layers"`, `"Layers"`, 1},
		"layers twice":           {`"Layers"`, `"Layers":[],"Layers"`, 1},
		"layers in another case": {`"Layers"`, `"layers":[],"Layers"`, 1},
		"in another case only":   {`"Config"`, `"config"`, 1},
		"with an escape":         {`"Layers"`, `"L\u0061yers":[],"Layers"`, 1},
		"two lists":              {`"Layers"`, `"Layers"`, 2},
	} {
		file := filepath.Join(t.TempDir(), "archive.tar")
		writtenTo(t, "docker-archive:"+file+":a:b")
		rewrite(t, file, c.times, func(data []byte) []byte {
			if c.old == c.by {
				return data
			}
			return replaced(t, data, c.old, c.by)
		})
		_, err := open(t, "docker-archive:"+file, source.Options{})
		if good := name == "as it was"; good != (err == nil) {
			t.Errorf("%s: got %v", name, err)
		} else if err != nil && !errors.Is(err, source.ErrInvalidManifest) {
			t.Errorf("%s: got %v, which is not about the list", name, err)
		}
	}
}
