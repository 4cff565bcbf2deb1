package plan_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
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

// asPrior returns the image as a prior image. Its layers cannot be read: upstream's packing needs only the
// annotations.
func (u upstreamImage) asPrior(t *testing.T) *oci.Image {
	t.Helper()
	var manifest struct {
		Layers []map[string]any `json:"layers"`
	}
	for _, a := range u.Layers {
		manifest.Layers = append(manifest.Layers, map[string]any{"annotations": a})
	}
	data, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	p, err := oci.FromDocument(data)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestUpstream_PackingUpstreamGivesUpstreamsImages makes each chunked image of upstream's fixtures as the command
// line does. The configuration, and so diff-ids, history and labels, must have the same bytes.
func TestUpstream_PackingUpstreamGivesUpstreamsImages(t *testing.T) {
	t.Parallel()
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("..", "testdata", "upstream", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	var images map[string]upstreamImage
	if err := json.Unmarshal(read("images.json"), &images); err != nil {
		t.Fatal(err)
	}
	var repos [3]*repo.Repo
	var commits [3]object.Checksum
	for _, n := range []int{1, 2} {
		repos[n] = repotest.Init(t, repo.ModeArchive)
		commits[n] = repotest.CommitRelease(t, repos[n], n)
	}
	for _, c := range []struct {
		tag     string
		release int
		meta    string
		layers  int
		prior   string
	}{
		{"cli1", 1, "meta1.cli.json", 0, ""},
		{"cli2", 2, "meta2.cli.json", 0, ""},
		{"chunked1", 1, "meta1.api.json", 64, ""},
		{"chunked2", 2, "meta2.api.json", 64, "chunked1"},
		{"chunked2-noprior", 2, "meta2.api.json", 64, ""},
		{"k4-1", 1, "meta1.api.json", 4, ""},
		{"k5-1", 1, "meta1.api.json", 5, ""},
		{"k8-1", 1, "meta1.api.json", 8, ""},
		{"k4-2", 2, "meta2.api.json", 4, "k4-1"},
		{"k5-2", 2, "meta2.api.json", 5, "k5-1"},
		{"k8-2", 2, "meta2.api.json", 8, "k8-1"},
		{"parents1", 1, "meta1.parents.json", 8, ""},
		{"exclusive1", 1, "meta1.exclusive.json", 8, ""},
	} {
		t.Run(c.tag, func(t *testing.T) {
			t.Parallel()
			r, commit := repos[c.release], commits[c.release]
			opts := plan.Options{Packing: plan.PackUpstream, MaxLayers: c.layers}
			opts.Image.Compression = encapsulate.Uncompressed
			if c.layers > 0 {
				opts.Image.CopyMetaOptKeys, opts.Image.ParentDirs = []string{"version"}, strings.HasPrefix(c.tag, "parents")
			}
			if err := opts.UseContentMeta(t.Context(), r, read(c.meta), true); err != nil {
				t.Fatal(err)
			}
			if c.prior != "" {
				opts.Prior = images[c.prior].asPrior(t)
			}
			p, err := plan.Commit(t.Context(), r, commit, opts)
			if err != nil {
				t.Fatal(err)
			}
			made := finish(t, p)
			if diff := cmp.Diff(images[c.tag].Config, string(made.config)); diff != "" {
				t.Errorf("configuration (-upstream +ours): %s", diff)
			}
			if diff := cmp.Diff(images[c.tag].Annotations, made.manifest.Annotations); diff != "" {
				t.Errorf("annotations (-upstream +ours): %s", diff)
			}
			var layers []map[string]string
			for _, l := range made.manifest.Layers {
				layers = append(layers, l.Annotations)
			}
			if diff := cmp.Diff(images[c.tag].Layers, layers); diff != "" {
				t.Errorf("annotations of layers (-upstream +ours): %s", diff)
			}
		})
	}
}
