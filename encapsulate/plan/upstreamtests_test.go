package plan_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/chunking/upstream"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// Diff-ids of the layers that upstream's program makes from the first commit of its tests.
const (
	exampleSingle   = "sha256:7806c7dac60c4a4d225dacec2aaa635b7acef922aa3f6afdc54a07291d4f19b1"
	exampleFirst    = "sha256:c298599d7ade7d17258d52ea7dec51143306f335b1438dd5b4b2ce6985309647"
	exampleAll      = "sha256:b9919e119497b9ade1a88ae01502b5bd350006b25968f863cb5066b41ba666fc"
	exampleReserved = "sha256:12787d84fa137cd5649a9005efe98ec9d05ea46245fdc50aecb7dd007f2035b1"
)

// builtLayer is what an image says about a layer.
type builtLayer struct{ DiffID, CreatedBy, Components string }

func layersOf(t *testing.T, m made) (layers []builtLayer, config *v1.ConfigFile) {
	t.Helper()
	config, err := v1.ParseConfigFile(bytes.NewReader(m.config))
	if err != nil {
		t.Fatal(err)
	}
	if len(config.History) != len(m.manifest.Layers) || len(config.RootFS.DiffIDs) != len(m.manifest.Layers) {
		t.Fatalf("%d layers, %d diff-ids, %d entries of history",
			len(m.manifest.Layers), len(config.RootFS.DiffIDs), len(config.History))
	}
	for i, l := range m.manifest.Layers {
		layers = append(layers, builtLayer{
			config.RootFS.DiffIDs[i].String(), config.History[i].CreatedBy, l.Annotations["ostree.components"],
		})
	}
	return layers, config
}

