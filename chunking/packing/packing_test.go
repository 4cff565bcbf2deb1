package packing_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ostree-ext/ostree-ext-go/chunking/packing"
)

// anyItems draws items with every kind of changes and sizes from 0 to gigabytes. Some are exclusive.
func anyItems(t *rapid.T) []packing.Item {
	n := rapid.IntRange(0, 40).Draw(t, "components")
	items := make([]packing.Item, n)
	for i := range items {
		c := &items[i]
		c.ID = fmt.Sprintf("c%02d", i)
		c.Size = rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(1, 1<<16), rapid.Uint64Range(1, 1<<32)).Draw(t, "size")
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			c.Changes = packing.PerUpdate(rapid.Float64Range(0, 1).Draw(t, "probability"))
		case 1:
			c.Changes = packing.PerDay(rapid.Float64Range(0, 2).Draw(t, "rate"))
		case 2:
			days := rapid.SliceOfN(rapid.IntRange(0, 800), 0, 20).Draw(t, "days")
			c.Changes = packing.History(packing.RateOfDays(len(days), 730), days)
		}
		c.Exclusive = rapid.IntRange(0, 9).Draw(t, "exclusive") == 0
	}
	return items
}

// anyPrior draws bins with some of the items and some that are gone. A few are in two bins.
func anyPrior(t *rapid.T, n int) []packing.PriorBin {
	prior := make([]packing.PriorBin, rapid.IntRange(0, 12).Draw(t, "prior layers"))
	for i := range prior {
		prior[i].Dirty = rapid.IntRange(0, 5).Draw(t, "dirty") == 0
		for _, c := range rapid.SliceOfN(rapid.IntRange(0, n+3), 0, 8).Draw(t, "members") {
			prior[i].Items = append(prior[i].Items, fmt.Sprintf("c%02d", c))
		}
	}
	return prior
}

func anyInput(t *rapid.T) ([]packing.Item, packing.Params) {
	items := anyItems(t)
	for i := range items {
		items[i].Changed = rapid.IntRange(0, 4).Draw(t, "changed") == 0
	}
	return items, packing.Params{
		MaxBins:  rapid.IntRange(1, 20).Draw(t, "layers"),
		Overhead: rapid.SampledFrom([]uint64{0, packing.DefaultOverhead}).Draw(t, "overhead"),
		Prior:    anyPrior(t, len(items)),
		Rebalance: rapid.SampledFrom([]packing.Rebalance{
			packing.RebalanceNever, packing.RebalanceAuto, packing.RebalanceAlways,
		}).Draw(t, "rebalance"),
	}
}

func pack(t interface {
	Helper()
	Fatal(...any)
}, items []packing.Item, params packing.Params) *packing.Result {
	t.Helper()
	result, err := packing.Pack(items, params)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestEveryComponentIsInExactlyOneOfAtMostTheAllowedLayers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		items, params := anyInput(t)
		result := pack(t, items, params)
		if len(result.Bins) > params.MaxBins {
			t.Fatalf("%d layers, at most %d allowed", len(result.Bins), params.MaxBins)
		}
		size := map[string]uint64{}
		for _, c := range items {
			size[c.ID] = c.Size
		}
		for _, l := range result.Bins {
			if len(l.Items) == 0 || !slices.IsSorted(l.Items) {
				t.Fatalf("members %q", l.Items)
			}
			var sum uint64
			for _, id := range l.Items {
				s, ok := size[id]
				if !ok {
					t.Fatalf("%q occurs twice in the plan or is not in the input", id)
				}
				sum += s
				delete(size, id)
			}
			if sum != l.Size || l.Probability < 0 || l.Probability > 1 {
				t.Fatalf("layer of %d bytes says %d; probability %v", sum, l.Size, l.Probability)
			}
		}
		if len(size) > 0 {
			t.Fatalf("not in the plan: %v", size)
		}
	})
}

func TestExclusiveComponentsAreAloneUnlessThePlanSaysSo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		items, params := anyInput(t)
		result := pack(t, items, params)
		exclusive := map[string]bool{}
		for _, c := range items {
			exclusive[c.ID] = c.Exclusive
		}
		for _, l := range result.Bins {
			if len(l.Items) > 1 && slices.ContainsFunc(l.Items, func(id string) bool { return exclusive[id] }) &&
				!result.MergedExclusive {
				t.Fatalf("%q has an exclusive member", l.Items)
			}
		}
	})
}

func TestThePlanDoesNotDependOnTheOrderOfTheInput(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		items, params := anyInput(t)
		want := pack(t, items, params)
		shuffled := rapid.Permutation(items).Draw(t, "order")
		for i := range params.Prior {
			params.Prior[i].Items = rapid.Permutation(params.Prior[i].Items).Draw(t, "order of members")
		}
		if diff := cmp.Diff(want, pack(t, shuffled, params)); diff != "" {
			t.Fatalf("shuffled (-first +second):\n%s", diff)
		}
	})
}

func TestTheFedoraPlanDoesNotDependOnTheOrderOfTheInput(t *testing.T) {
	t.Parallel()
	items, _ := fedora(t, 16)
	want := pack(t, items, packing.Params{MaxBins: 64})
	r := rand.New(rand.NewPCG(1, 1))
	for range 3 {
		r.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		if diff := cmp.Diff(want, pack(t, items, packing.Params{MaxBins: 64})); diff != "" {
			t.Fatalf("shuffled (-first +second):\n%s", diff)
		}
	}
}

