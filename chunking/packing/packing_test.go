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

// anyComponents draws components with every kind of change, sizes from nothing to gigabytes, some of them exclusive.
func anyComponents(t *rapid.T) []packing.Component {
	n := rapid.IntRange(0, 40).Draw(t, "components")
	components := make([]packing.Component, n)
	for i := range components {
		c := &components[i]
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
	return components
}

// anyPrior draws layers that hold some of the components and some that are gone, a few of them twice.
func anyPrior(t *rapid.T, n int) []packing.PriorLayer {
	prior := make([]packing.PriorLayer, rapid.IntRange(0, 12).Draw(t, "prior layers"))
	for i := range prior {
		prior[i].Dirty = rapid.IntRange(0, 5).Draw(t, "dirty") == 0
		for _, c := range rapid.SliceOfN(rapid.IntRange(0, n+3), 0, 8).Draw(t, "members") {
			prior[i].Components = append(prior[i].Components, fmt.Sprintf("c%02d", c))
		}
	}
	return prior
}

func anyInput(t *rapid.T) ([]packing.Component, packing.Params) {
	components := anyComponents(t)
	for i := range components {
		components[i].Changed = rapid.IntRange(0, 4).Draw(t, "changed") == 0
	}
	return components, packing.Params{
		MaxLayers: rapid.IntRange(1, 20).Draw(t, "layers"),
		Overhead:  rapid.SampledFrom([]uint64{0, packing.DefaultOverhead}).Draw(t, "overhead"),
		Prior:     anyPrior(t, len(components)),
		Rebalance: rapid.SampledFrom([]packing.Rebalance{
			packing.RebalanceNever, packing.RebalanceAuto, packing.RebalanceAlways,
		}).Draw(t, "rebalance"),
	}
}

func pack(t interface {
	Helper()
	Fatal(...any)
}, components []packing.Component, params packing.Params) *packing.Plan {
	t.Helper()
	plan, err := packing.Pack(components, params)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestEveryComponentIsInExactlyOneOfAtMostTheAllowedLayers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		components, params := anyInput(t)
		plan := pack(t, components, params)
		if len(plan.Layers) > params.MaxLayers {
			t.Fatalf("%d layers, at most %d allowed", len(plan.Layers), params.MaxLayers)
		}
		size := map[string]uint64{}
		for _, c := range components {
			size[c.ID] = c.Size
		}
		for _, l := range plan.Layers {
			if len(l.Components) == 0 || !slices.IsSorted(l.Components) {
				t.Fatalf("members %q", l.Components)
			}
			var sum uint64
			for _, id := range l.Components {
				s, ok := size[id]
				if !ok {
					t.Fatalf("%q is twice in the plan or not in the input", id)
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
		components, params := anyInput(t)
		plan := pack(t, components, params)
		exclusive := map[string]bool{}
		for _, c := range components {
			exclusive[c.ID] = c.Exclusive
		}
		for _, l := range plan.Layers {
			if len(l.Components) > 1 && slices.ContainsFunc(l.Components, func(id string) bool { return exclusive[id] }) &&
				!plan.MergedExclusive {
				t.Fatalf("%q has an exclusive member", l.Components)
			}
		}
	})
}

func TestThePlanDoesNotDependOnTheOrderOfTheInput(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		components, params := anyInput(t)
		want := pack(t, components, params)
		shuffled := rapid.Permutation(components).Draw(t, "order")
		for i := range params.Prior {
			params.Prior[i].Components = rapid.Permutation(params.Prior[i].Components).Draw(t, "order of members")
		}
		if diff := cmp.Diff(want, pack(t, shuffled, params)); diff != "" {
			t.Fatalf("shuffled (-first +second):\n%s", diff)
		}
	})
}

func TestTheFedoraPlanDoesNotDependOnTheOrderOfTheInput(t *testing.T) {
	t.Parallel()
	components, _ := fedora(t, 16)
	want := pack(t, components, packing.Params{MaxLayers: 64})
	r := rand.New(rand.NewPCG(1, 1))
	for range 3 {
		r.Shuffle(len(components), func(i, j int) { components[i], components[j] = components[j], components[i] })
		if diff := cmp.Diff(want, pack(t, components, packing.Params{MaxLayers: 64})); diff != "" {
			t.Fatalf("shuffled (-first +second):\n%s", diff)
		}
	}
}