// examplePackages returns the mapping of upstream's tests: packages that always change, in at most seven layers.
func examplePackages(t *testing.T, r *repo.Repo, commit object.Checksum) *upstream.Mapping {
	t.Helper()
	m := &upstream.Mapping{MaxChunks: 7}
	packages, objects := map[string]bool{}, map[object.Checksum]bool{}
	for _, f := range repotest.ExampleFiles() {
		if !packages[f.Package] {
			packages[f.Package] = true
			m.Packages = append(m.Packages, upstream.Package{
				ID: f.Package, Name: f.Package, Source: f.Package,
				ChangeFrequency: component.AlwaysChanges, ChangeTimeOffset: component.AlwaysChanges,
			})
		}
		if o := objectAt(t, r, commit, "/"+f.Path); !objects[o] {
			objects[o] = true
			m.Objects = append(m.Objects, upstream.Assignment{Object: o, Package: f.Package})
		}
	}
	if err := m.Measure(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return m
}

func objectAt(t *testing.T, r *repo.Repo, commit object.Checksum, path string) (c object.Checksum) {
	t.Helper()
	add := func(e *repo.ListEntry) error { c = e.Checksum; return nil }
	if err := repo.List(t.Context(), r, commit, path, repo.ListOptions{}, add); err != nil {
		t.Fatal(err)
	}
	return c
}

// buildExample makes the image of a commit of upstream's tests with the options of those tests, chunked or not.
func buildExample(t *testing.T, id string, chunked bool) (*repo.Repo, made) {
	t.Helper()
	r := repotest.Init(t, repo.ModeArchive)
	commit := repotest.CommitExample(t, r, id)
	opts := plan.Options{SingleLayer: !chunked, Packing: plan.PackUpstream, Image: encapsulate.Options{
		Labels: map[string]string{"foo": "bar", "test": "value"}, CopyMetaKeys: []string{"buildsys.checksum"},
		CopyMetaOptKeys: []string{"nosuch"},
		Config:          []byte(`{"StopSignal":"SIGRTMIN+3"}`),
	}}
	if chunked {
		opts.Mapping = examplePackages(t, r, commit)
	}
	p, err := plan.Commit(t.Context(), r, commit, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r, finish(t, p)
}

// This is upstream's test of encapsulation into one layer and into several.
func TestUpstream_EncapsulateOneLayerAndChunked(t *testing.T) {
	t.Parallel()
	export := "ostree export of commit " + repotest.ExampleCommit
	for _, c := range []struct {
		name    string
		chunked bool
		want    []builtLayer
	}{
		{"one layer", false, []builtLayer{{exampleSingle, export, ""}}},
		{"chunked", true, []builtLayer{
			{exampleFirst, export, ""},
			{exampleAll, "9 components", "a-polkit-config,arping,bash,filesystem,initramfs,kernel,pkgdb,someconfig,testlink"},
			{exampleReserved, "Reserved for new packages", ""},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, m := buildExample(t, repotest.ExampleCommit, c.chunked)
			layers, config := layersOf(t, m)
			if diff := cmp.Diff(c.want, layers); diff != "" {
				t.Errorf("layers (-upstream +ours): %s", diff)
			}
			labels := map[string]string{
				"foo": "bar", "test": "value",
				"buildsys.checksum": "41af286dc0b172ed2f1ca934fd2278de4a1192302ffa07087cea2682e7d372e3",
				"containers.bootc":  "1", "ostree.bootable": "true", "org.opencontainers.image.version": "42.0",
				"ostree.commit": repotest.ExampleCommit, "ostree.final-diffid": c.want[len(c.want)-1].DiffID,
			}
			// Upstream's packing does not add the label with the plan, so these are all labels.
			if diff := cmp.Diff(labels, config.Config.Labels); diff != "" {
				t.Errorf("labels (-want +got): %s", diff)
			}
			if diff := cmp.Diff(labels, m.manifest.Annotations); diff != "" {
				t.Errorf("annotations (-want +got): %s", diff)
			}
			want := time.Unix(872879442, 0)
			if !config.Created.Equal(want) || config.Config.StopSignal != "SIGRTMIN+3" ||
				cmp.Diff([]string{"/usr/bin/bash"}, config.Config.Cmd) != "" {
				t.Errorf("created %s, stop signal %q, command %q", config.Created, config.Config.StopSignal, config.Config.Cmd)
			}
		})
	}
}

// An update of bash makes two new layers. The reserved layer stays.
func TestUpstream_AnUpdateOfBashMakesTwoLayers(t *testing.T) {
	t.Parallel()
	_, before := buildExample(t, repotest.ExampleCommit, true)
	_, after := buildExample(t, repotest.ExampleUpdate, true)
	old, _ := layersOf(t, before)
	updated, config := layersOf(t, after)
	for i, changed := range []bool{true, true, false} {
		if got := old[i].DiffID != updated[i].DiffID; got != changed {
			t.Errorf("layer %d (%s) changed: %t, want %t", i, updated[i].CreatedBy, got, changed)
		}
	}
	got, want := updated[0].CreatedBy, "ostree export of commit "+repotest.ExampleUpdate
	if got != want || updated[1].CreatedBy != "9 components" {
		t.Errorf("history %q and %q, want %q and 9 components", got, updated[1].CreatedBy, want)
	}
	if got := config.Config.Labels["ostree.commit"]; got != repotest.ExampleUpdate {
		t.Errorf("label ostree.commit is %s", got)
	}
}

// The commit's layer has the directories of the repository and no content. The next layer has the content and its
// visible paths.
func TestUpstream_ChunkStructure(t *testing.T) {
	t.Parallel()
	r, m := buildExample(t, repotest.ExampleCommit, true)
	pkgdb := objectAt(t, r, mustParse(t, repotest.ExampleCommit), "/usr/lib/pkgdb/pkgdb").String()
	obj := "sysroot/ostree/repo/objects/" + pkgdb[:2] + "/" + pkgdb[2:] + ".file"
	for i, want := range []map[string]string{
		{"./": "5 755 ", "sysroot/ostree/repo/objects/00": "5 755 ", "sysroot/ostree/repo/config": "0 644 ", obj: "",
			"usr/lib/pkgdb/pkgdb": ""},
		{"sysroot/ostree/repo/objects/00": "5 755 ", obj: "0 644 ", "usr/lib/pkgdb/pkgdb": "1 644 " + obj,
			"usr/lib/sysimage/pkgdb": "1 644 " + obj},
		{"sysroot/ostree/repo/objects/00": "5 755 ", obj: "", "usr/lib/pkgdb/pkgdb": ""},
	} {
		entries := entriesOf(t, m.blobs[m.manifest.Layers[i].Digest])
		for name, w := range want {
			if entries[name] != w {
				t.Errorf("layer %d: %s is %q, want %q", i, name, entries[name], w)
			}
		}
		for name := range entries {
			if i != 1 && strings.HasSuffix(name, ".file") {
				t.Errorf("layer %d holds content: %s", i, name)
			}
		}
	}
}

// entriesOf returns type, mode and target of each entry of a layer.
func entriesOf(t *testing.T, blob []byte) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		if entries[h.Name] != "" {
			t.Errorf("%s occurs twice", h.Name)
		}
		entries[h.Name] = fmt.Sprintf("%c %o %s", h.Typeflag, h.Mode, h.Linkname)
	}
}

