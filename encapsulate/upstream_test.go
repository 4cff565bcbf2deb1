package encapsulate_test

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// upstreamImage is what upstream's program made from one of the two releases.
type upstreamImage struct {
	Config      string              `json:"config"`
	Annotations map[string]string   `json:"annotations"`
	Layers      []map[string]string `json:"layers"` // their annotations
}

func upstreamImages(t testing.TB) map[string]upstreamImage {
	t.Helper()
	var images map[string]upstreamImage
	if err := json.Unmarshal(testdata(t, "images.json"), &images); err != nil {
		t.Fatal(err)
	}
	return images
}

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "upstream", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// release returns a repository with one of the two commits.
func release(t testing.TB, n int) (*repo.Repo, object.Checksum) {
	t.Helper()
	r := repotest.Init(t, repo.ModeArchive)
	return r, repotest.CommitRelease(t, r, n)
}

// consume reads every layer, so that the manifest and the configuration are known.
func consume(t testing.TB, img *encapsulate.Image) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUpstream_ImagesEqualUpstreams makes the single-layer images that upstream's program made, from the same commits
// and options. The configuration, and so diff-ids, history and labels, must have the same bytes, and manifest and
// layers the same annotations. Package plan has the test of images with several layers.
func TestUpstream_ImagesEqualUpstreams(t *testing.T) {
	t.Parallel()
	images := upstreamImages(t)
	var repos [3]*repo.Repo
	var commits [3]object.Checksum
	for n := range 2 {
		repos[n+1], commits[n+1] = release(t, n+1)
	}
	for _, c := range []struct {
		tag     string
		release int
	}{
		{"single1", 1},
		{"single2", 2},
	} {
		t.Run(c.tag, func(t *testing.T) {
			t.Parallel()
			r, commit := repos[c.release], commits[c.release]
			opts := encapsulate.Options{Compression: encapsulate.Uncompressed}
			opts.CopyMetaKeys, opts.CopyMetaOptKeys = []string{"buildsys.checksum"}, []string{"nosuch"}
			opts.Labels, opts.Cmd = map[string]string{"foo": "bar"}, []string{"/usr/bin/bash"}
			img, err := encapsulate.Build(t.Context(), r, commit, opts)
			if err != nil {
				t.Fatal(err)
			}
			consume(t, img)
			config, err := img.RawConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(images[c.tag].Config, string(config)); diff != "" {
				t.Errorf("configuration (-upstream +ours): %s", diff)
			}
			manifest, err := img.Manifest()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(images[c.tag].Annotations, manifest.Annotations); diff != "" {
				t.Errorf("annotations (-upstream +ours): %s", diff)
			}
			var layers []map[string]string
			for _, l := range manifest.Layers {
				layers = append(layers, l.Annotations)
			}
			if diff := cmp.Diff(images[c.tag].Layers, layers); diff != "" {
				t.Errorf("annotations of layers (-upstream +ours): %s", diff)
			}
		})
	}
}
