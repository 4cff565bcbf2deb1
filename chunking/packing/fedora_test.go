package packing_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/chunking/packing"
	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
)

// fedora reads the 396 packages of a Fedora CoreOS image that ostree-ext ships for its own tests. Each gets the chance
// p = 1 − e^(−f/(26·d)) to change in one of 26 updates a year, for f changes in d years; what changes with every
// build has 0.9999.
func fedora(t testing.TB, d float64) (items []packing.Item, chances map[string]float64) {
	t.Helper()
	data := testfiles.Read(t, "../upstream/testdata/fedora-coreos-contentmeta.json.gz")[0].Data
	var list []struct {
		ID        string `json:"identifier"`
		Frequency uint32 `json:"change_frequency"`
		Size      uint64 `json:"size"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	chances = make(map[string]float64, len(list))
	for _, p := range list {
		chance := 1 - math.Exp(-float64(p.Frequency)/(26*d))
		if p.Frequency == math.MaxUint32 {
			chance = 0.9999
		}
		items = append(items, packing.Item{ID: p.ID, Size: p.Size, Changes: packing.PerUpdate(chance)})
		chances[p.ID] = chance
	}
	return items, chances
}

// expected computes the bytes of an update from the lists alone, in floating point and independent of the package.
func expected(items []packing.Item, chances map[string]float64, bins [][]string) float64 {
	size := make(map[string]uint64, len(items))
	for _, c := range items {
		size[c.ID] = c.Size
	}
	total := 0.0
	for _, bin := range bins {
		unchanged, bytes := 1.0, uint64(0)
		for _, id := range bin {
			unchanged *= 1 - chances[id]
			bytes += size[id]
		}
		total += float64(bytes) * (1 - unchanged)
	}
	return total
}

func bound(items []packing.Item, chances map[string]float64) float64 {
	total := 0.0
	for _, c := range items {
		total += float64(c.Size) * chances[c.ID]
	}
	return total
}

func binsOf(result *packing.Result) [][]string {
	bins := make([][]string, len(result.Bins))
	for i, l := range result.Bins {
		bins[i] = l.Items
	}
	return bins
}

// These are the expected bytes of an update of the Fedora list, divided by those with one bin for each package. A plain
// greedy merge with relocation reaches the column greedy; upstream's and chunkah's packings are far above (1.07 to
// 2.90).
func TestFedoraListIsPackedBetterThanByGreedyMerging(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		years  float64
		bins   int
		greedy float64
		want   float64
	}{
		{4, 16, 1.454, 1.4527}, {4, 32, 1.293, 1.2899}, {4, 64, 1.139, 1.1380}, {4, 100, 1.073, 1.0718},
		{16, 16, 1.856, 1.8475}, {16, 32, 1.416, 1.4136}, {16, 64, 1.161, 1.1579}, {16, 100, 1.068, 1.0667},
		{64, 16, 1.628, 1.6218}, {64, 32, 1.259, 1.2546}, {64, 64, 1.079, 1.0779}, {64, 100, 1.031, 1.0303},
	} {
		t.Run(fmt.Sprintf("%v years in %d layers", test.years, test.bins), func(t *testing.T) {
			t.Parallel()
			items, chances := fedora(t, test.years)
			result, err := packing.Pack(items, packing.Params{MaxBins: test.bins})
			if err != nil {
				t.Fatal(err)
			}
			if len(result.Bins) > test.bins {
				t.Errorf("%d layers, more than %d", len(result.Bins), test.bins)
			}
			got := expected(items, chances, binsOf(result)) / bound(items, chances)
			if math.Abs(got-test.want) > 0.00005 {
				t.Errorf("%.5f × the bound, was %.4f: plans have changed", got, test.want)
			}
			if got > test.greedy {
				t.Errorf("%.4f × the bound, greedy merging has %.3f", got, test.greedy)
			}
			if math.Abs(got-result.Expected/result.Bound) > 1e-6 {
				t.Errorf("the plan says %.7f, its layers %.7f", result.Expected/result.Bound, got)
			}
		})
	}
}

// The default overhead keeps the packer from caring about kilobytes; it must not cost bytes that anyone would notice.
func TestDefaultOverheadStaysBelowGreedyMerging(t *testing.T) {
	t.Parallel()
	items, chances := fedora(t, 16)
	for bins, greedy := range map[int]float64{16: 1.856, 32: 1.416, 64: 1.161, 100: 1.068} {
		result, err := packing.Pack(items, packing.Params{MaxBins: bins, Overhead: packing.DefaultOverhead})
		if err != nil {
			t.Fatal(err)
		}
		if got := expected(items, chances, binsOf(result)) / bound(items, chances); got > greedy {
			t.Errorf("%d layers: %.4f × the bound, greedy merging has %.3f", bins, got, greedy)
		}
	}
}
