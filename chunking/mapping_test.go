package chunking_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

var objectA, objectB, objectC = object.Checksum{0xa}, object.Checksum{0xb}, object.Checksum{0xc}

func content() repo.Content {
	return repo.Content{{Checksum: objectA, Path: "/a"}, {Checksum: objectA, Path: "/a-again"}, {Checksum: objectB, Path: "/b"}, {Checksum: objectC, Path: "/c"}}
}

// TestUpstream_ExclusiveComponentsHaveALayerEach: they take single paths, so an object may be in two layers.
func TestUpstream_ExclusiveComponentsHaveALayerEach(t *testing.T) {
	t.Parallel()
	m := chunking.Mapping{
		Components: []chunking.Component{{ID: "rest", Name: "rest", Size: 1}, {ID: "own", Name: "own"}},
		Objects:    []chunking.Assignment{{objectA, "rest"}, {objectB, "rest"}, {objectC, "rest"}},
		Exclusive:  map[string][]chunking.PathObject{"own": {{"/a", objectA}, {"/c", objectC}, {"/gone", objectB}}},
		MaxLayers:  5,
	}
	plan, err := m.Plan(content(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &chunking.Plan{Layers: []chunking.Layer{
		{Name: "own", Packages: []string{"own"}, Content: repo.Content{{Checksum: objectA, Path: "/a"}, {Checksum: objectC, Path: "/c"}}},
		{Name: "rest", Packages: []string{"rest"}, Content: repo.Content{{Checksum: objectA, Path: "/a-again"}, {Checksum: objectB, Path: "/b"}}},
		{Name: "Reserved for new packages", Content: repo.Content(nil)},
	}}
	if diff := cmp.Diff(want, plan); diff != "" {
		t.Error(diff)
	}
}

func TestAnObjectWithoutComponentIsAnError(t *testing.T) {
	t.Parallel()
	m := chunking.Mapping{Components: []chunking.Component{{ID: "x", Size: 1}}, Objects: []chunking.Assignment{{objectA, "x"}}}
	if _, err := m.Plan(content(), nil); !errors.Is(err, chunking.ErrUnmapped) {
		t.Errorf("got %v, want ErrUnmapped", err)
	}
}

// commitOf makes a commit of files with these contents.
func commitOf(t *testing.T, files map[string]string) (repo.Source, object.Checksum) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	d, err := rootfs.Dir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	hashed, err := rootfs.Hash(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	src, err := rootfs.NewSource(hashed)
	if err != nil {
		t.Fatal(err)
	}
	commit, err := src.AddCommit(object.Commit{})
	if err != nil {
		t.Fatal(err)
	}
	return src, commit
}

func TestCheckFindsWhatAPlanLacksOrRepeats(t *testing.T) {
	t.Parallel()
	src, commit := commitOf(t, map[string]string{"a": "a", "dir/a-again": "a", "dir/b": "b", "c": "c"})
	all, err := repo.CommitContent(t.Context(), src, commit)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(c repo.Content) repo.Content) repo.Content { return change(slices.Clone(all)) }
	for name, p := range map[string]*chunking.Plan{
		"nothing":               {},
		"a path is missing":     {Remainder: all[:3]},
		"a path is there twice": {Layers: []chunking.Layer{{Content: all[:1]}}, Remainder: all},
		"one for another":       {Layers: []chunking.Layer{{Content: all[:1]}}, Remainder: with(func(c repo.Content) repo.Content { return append(c[:1], c[2:]...) })},
		"not in order": {Remainder: with(func(c repo.Content) repo.Content {
			slices.Reverse(c)
			return c
		})},
		"a path of no commit": {Remainder: append(repo.Content{{Checksum: object.Checksum{}, Path: "/x"}}, all...)},
		"another object": {Remainder: with(func(c repo.Content) repo.Content {
			c[0].Path, c[3].Path = c[3].Path, c[0].Path
			return c
		})},
	} {
		if err := p.Check(t.Context(), src, commit); !errors.Is(err, chunking.ErrInvalidPlan) {
			t.Errorf("%s: %v, want ErrInvalidPlan", name, err)
		}
	}
	for name, p := range map[string]*chunking.Plan{
		"one layer":                        chunking.SingleLayer(all),
		"an object in two layers":          {Layers: []chunking.Layer{{Content: all[:1]}, {Content: all[1:2]}}, Remainder: all[2:]},
		"layers and nothing for the first": {Layers: []chunking.Layer{{}, {Content: all}}},
	} {
		if err := p.Check(t.Context(), src, commit); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContentMetaThatIsRefused(t *testing.T) {
	t.Parallel()
	const obj = `"0000000000000000000000000000000000000000000000000000000000000001"`
	for name, text := range map[string]string{
		"no JSON":                `{`,
		"another version":        `{"version":2,"layers":{},"mapping":{}}`,
		"ordered":                `{"version":1,"layers":{},"mapping":{},"ordered":true}`,
		"an unknown layer":       `{"version":1,"layers":{"a":"A"},"mapping":{` + obj + `:"b"}}`,
		"no checksum":            `{"version":1,"layers":{"a":"A"},"mapping":{"xyz":"a"}}`,
		"an object twice":        `{"version":1,"layers":{"a":"A"},"mapping":{` + obj + `:"a",` + obj + `:"a"}}`,
		"a layer twice":          `{"version":1,"layers":{"a":"A","a":"B"},"mapping":{}}`,
		"the layers twice":       `{"version":1,"layers":{"a":"A"},"layers":{"a":"A"},"mapping":{}}`,
		"a layer without name":   `{"version":1,"layers":{"a":null},"mapping":{}}`,
		"layers that are a list": `{"version":1,"layers":[],"mapping":{}}`,
		"a time that is none":    `{"version":1,"created":"yesterday","layers":{},"mapping":{}}`,
	} {
		if _, err := chunking.ParseContentMeta([]byte(text)); !errors.Is(err, chunking.ErrContentMeta) {
			t.Errorf("%s: %v, want ErrContentMeta", name, err)
		}
	}
}

// TestUpstream_ContentMetaOfTwoLayersIsTooFew: each layer of the file needs one, and the packing two more.
func TestUpstream_ContentMetaOfTwoLayersIsTooFew(t *testing.T) {
	t.Parallel()
	meta, err := chunking.ParseContentMeta([]byte(`{"version":1,"layers":{"a":"A","unpackaged":"Rest"},"mapping":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := meta.Mapping.Plan(content(), nil); !errors.Is(err, chunking.ErrTooFewLayers) {
		t.Errorf("got %v, want ErrTooFewLayers", err)
	}
}

func FuzzParseContentMeta(f *testing.F) {
	f.Add([]byte(`{"version":1,"created":"2026-02-03T04:05:06Z","labels":{"a":"b"},"layers":{"a":"A"},"mapping":{"0000000000000000000000000000000000000000000000000000000000000001":"a"},"ordered":false}`))
	f.Add([]byte(`{"components":[{"identifier":"a"}],"map":{},"specific":{"a":[["/x","00"]]}}`))
	for _, seed := range testfiles.Read(f, "../encapsulate/testdata/upstream/meta1.*.json") {
		f.Add(seed.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if meta, err := chunking.ParseContentMeta(data); err == nil {
			_, _ = meta.Mapping.Plan(nil, nil)
		}
		_, _ = chunking.ParseLibraryContentMeta(data)
	})
}