// greedy merges the cheapest pair until k layers are left, in floating point.
func greedy(components []packing.Component, chances map[string]float64, k int) [][]string {
	layers := make([][]string, len(components))
	for i, c := range components {
		layers[i] = []string{c.ID}
	}
	cost := func(members ...string) float64 { return expected(components, chances, [][]string{members}) }
	for len(layers) > k {
		a, b, least := 0, 0, math.Inf(1)
		for i := range layers {
			for j := i + 1; j < len(layers); j++ {
				both := slices.Concat(layers[i], layers[j])
				if more := cost(both...) - cost(layers[i]...) - cost(layers[j]...); more < least {
					a, b, least = i, j, more
				}
			}
		}
		layers[a] = append(layers[a], layers[b]...)
		layers = slices.Delete(layers, b, b+1)
	}
	return layers
}

func TestAFreshPlanNeverCostsMoreThanGreedyMerging(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		components, chances := smallList(r, rapid.IntRange(1, 24).Draw(t, "components"))
		k := rapid.IntRange(1, 12).Draw(t, "layers")
		got := expected(components, chances, layersOf(pack(t, components, packing.Params{MaxLayers: k})))
		limit := expected(components, chances, greedy(components, chances, k))
		if got > limit*(1+1e-6) {
			t.Fatalf("%.0f bytes, greedy merging has %.0f", got, limit)
		}
	})
}

func TestFewComponentsHaveALayerEachTheStableOnesFirst(t *testing.T) {
	t.Parallel()
	plan := pack(t, []packing.Component{
		{ID: "rpm/kernel", Size: 90 << 20, Changes: packing.PerUpdate(0.5)},
		{ID: "rpm/bash", Size: 8 << 20, Changes: packing.PerUpdate(0.1)},
		{ID: "rpm/words", Size: 4 << 20},
	}, packing.Params{MaxLayers: 100})
	want := [][]string{{"rpm/words"}, {"rpm/bash"}, {"rpm/kernel"}}
	if diff := cmp.Diff(want, layersOf(plan)); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
	if got := plan.Expected; math.Abs(got-plan.Bound) > 1 || math.Abs(got-45.8*(1<<20)) > 1<<10 {
		t.Errorf("expected %v of bound %v, want 45.8 MiB", got, plan.Bound)
	}
}

// Releases of a desktop come out on one day: its parts change together, so one layer for them costs nothing.
func TestComponentsThatChangedOnTheSameDaysShareALayer(t *testing.T) {
	t.Parallel()
	release, other := []int{10, 200, 390, 580}, []int{95, 290, 480, 670}
	component := func(id string, days []int) packing.Component {
		return packing.Component{ID: id, Size: 10 << 20, Changes: packing.History(packing.RateOfDays(4, 730), days)}
	}
	plan := pack(t, []packing.Component{
		component("a-shell", release), component("b-db", other),
		component("c-desktop", release), component("d-db-tools", other),
	}, packing.Params{MaxLayers: 2})
	for _, layer := range layersOf(plan) {
		if diff := cmp.Diff([]string{"a-shell", "c-desktop"}, layer); diff != "" && layer[0] == "a-shell" {
			t.Errorf("layer (-want +got):\n%s", diff)
		}
	}
}

func TestInputWithoutMeaningIsRefused(t *testing.T) {
	t.Parallel()
	valid := packing.Params{MaxLayers: 4}
	one := func(c packing.Component) []packing.Component { return []packing.Component{c} }
	for _, test := range []struct {
		name       string
		components []packing.Component
		params     packing.Params
		want       string
	}{
		{"no layers", nil, packing.Params{}, "layer limit"},
		{"no name", one(packing.Component{}), valid, "no name"},
		{"twice", []packing.Component{{ID: "a"}, {ID: "b"}, {ID: "a"}}, valid, `"a" is listed twice`},
		{"too large", one(packing.Component{ID: "a", Size: math.MaxUint64}), valid, "sizes add up"},
		{"probability", one(packing.Component{ID: "a", Changes: packing.PerUpdate(1.1)}), valid, "between 0 and 1"},
		{"not a number", one(packing.Component{ID: "a", Changes: packing.PerDay(math.NaN())}), valid, "below 0"},
		{"future", one(packing.Component{ID: "a", Changes: packing.History(1, []int{-1})}), valid, "reference time"},
		{"horizon", nil, packing.Params{MaxLayers: 4, Horizons: []int{0}}, "horizon of 0 days"},
		{"horizons", nil, packing.Params{MaxLayers: 4, Horizons: make([]int, 9)}, "9 horizons"},
		{"window", nil, packing.Params{MaxLayers: 4, Window: -1}, "window of -1 days"},
		{"overhead", nil, packing.Params{MaxLayers: 4, Overhead: 1 << 30}, "overhead"},
		{"updates", nil, packing.Params{MaxLayers: 4, Updates: 100}, "100 updates"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := packing.Pack(test.components, test.params)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one that says %q", err, test.want)
			}
		})
	}
}
