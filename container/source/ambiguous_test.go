package source_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
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

// rewrite copies an archive. change returns the files to write for one.
func rewrite(t *testing.T, name string, change func(h *tar.Header, content []byte) []archived) {
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
		for _, f := range change(h, content) {
			f.Size = int64(len(f.content))
			if err := w.WriteHeader(&f.Header); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(f.content); err != nil {
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

type archived struct {
	tar.Header
	content []byte
}

// renamed returns a file under another name.
func renamed(h *tar.Header, name string, content []byte) archived {
	other := *h
	other.Name = name
	return archived{other, content}
}

func TestADockerArchiveInWhichTwoReadersSeeTwoImagesIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		old, by string
		more    func(h *tar.Header, content []byte) []archived // besides each file
	}{
		"as it was":              {`"Layers"`, `"Layers"`, nil},
		"layers twice":           {`"Layers"`, `"Layers":[],"Layers"`, nil},
		"layers in another case": {`"Layers"`, `"layers":[],"Layers"`, nil},
		"in another case only":   {`"Config"`, `"config"`, nil},
		"with an escape":         {`"Layers"`, `"L\u0061yers":[],"Layers"`, nil},
		"two lists": {`"Layers"`, `"Layers"`, func(h *tar.Header, content []byte) []archived {
			if h.Name != "manifest.json" {
				return nil
			}
			return []archived{renamed(h, h.Name, content)}
		}},
		"two lists, one in another spelling": {`"Layers"`, `"Layers"`, func(h *tar.Header, content []byte) []archived {
			if h.Name != "manifest.json" {
				return nil
			}
			return []archived{renamed(h, "./manifest.json", []byte("[]"))}
		}},
		"a symlink to another list": {`"Layers"`, `"Layers"`, func(h *tar.Header, content []byte) []archived {
			if h.Name != "manifest.json" {
				return nil
			}
			h.Name = "other"
			return []archived{{tar.Header{Name: "manifest.json", Typeflag: tar.TypeSymlink, Linkname: "other"}, nil}}
		}},
		"two configurations": {`"Layers"`, `"Layers"`, func(h *tar.Header, content []byte) []archived {
			if h.Name == "manifest.json" || !strings.HasSuffix(h.Name, ".json") {
				return nil
			}
			return []archived{renamed(h, "./"+h.Name, bytes.Replace(content, []byte("linux"), []byte("other"), 1))}
		}},
	} {
		file := filepath.Join(t.TempDir(), "archive.tar")
		writtenTo(t, "docker-archive:"+file+":a:b")
		rewrite(t, file, func(h *tar.Header, content []byte) []archived {
			if h.Name == "manifest.json" && c.old != c.by {
				content = replaced(t, content, c.old, c.by)
			}
			var more []archived
			if c.more != nil {
				more = c.more(h, content)
			}
			return append(more, archived{*h, content})
		})
		_, err := open(t, "docker-archive:"+file, source.Options{})
		if good := name == "as it was"; good != (err == nil) {
			t.Errorf("%s: got %v", name, err)
		} else if err != nil && !errors.Is(err, source.ErrInvalidManifest) {
			t.Errorf("%s: got %v, which is not about the list", name, err)
		}
	}
}
