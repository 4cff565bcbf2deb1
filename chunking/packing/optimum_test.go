package packing_test

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/chunking/packing"
)

// optimum returns the least expected download of any partition into at most k bins. It uses dynamic programming over
// all sets of items: 3ⁿ steps for each bin.
func optimum(items []packing.Item, chances map[string]float64, k int) float64 {
	n := len(items)
	cost := make([]float64, 1<<n)
	for set := range cost {
		unchanged, bytes := 1.0, 0.0
		for rest := uint(set); rest != 0; rest &= rest - 1 {
			c := items[bits.TrailingZeros(rest)]
			unchanged *= 1 - chances[c.ID]
			bytes += float64(c.Size)
		}
		cost[set] = bytes * (1 - unchanged)
	}
	best := cost
	for range k - 1 {
		next := make([]float64, 1<<n)
		for set := 1; set < 1<<n; set++ {
			least := cost[set]
			lowest := set & -set // in the bin that is split off, so that each partition is seen once
			rest := set &^ lowest
			for others := rest; others > 0; {
				others = (others - 1) & rest
				least = min(least, cost[others|lowest]+best[rest&^others])
			}
			next[set] = least
		}
		best = next
	}
	return best[1<<n-1]
}

// smallList returns n random items like those of real systems, with sizes and rates over several orders of magnitude.
func smallList(r *rand.Rand, n int) (items []packing.Item, chances map[string]float64) {
	chances = map[string]float64{}
	for i := range n {
		id := fmt.Sprintf("c%02d", i)
		chances[id] = 1 - math.Exp(-math.Exp(1.5*r.NormFloat64()-2))
		items = append(items, packing.Item{
			ID: id, Size: uint64(math.Exp(2*r.NormFloat64() + 14)), Changes: packing.PerUpdate(chances[id]),
		})
	}
	return items, chances
}

func TestSmallListsArePackedAtTheOptimum(t *testing.T) {
	t.Parallel()
	const lists, n = 60, 11
	r := rand.New(rand.NewPCG(4, 11))
	var worst, sum float64
	exact, all := 0, 0
	for range lists {
		items, chances := smallList(r, n)
		for _, k := range []int{2, 3, 5, 7} {
			ratio := overOptimum(t, items, chances, k)
			worst, sum, all = max(worst, ratio), sum+ratio, all+1
			if ratio < 1+1e-6 {
				exact++
			}
		}
	}
	t.Logf("%d of %d at the optimum; mean %.5f, worst %.5f times it", exact, all, sum/float64(all), worst)
	if exact < all {
		t.Errorf("%d of %d at the optimum, worst %.5f times it", exact, all, worst)
	}
}

func TestLargestFedoraPackagesArePackedAtTheOptimum(t *testing.T) {
	t.Parallel()
	for _, years := range []float64{4, 16, 64} {
		items, chances := fedora(t, years)
		slices.SortFunc(items, func(a, b packing.Item) int { return int(b.Size) - int(a.Size) })
		for k := 2; k <= 8; k += 2 {
			if ratio := overOptimum(t, items[:13], chances, k); ratio > 1+1e-6 {
				t.Errorf("d = %v, %d layers: %.5f times the optimum", years, k, ratio)
			}
		}
	}
}

func overOptimum(t *testing.T, items []packing.Item, chances map[string]float64, k int) float64 {
	t.Helper()
	result, err := packing.Pack(items, packing.Params{MaxBins: k})
	if err != nil {
		t.Fatal(err)
	}
	ratio := expected(items, chances, binsOf(result)) / optimum(items, chances, k)
	if ratio < 1-1e-6 {
		t.Fatalf("%d layers: %.7f times the optimum: the optimum is wrong", k, ratio)
	}
	return ratio
}
