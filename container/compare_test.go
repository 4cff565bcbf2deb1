package container_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/source"
)

func readManifest(t *testing.T, name string) (m ocispec.Manifest) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestUpstream_ManifestDiff(t *testing.T) {
	t.Parallel()
	d := container.Compare(readManifest(t, "testdata/manifest1.json"), readManifest(t, "testdata/manifest2.json"))
	if d.Total != 51 || d.NAdded != 4 || d.NRemoved != 4 {
		t.Errorf("got %d layers, %d added, %d removed", d.Total, d.NAdded, d.NRemoved)
	}
	ends := func(what string, l []ocispec.Descriptor, first, last string) {
		t.Helper()
		got := l[0].Digest.Encoded() + " " + l[len(l)-1].Digest.Encoded()
		f, b, _ := strings.Cut(first, "…")
		f2, b2, _ := strings.Cut(last, "…")
		if !strings.HasPrefix(got, f) || !strings.HasSuffix(got[:64], b) || !strings.HasPrefix(got[65:], f2) ||
			!strings.HasSuffix(got, b2) {
			t.Errorf("%s: got %s", what, got)
		}
	}
	ends("added", d.Added, "0b5d930f…98df1f", "cb9b8a4a…3ff815")
	ends("removed", d.Removed, "0ff8b1fd…928925", "76b83eea…4cece2")
}

func TestCompareCountsRepeatedLayersOnceAndTheirSizeEachTime(t *testing.T) {
	t.Parallel()
	layer := func(s string, size int64) ocispec.Descriptor {
		return ocispec.Descriptor{Digest: digest.FromString(s), Size: size}
	}
	a := ocispec.Manifest{Layers: []ocispec.Descriptor{layer("a", 1), layer("b", 2)}}
	b := ocispec.Manifest{Layers: []ocispec.Descriptor{layer("a", 1), layer("c", 4), layer("c", 4)}}
	got, err := json.Marshal(container.Compare(a, b))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"total":2,"total_size":9,"n_removed":1,"removed_size":2,"n_added":1,"added_size":4}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestInfoTellsDigestAndLabels(t *testing.T) {
	t.Parallel()
	img := newTestImage(t)
	ref := img.write(t)
	info, err := readInfo(t, ref, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(img.manifest)
	if err != nil {
		t.Fatal(err)
	}
	if info.Digest != digest.FromBytes(data) || info.Labels["ostree.commit"] != img.commit.String() ||
		len(info.Manifest.Layers) != 3 {
		t.Errorf("got %+v", info)
	}
}
