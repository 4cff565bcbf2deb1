package container

import (
	"encoding/json"
	"os"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func FuzzLayout(f *testing.F) {
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
		var m ocispec.Manifest
		if json.Unmarshal(manifest, &m) != nil {
			return
		}
		c, err := parseConfig(config)
		if err != nil {
			return
		}
		l, err := layoutOf(&m, c)
		if err != nil {
			return
		}
		if n := 1 + len(l.chunks) + l.derived; n != len(m.Layers) {
			t.Errorf("%d layers became %d", len(m.Layers), n)
		}
	})
}
