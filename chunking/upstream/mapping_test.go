package upstream_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/upstream"
	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

var objectA, objectB, objectC = object.Checksum{0xa}, object.Checksum{0xb}, object.Checksum{0xc}

func content() repo.Content {
	return repo.Content{
		{Checksum: objectA, Path: "/a"}, {Checksum: objectA, Path: "/a-again"},
		{Checksum: objectB, Path: "/b"}, {Checksum: objectC, Path: "/c"},
	}
}

// TestUpstream_ExclusiveComponentsHaveALayerEach checks that exclusive components take single paths, so that an
// object may be in two layers.
func TestUpstream_ExclusiveComponentsHaveALayerEach(t *testing.T) {
	t.Parallel()
	m := upstream.Mapping{
		Packages:  []upstream.Package{{ID: "rest", Name: "rest", Size: 1}, {ID: "own", Name: "own"}},
		Objects:   []upstream.Assignment{{objectA, "rest"}, {objectB, "rest"}, {objectC, "rest"}},
		Exclusive: map[string][]upstream.PathObject{"own": {{"/a", objectA}, {"/c", objectC}, {"/gone", objectB}}},
		MaxChunks: 5,
	}
	split, err := m.Split(content(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &chunking.Split{Layers: []chunking.Layer{
		{Name: "own", Packages: []string{"own"},
			Content: repo.Content{{Checksum: objectA, Path: "/a"}, {Checksum: objectC, Path: "/c"}}},
		{Name: "rest", Packages: []string{"rest"},
			Content: repo.Content{{Checksum: objectA, Path: "/a-again"}, {Checksum: objectB, Path: "/b"}}},
		{Name: "Reserved for new packages", Content: repo.Content(nil)},
	}}
	if diff := cmp.Diff(want, split); diff != "" {
		t.Error(diff)
	}
}

func TestAnObjectWithoutComponentIsAnError(t *testing.T) {
	t.Parallel()
	m := upstream.Mapping{Packages: []upstream.Package{{ID: "x", Size: 1}}, Objects: []upstream.Assignment{{objectA, "x"}}}
	if _, err := m.Split(content(), nil); !errors.Is(err, upstream.ErrUnmapped) {
		t.Errorf("got %v, want ErrUnmapped", err)
	}
}

func TestContentMetaThatIsRefused(t *testing.T) {
	t.Parallel()
	const obj = `"0000000000000000000000000000000000000000000000000000000000000001"`
	for name, c := range map[string]struct{ text, want string }{
		"no JSON":          {`{`, "line 1, column 1: this is not JSON"},
		"another version":  {`{"version":2,"layers":{},"mapping":{}}`, "unsupported metadata version"},
		"ordered":          {`{"version":1,"layers":{},"mapping":{},"ordered":true}`, "ordered mapping"},
		"an unknown layer": {`{"version":1,"layers":{"a":"A"},"mapping":{` + obj + `:"b"}}`, `mapped to layer "b"`},
		"no checksum":      {`{"version":1,"layers":{"a":"A"},"mapping":{"xyz":"a"}}`, "mapping: "},
		"an object twice": {`{"version":1,"layers":{"a":"A"},"mapping":{` + obj + `:"a",` + obj + `:"a"}}`,
			`line 1, column 115: mapping: "00000`},
		"a layer twice": {`{"version":1,"layers":{"a":"A","a":"B"},"mapping":{}}`,
			`line 1, column 32: layers: "a" occurs twice`},
		"the layers twice": {`{"version":1,"layers":{"a":"A"},"layers":{"a":"A"},"mapping":{}}`, "layers: it occurs twice"},
		"a layer without name": {"{\"version\":1,\n\"layers\":{\"a\":null},\"mapping\":{}}",
			"line 2, column 11: layers: a: a string is expected"},
		"layers that are a list": {`{"version":1,"layers":[],"mapping":{}}`,
			"line 1, column 23: layers: an object of strings is expected"},
		"a version that is a word": {`{"version":"1"}`,
			"line 1, column 12: version: a whole number that is not negative is expected, not a string"},
		"an invalid time": {`{"version":1,"created":"yesterday","layers":{},"mapping":{}}`,
			"line 1, column 24: created: a time such as"},
	} {
		_, err := upstream.ParseContentMeta([]byte(c.text))
		if !errors.Is(err, upstream.ErrContentMeta) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrContentMeta that says %q", name, err, c.want)
		}
	}
}

// TestUpstream_ContentMetaOfTwoLayersIsTooFew checks that two layers are refused: the packing needs two more layers
// than the file has.
func TestUpstream_ContentMetaOfTwoLayersIsTooFew(t *testing.T) {
	t.Parallel()
	meta, err := upstream.ParseContentMeta([]byte(`{"version":1,"layers":{"a":"A","unpackaged":"Rest"},"mapping":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := meta.Mapping.Split(content(), nil); !errors.Is(err, upstream.ErrTooFewLayers) {
		t.Errorf("got %v, want ErrTooFewLayers", err)
	}
}

func FuzzParseContentMeta(f *testing.F) {
	f.Add([]byte(`{"version":1,"created":"2026-02-03T04:05:06Z","labels":{"a":"b"},"layers":{"a":"A"},` +
		`"mapping":{"0000000000000000000000000000000000000000000000000000000000000001":"a"},"ordered":false}`))
	f.Add([]byte(`{"components":[{"identifier":"a"}],"map":{},"specific":{"a":[["/x","00"]]}}`))
	for _, seed := range testfiles.Read(f, "../../encapsulate/testdata/upstream/meta1.*.json") {
		f.Add(seed.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if meta, err := upstream.ParseContentMeta(data); err == nil {
			_, _ = meta.Mapping.Split(nil, nil)
		}
		_, _ = upstream.ParseLibraryContentMeta(data)
	})
}
