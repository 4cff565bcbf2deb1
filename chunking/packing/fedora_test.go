package packing_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/chunking/packing"
)

// fedoraPackage is one of the 396 packages of a Fedora CoreOS image, as ostree-ext ships them for its own tests.
type fedoraPackage struct {
	ID        string `json:"identifier"`
	Frequency uint32 `json:"change_frequency"`
	Size      uint64 `json:"size"`
}

// fedora reads the list and gives each package the chance p = 1 − e^(−f/(26·d)) to change in one of 26 updates a
// year, for f changes in d years; what changes with every build has 0.9999.
func fedora(t testing.TB, d float64) ([]packing.Component, map[string]float64) {
	t.Helper()
	f, err := os.Open("testdata/fedora-coreos-contentmeta.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var list []fedoraPackage
	if err := json.NewDecoder(z).Decode(&list); err != nil {
		t.Fatal(err)
	}
	components := make([]packing.Component, len(list))
	chances := make(map[string]float64, len(list))
	for i, p := range list {
		chance := 1 - math.Exp(-float64(p.Frequency)/(26*d))
		if p.Frequency == math.MaxUint32 {
			chance = 0.9999
		}
		components[i] = packing.Component{ID: p.ID, Size: p.Size, Changes: packing.PerUpdate(chance)}
		chances[p.ID] = chance
	}
	return components, chances
}

// excess computes the expected bytes of an update over the bound, from the plan's lists alone and in floating point.
func excess(components []packing.Component, chances map[string]float64, plan *packing.Plan) float64 {
	size := map[string]uint64{}
	bound := 0.0
	for _, c := range components {
		size[c.ID] = c.Size
		bound += float64(c.Size) * chances[c.ID]
	}
	expected := 0.0
	for _, l := range plan.Layers {
		unchanged, bytes := 1.0, uint64(0)
		for _, id := range l.Components {
			unchanged *= 1 - chances[id]
			bytes += size[id]
		}
		expected += float64(bytes) * (1 - unchanged)
	}
	return expected / bound
}

func TestFedoraList(t *testing.T) {
	t.Parallel()
	for _, d := range []float64{4, 16, 64} {
		components, chances := fedora(t, d)
		for _, k := range []int{16, 32, 64, 100} {
			for _, o := range []uint64{0, 64 << 10} {
				plan, err := packing.Pack(components, packing.Params{MaxLayers: k, Overhead: o, Horizons: []int{1}})
				if err != nil {
					t.Fatal(err)
				}
				fmt.Printf("d=%v k=%d o=%d %.5f (%.5f) layers=%d\n", d, k, o, excess(components, chances, plan), plan.Expected/plan.Bound, len(plan.Layers))
			}
		}
	}
}