func mustParse(t *testing.T, s string) object.Checksum {
	t.Helper()
	c, err := object.ParseChecksum(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The file of --contentmeta names the layers, whose bytes are upstream's.
func TestUpstream_ContentMetaNamesLayers(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	commit := repotest.CommitExample(t, r, repotest.ExampleCommit)
	layerOf := map[string]string{"kernel": "k", "initramfs": "k", "pkgdb": "pkgdb"}
	mapping := map[string]string{}
	for _, f := range repotest.ExampleFiles() {
		id := layerOf[f.Package]
		if id == "" {
			id = "unpackaged"
		}
		mapping[objectAt(t, r, commit, "/"+f.Path).String()] = id
	}
	objects, err := json.Marshal(mapping)
	if err != nil {
		t.Fatal(err)
	}
	meta := `{"version":1,"layers":{"k":"Kernel","pkgdb":"Package database","unpackaged":"Rest"},"mapping":` +
		string(objects) + `}`
	opts := plan.Options{}
	if err := opts.UseContentMeta(t.Context(), r, []byte(meta), false); err != nil {
		t.Fatal(err)
	}
	p, err := plan.Commit(t.Context(), r, commit, opts)
	if err != nil {
		t.Fatal(err)
	}
	layers, _ := layersOf(t, finish(t, p))
	want := []builtLayer{
		{exampleFirst, "ostree export of commit " + repotest.ExampleCommit, ""},
		{"sha256:6a9d6668bbd2e29894fa82f43f3d8da09544c79c72156d8ffa1fb61bdb26b947", "k", "Kernel"},
		{"sha256:b65ca0de0308253abee0e91c57f76fdf422cf8881ed631c550a810e9ae1583d9", "pkgdb", "Package database"},
		{"sha256:5273ccec66c5656939797579c402ae05004f4dc40c8798d148355509b582304b", "unpackaged", "Rest"},
		{exampleReserved, "Reserved for new packages", ""},
	}
	if diff := cmp.Diff(want, layers); diff != "" {
		t.Errorf("layers (-upstream +ours): %s", diff)
	}
}

// Two builds at different times give the same image.
func TestUpstream_ImagesAreReproducible(t *testing.T) {
	t.Parallel()
	_, first := buildExample(t, repotest.ExampleCommit, true)
	time.Sleep(1100 * time.Millisecond) // as upstream does, so that the clock shows another second
	_, second := buildExample(t, repotest.ExampleCommit, true)
	a, err := first.image.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	b, err := second.image.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(a), string(b)); diff != "" {
		t.Errorf("manifests (-first +second): %s", diff)
	}
}