// greedy merges the cheapest pair until k bins are left, in floating point.
func greedy(items []packing.Item, chances map[string]float64, k int) [][]string {
	bins := make([][]string, len(items))
	for i, c := range items {
		bins[i] = []string{c.ID}
	}
	cost := func(members ...string) float64 { return expected(items, chances, [][]string{members}) }
	for len(bins) > k {
		a, b, least := 0, 0, math.Inf(1)
		for i := range bins {
			for j := i + 1; j < len(bins); j++ {
				both := slices.Concat(bins[i], bins[j])
				if more := cost(both...) - cost(bins[i]...) - cost(bins[j]...); more < least {
					a, b, least = i, j, more
				}
			}
		}
		bins[a] = append(bins[a], bins[b]...)
		bins = slices.Delete(bins, b, b+1)
	}
	return bins
}

func TestAFreshPlanNeverCostsMoreThanGreedyMerging(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		items, chances := smallList(r, rapid.IntRange(1, 24).Draw(t, "components"))
		k := rapid.IntRange(1, 12).Draw(t, "layers")
		got := expected(items, chances, binsOf(pack(t, items, packing.Params{MaxBins: k})))
		limit := expected(items, chances, greedy(items, chances, k))
		if got > limit*(1+1e-6) {
			t.Fatalf("%.0f bytes, greedy merging has %.0f", got, limit)
		}
	})
}

func TestFewComponentsHaveALayerEachTheStableOnesFirst(t *testing.T) {
	t.Parallel()
	result := pack(t, []packing.Item{
		{ID: "rpm/kernel", Size: 90 << 20, Changes: packing.PerUpdate(0.5)},
		{ID: "rpm/bash", Size: 8 << 20, Changes: packing.PerUpdate(0.1)},
		{ID: "rpm/words", Size: 4 << 20},
	}, packing.Params{MaxBins: 100})
	want := [][]string{{"rpm/words"}, {"rpm/bash"}, {"rpm/kernel"}}
	if diff := cmp.Diff(want, binsOf(result)); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
	if got := result.Expected; math.Abs(got-result.Bound) > 1 || math.Abs(got-45.8*(1<<20)) > 1<<10 {
		t.Errorf("expected %v of bound %v, want 45.8 MiB", got, result.Bound)
	}
}

// The parts of a desktop are released on the same day. They change together, so one bin for them costs nothing.
func TestComponentsThatChangedOnTheSameDaysShareALayer(t *testing.T) {
	t.Parallel()
	release, other := []int{10, 200, 390, 580}, []int{95, 290, 480, 670}
	item := func(id string, days []int) packing.Item {
		return packing.Item{ID: id, Size: 10 << 20, Changes: packing.History(packing.RateOfDays(4, 730), days)}
	}
	result := pack(t, []packing.Item{
		item("a-shell", release), item("b-db", other),
		item("c-desktop", release), item("d-db-tools", other),
	}, packing.Params{MaxBins: 2})
	for _, bin := range binsOf(result) {
		if diff := cmp.Diff([]string{"a-shell", "c-desktop"}, bin); diff != "" && bin[0] == "a-shell" {
			t.Errorf("layer (-want +got):\n%s", diff)
		}
	}
}

func TestInputWithoutMeaningIsRefused(t *testing.T) {
	t.Parallel()
	valid := packing.Params{MaxBins: 4}
	one := func(c packing.Item) []packing.Item { return []packing.Item{c} }
	for _, test := range []struct {
		name   string
		items  []packing.Item
		params packing.Params
		want   string
	}{
		{"no layers", nil, packing.Params{}, "layer limit"},
		{"no name", one(packing.Item{}), valid, "no name"},
		{"twice", []packing.Item{{ID: "a"}, {ID: "b"}, {ID: "a"}}, valid, `"a" is listed twice`},
		{"too large", one(packing.Item{ID: "a", Size: math.MaxUint64}), valid, "sizes add up"},
		{"probability", one(packing.Item{ID: "a", Changes: packing.PerUpdate(1.1)}), valid, "between 0 and 1"},
		{"not a number", one(packing.Item{ID: "a", Changes: packing.PerDay(math.NaN())}), valid, "below 0"},
		{"future", one(packing.Item{ID: "a", Changes: packing.History(1, []int{-1})}), valid, "reference time"},
		{"horizon", nil, packing.Params{MaxBins: 4, Horizons: []int{0}}, "horizon of 0 days"},
		{"horizons", nil, packing.Params{MaxBins: 4, Horizons: make([]int, 9)}, "9 horizons"},
		{"window", nil, packing.Params{MaxBins: 4, Window: -1}, "window of -1 days"},
		{"overhead", nil, packing.Params{MaxBins: 4, Overhead: 1 << 30}, "overhead"},
		{"updates", nil, packing.Params{MaxBins: 4, Updates: 100}, "100 updates"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := packing.Pack(test.items, test.params)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one that says %q", err, test.want)
			}
		})
	}
}
