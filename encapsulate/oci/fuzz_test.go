package oci_test

import (
	"encoding/json"
	"os"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

func FuzzImage(f *testing.F) {
	for _, tag := range []string{"single1", "k5-1"} {
		m, err := os.ReadFile("testdata/manifest-" + tag + ".json")
		if err != nil {
			f.Fatal(err)
		}
		c, err := os.ReadFile("testdata/config-" + tag + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m, c)
	}
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		_, _ = oci.FromDocument(manifest)
		var m ocispec.Manifest
		if json.Unmarshal(manifest, &m) != nil {
			return
		}
		img, err := oci.New(oci.Document{Raw: manifest}, m, config, nil)
		if err != nil {
			return
		}
		l, err := img.CommitLayers()
		if err != nil {
			return
		}
		if n := 1 + len(l.Chunks) + len(l.Derived); n != len(m.Layers) {
			t.Errorf("%d layers became %d", len(m.Layers), n)
		}
	})
}
