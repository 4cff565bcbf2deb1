package tarfmt_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// layout is an OCI layout on disk.
type layout struct {
	dir  string
	tags map[string]string // to the manifest's digest
}

func openLayout(t testing.TB, dir string) *layout {
	t.Helper()
	var index struct {
		Manifests []struct {
			Digest      string            `json:"digest"`
			Annotations map[string]string `json:"annotations"`
		} `json:"manifests"`
	}
	l := &layout{dir: dir, tags: map[string]string{}}
	decode(t, must(os.ReadFile(filepath.Join(dir, "index.json"))), &index)
	for _, m := range index.Manifests {
		l.tags[m.Annotations["org.opencontainers.image.ref.name"]] = m.Digest
	}
	return l
}

func decode(t testing.TB, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

func (l *layout) blob(t testing.TB, digest string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(l.dir, "blobs", strings.Replace(digest, ":", "/", 1)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// layers returns the uncompressed layers of an image and the commit in its label.
func (l *layout) layers(t testing.TB, tag string) (layers [][]byte, commit object.Checksum) {
	t.Helper()
	var manifest struct {
		Config struct {
			Digest string `json:"digest"`
		} `json:"config"`
		Layers []struct {
			Digest string `json:"digest"`
		} `json:"layers"`
	}
	var config struct {
		Config struct {
			Labels map[string]string
		} `json:"config"`
	}
	decode(t, l.blob(t, l.tags[tag]), &manifest)
	decode(t, l.blob(t, manifest.Config.Digest), &config)
	for _, d := range manifest.Layers {
		z, err := gzip.NewReader(bytes.NewReader(l.blob(t, d.Digest)))
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, must(io.ReadAll(z)))
	}
	return layers, must(object.ParseChecksum(config.Config.Labels["ostree.commit"]))
}

// layerContent returns the objects of a layer and their paths, as its entries have them.
func layerContent(t testing.TB, layer []byte) repo.Content {
	t.Helper()
	var c repo.Content
	var last object.Checksum
	r := tar.NewReader(bytes.NewReader(layer))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return c
		}
		if err != nil {
			t.Fatal(err)
		}
		rest, obj := strings.CutPrefix(h.Name, "sysroot/ostree/repo/")
		switch {
		case h.Typeflag == tar.TypeDir:
		case obj && strings.HasSuffix(rest, ".file"):
			sum := strings.TrimSuffix(strings.ReplaceAll(strings.TrimPrefix(rest, "objects/"), "/", ""), ".file")
			last = must(object.ParseChecksum(sum))
		case !obj:
			p := h.Name
			if p = strings.TrimPrefix(p, "./"); strings.HasPrefix(p, "etc/") {
				p = "usr/" + p
			}
			c = append(c, repo.ObjectPath{Checksum: last, Path: "/" + p})
		}
	}
}

// pathsOf returns the paths of each object in their order.
func pathsOf(c repo.Content) map[object.Checksum][]string {
	all := map[object.Checksum][]string{}
	for _, f := range c {
		all[f.Checksum] = append(all[f.Checksum], f.Path)
	}
	return all
}

func revision(t testing.TB, name string) object.Checksum {
	t.Helper()
	data, err := os.ReadFile(fixtures.Dir(t, "upstream", name))
	if err != nil {
		t.Fatal(err)
	}
	return must(object.ParseChecksum(strings.TrimSpace(string(data))))
}

func TestExportEqualsUpstreamsStreams(t *testing.T) {
	t.Parallel()
	src := loadArchive(t, fixtures.Dir(t, "upstream", "archive.tar.zst"))
	for _, n := range []string{"1", "2"} {
		got := exportCommit(t, src, revision(t, "rev"+n))
		want := unzstd(t, fixtures.Dir(t, "upstream", "current", "v"+n+".tar.zst"))
		if !bytes.Equal(got, want) {
			t.Errorf("the stream of rev%s differs from upstream's at byte %d", n, firstDifference(got, want))
		}
	}
}

func firstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func TestExportEqualsUpstreamsLayers(t *testing.T) {
	t.Parallel()
	src := loadArchive(t, fixtures.Dir(t, "upstream", "archive.tar.zst"))
	images := openLayout(t, fixtures.Dir(t, "upstream", "current", "images"))
	for _, tag := range sortedKeys(images.tags) {
		t.Run(tag, func(t *testing.T) {
			t.Parallel()
			parents := strings.HasPrefix(tag, "parents")
			layers, commit := images.layers(t, tag)
			all := pathsOf(content(t, src, commit))
			for i, want := range layers {
				c := layerContent(t, want)
				checkPaths(t, c, all)
				var got []byte
				if i == 0 {
					got = exportFinal(t, src, commit, c, parents)
				} else {
					got = exportChunk(t, src, commit, c, parents)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("layer %d of %d differs from upstream's at byte %d", i, len(layers), firstDifference(got, want))
				}
			}
		})
	}
}

// checkPaths compares the paths in a layer with those of the commit. Exclusive components may take some of them.
func checkPaths(t *testing.T, layer repo.Content, commit map[object.Checksum][]string) {
	t.Helper()
	for c, paths := range pathsOf(layer) {
		for _, p := range paths {
			if !slices.Contains(commit[c], p) {
				t.Errorf("object %s is at %v in the commit, not at %q", c, commit[c], p)
			}
		}
		if !slices.Equal(paths, commit[c]) && len(paths) == len(commit[c]) {
			t.Errorf("object %s: got paths in order %v, want %v", c, paths, commit[c])
		}
	}
}
