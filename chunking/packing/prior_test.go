package packing_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ostree-ext/ostree-ext-go/chunking/packing"
)

func priorOf(bins ...[]string) []packing.PriorBin {
	prior := make([]packing.PriorBin, len(bins))
	for i, l := range bins {
		prior[i].Items = l
	}
	return prior
}

func stable(ids ...string) []packing.Item {
	var items []packing.Item
	for _, id := range ids {
		items = append(items, packing.Item{ID: id, Size: 1 << 20, Changes: packing.PerUpdate(0.1)})
	}
	return items
}

func change(items []packing.Item, ids ...string) []packing.Item {
	for i := range items {
		items[i].Changed = items[i].Changed || slices.Contains(ids, items[i].ID)
	}
	return items
}

func kept(result *packing.Result) [][]string {
	var bins [][]string
	for _, l := range result.Bins {
		if l.Kept {
			bins = append(bins, l.Items)
		}
	}
	return bins
}

func TestUnchangedLayersOfThePriorImageAreKept(t *testing.T) {
	t.Parallel()
	before := [][]string{{"d", "f"}, {"a", "b", "c"}, {"e"}}
	for _, test := range []struct {
		name   string
		items  []packing.Item
		prior  []packing.PriorBin
		bins   int
		want   [][]string // kept
		others [][]string
	}{
		{
			name: "nothing changed", items: stable("a", "b", "c", "d", "e", "f"), prior: priorOf(before...), bins: 5,
			want: before,
		},
		{
			name: "one changed", items: change(stable("a", "b", "c", "d", "e", "f"), "b"),
			prior: priorOf(before...), bins: 3,
			want: [][]string{{"d", "f"}, {"e"}}, others: [][]string{{"a", "b", "c"}},
		},
		{
			name: "what changed is packed again", items: change(stable("a", "b", "c", "d", "e", "f"), "b", "d"),
			prior: priorOf(before...), bins: 6,
			want: [][]string{{"e"}}, others: [][]string{{"a"}, {"b"}, {"c"}, {"d"}, {"f"}},
		},
		{
			name: "one is gone", items: stable("a", "b", "c", "d", "e"), prior: priorOf(before...), bins: 3,
			want: [][]string{{"a", "b", "c"}, {"e"}}, others: [][]string{{"d"}},
		},
		{
			name: "a new one goes to a free layer", items: stable("a", "b", "c", "d", "e", "f", "g"),
			prior: priorOf(before...), bins: 4, want: before, others: [][]string{{"g"}},
		},
		{
			name: "a new one opens the cheapest layer", items: stable("a", "b", "c", "d", "e", "f", "g"),
			prior: priorOf(before...), bins: 3,
			want: [][]string{{"d", "f"}, {"a", "b", "c"}}, others: [][]string{{"e", "g"}},
		},
		{
			name: "fewer layers than before", items: stable("a", "b", "c", "d", "e", "f"),
			prior: priorOf(before...), bins: 2,
			want: [][]string{{"a", "b", "c"}}, others: [][]string{{"d", "e", "f"}},
		},
		{
			name: "not reproduced", items: stable("a", "b", "c", "d", "e", "f"),
			prior: []packing.PriorBin{
				{Items: []string{"a", "b", "c"}, Dirty: true}, {Items: []string{"d", "e", "f"}},
			},
			bins: 2,
			want: [][]string{{"d", "e", "f"}}, others: [][]string{{"a", "b", "c"}},
		},
		{
			name: "one component in two layers", items: stable("a", "b", "c"),
			prior: priorOf([]string{"a", "b"}, []string{"b", "c"}), bins: 2,
			want: [][]string{{"a", "b"}}, others: [][]string{{"c"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			result := pack(t, test.items, packing.Params{MaxBins: test.bins, Prior: test.prior})
			if diff := cmp.Diff(test.want, kept(result)); diff != "" {
				t.Errorf("kept layers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.others, binsOf(result)[len(test.want):], cmp.Comparer(slices.Equal[[]string])); diff != "" {
				if len(test.others) > 0 || len(result.Bins) > len(test.want) {
					t.Errorf("other layers (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestALayerForAnExclusiveComponentIsMadeByOpeningAnother(t *testing.T) {
	t.Parallel()
	items := append(stable("a", "b", "c"), packing.Item{ID: "pin", Size: 1 << 20, Exclusive: true})
	result := pack(t, items, packing.Params{MaxBins: 3, Prior: priorOf([]string{"a"}, []string{"b"}, []string{"c"})})
	if !slices.ContainsFunc(binsOf(result), func(l []string) bool { return slices.Equal(l, []string{"pin"}) }) {
		t.Errorf("no layer for the exclusive component: %q", binsOf(result))
	}
	if result.MergedExclusive || len(kept(result)) != 1 {
		t.Errorf("layers %q, want one kept, and two components together", binsOf(result))
	}
}

// Components that all want a layer of their own are as stable as others if they cannot have it.
func TestAnUpdateOfOneOfTooManyExclusiveComponentsKeepsTheOtherLayers(t *testing.T) {
	t.Parallel()
	items := stable("a", "b", "c", "d", "e", "f", "g", "h", "database")
	for i := range items[:8] {
		items[i].Exclusive = true
	}
	params := packing.Params{MaxBins: 4}
	first := pack(t, items, params)
	params.Prior = priorOf(binsOf(first)...)
	second := pack(t, change(items, "c"), params)
	if !first.MergedExclusive || !second.MergedExclusive || len(second.Bins) != 4 || len(kept(second)) != 3 {
		t.Errorf("layers %q after %q, want three of four kept", binsOf(second), binsOf(first))
	}
}

// Bins whose members all exist and are unchanged stay, as long as there is room, whatever the input is. Only these are
// marked as kept.
func TestKeptLayersAreExactlyTheCleanOnes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		items, params := anyInput(t)
		params.Rebalance = packing.RebalanceNever
		params.MaxBins = len(items) + 1
		for i := range items {
			items[i].Exclusive = false
		}
		var want [][]string
		seen := map[string]bool{}
		for _, l := range params.Prior {
			clean, members := !l.Dirty && len(l.Items) > 0, map[string]bool{}
			for _, id := range l.Items {
				i := slices.IndexFunc(items, func(c packing.Item) bool { return c.ID == id })
				clean = clean && i >= 0 && !items[i].Changed && !seen[id]
				members[id] = true
			}
			var bin []string
			for id := range members {
				seen[id] = true
				bin = append(bin, id)
			}
			if slices.Sort(bin); clean {
				want = append(want, bin)
			}
		}
		if diff := cmp.Diff(want, kept(pack(t, items, params))); diff != "" {
			t.Fatalf("kept layers (-want +got):\n%s", diff)
		}
	})
}

// overloaded is a prior image whose first bin has a large stable and a small busy member, as after a bad start.
func overloaded() ([]packing.Item, []packing.PriorBin) {
	items := []packing.Item{
		{ID: "firmware", Size: 100 << 20, Changes: packing.PerUpdate(0.01)},
		{ID: "nightly", Size: 1 << 20, Changes: packing.PerUpdate(0.9)},
		{ID: "words", Size: 1 << 20, Changes: packing.PerUpdate(0.01)},
	}
	return items, priorOf([]string{"firmware", "nightly"}, []string{"words"})
}

func TestRebalancingOpensUnchangedLayersWhereItPays(t *testing.T) {
	t.Parallel()
	apart := [][]string{{"firmware"}, {"nightly", "words"}}
	together := [][]string{{"firmware", "nightly"}, {"words"}}
	for _, test := range []struct {
		policy  packing.Rebalance
		updates int
		want    [][]string
	}{
		{packing.RebalanceNever, 12, together},
		{packing.RebalanceAuto, 12, apart},
		{packing.RebalanceAuto, 1, together},
		{packing.RebalanceAlways, 1, apart},
	} {
		t.Run(fmt.Sprintf("policy %d over %d updates", test.policy, test.updates), func(t *testing.T) {
			t.Parallel()
			items, prior := overloaded()
			result := pack(t, items, packing.Params{
				MaxBins: 2, Prior: prior, Rebalance: test.policy, Updates: test.updates,
			})
			if diff := cmp.Diff(test.want, binsOf(result)); diff != "" {
				t.Errorf("layers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPlanFromScratchKeepsWhatComesOutEqual(t *testing.T) {
	t.Parallel()
	items, _ := fedora(t, 16)
	first := pack(t, items, packing.Params{MaxBins: 64})
	again := pack(t, items, packing.Params{
		MaxBins: 64, Prior: priorOf(binsOf(first)...), Rebalance: packing.RebalanceAlways,
	})
	if diff := cmp.Diff(binsOf(first), kept(again)); diff != "" {
		t.Errorf("kept layers (-want +got):\n%s", diff)
	}
}
