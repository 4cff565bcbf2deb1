package chunking_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

var objectA, objectB, objectC = repo.Checksum{0xa}, repo.Checksum{0xb}, repo.Checksum{0xc}

func content() tarfmt.Content {
	return tarfmt.Content{
		{Checksum: objectA, Paths: []string{"/a", "/a-again"}}, {Checksum: objectB, Paths: []string{"/b"}}, {Checksum: objectC, Paths: []string{"/c"}},
	}
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
		{Name: "own", Packages: []string{"own"}, Content: tarfmt.Content{{Checksum: objectA, Paths: []string{"/a"}}, {Checksum: objectC, Paths: []string{"/c"}}}},
		{Name: "rest", Packages: []string{"rest"}, Content: tarfmt.Content{{Checksum: objectA, Paths: []string{"/a-again"}}, {Checksum: objectB, Paths: []string{"/b"}}}},
		{Name: "Reserved for new packages", Content: tarfmt.Content{}},
	}}
	if diff := cmp.Diff(want, plan); diff != "" {
		t.Error(diff)
	}
	if err := plan.Check(content()); err != nil {
		t.Error(err)
	}
}

func TestAnObjectWithoutComponentIsAnError(t *testing.T) {
	t.Parallel()
	m := chunking.Mapping{Components: []chunking.Component{{ID: "x", Size: 1}}, Objects: []chunking.Assignment{{objectA, "x"}}}
	if _, err := m.Plan(content(), nil); !errors.Is(err, chunking.ErrUnmapped) {
		t.Errorf("got %v, want ErrUnmapped", err)
	}
}

func TestCheckFindsWhatAPlanLacksOrRepeats(t *testing.T) {
	t.Parallel()
	all := content()
	for name, p := range map[string]*chunking.Plan{
		"a path is missing":     {Remainder: all[:2]},
		"a path is there twice": {Layers: []chunking.Layer{{Content: all[:1]}}, Remainder: all},
		"a path of no commit":   {Remainder: append(content(), tarfmt.ObjectPaths{Checksum: repo.Checksum{1}, Paths: []string{"/x"}})},
		"another object":        {Remainder: tarfmt.Content{{Checksum: objectB, Paths: []string{"/a"}}, {Checksum: objectA, Paths: []string{"/b", "/a-again"}}, all[2]}},
	} {
		if err := p.Check(all); !errors.Is(err, chunking.ErrInvalidPlan) {
			t.Errorf("%s: %v, want ErrInvalidPlan", name, err)
		}
	}
	if err := chunking.SingleLayer(all).Check(all); err != nil {
		t.Error(err)
	}
}

func TestContentMetaThatIsRefused(t *testing.T) {
	t.Parallel()
	const object = `"0000000000000000000000000000000000000000000000000000000000000001"`
	for name, text := range map[string]string{
		"no JSON":                `{`,
		"another version":        `{"version":2,"layers":{},"mapping":{}}`,
		"ordered":                `{"version":1,"layers":{},"mapping":{},"ordered":true}`,
		"an unknown layer":       `{"version":1,"layers":{"a":"A"},"mapping":{` + object + `:"b"}}`,
		"no checksum":            `{"version":1,"layers":{"a":"A"},"mapping":{"xyz":"a"}}`,
		"an object twice":        `{"version":1,"layers":{"a":"A"},"mapping":{` + object + `:"a",` + object + `:"a"}}`,
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
