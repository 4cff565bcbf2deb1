package packing_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ostree-ext/ostree-ext-go/chunking/packing"
)

func priorOf(layers ...[]string) []packing.PriorLayer {
	prior := make([]packing.PriorLayer, len(layers))
	for i, l := range layers {
		prior[i].Components = l
	}
	return prior
}

func stable(ids ...string) []packing.Component {
	var components []packing.Component
	for _, id := range ids {
		components = append(components, packing.Component{ID: id, Size: 1 << 20, Changes: packing.PerUpdate(0.1)})
	}
	return components
}

func change(components []packing.Component, ids ...string) []packing.Component {
	for i := range components {
		components[i].Changed = components[i].Changed || slices.Contains(ids, components[i].ID)
	}
	return components
}

func kept(plan *packing.Plan) [][]string {
	var layers [][]string
	for _, l := range plan.Layers {
		if l.Kept {
			layers = append(layers, l.Components)
		}
	}
	return layers
}

func TestUnchangedLayersOfThePriorImageAreKept(t *testing.T) {
	t.Parallel()
	before := [][]string{{"d", "f"}, {"a", "b", "c"}, {"e"}}
	for _, test := range []struct {
		name       string
		components []packing.Component
		prior      []packing.PriorLayer
		layers     int
		want       [][]string // kept
		others     [][]string
	}{
		{
			name: "nothing changed", components: stable("a", "b", "c", "d", "e", "f"), prior: priorOf(before...), layers: 5,
			want: before,
		},
		{
			name: "one changed", components: change(stable("a", "b", "c", "d", "e", "f"), "b"),
			prior: priorOf(before...), layers: 3,
			want: [][]string{{"d", "f"}, {"e"}}, others: [][]string{{"a", "b", "c"}},
		},
		{
			name: "what changed is packed anew", components: change(stable("a", "b", "c", "d", "e", "f"), "b", "d"),
			prior: priorOf(before...), layers: 6,
			want: [][]string{{"e"}}, others: [][]string{{"a"}, {"b"}, {"c"}, {"d"}, {"f"}},
		},
		{
			name: "one is gone", components: stable("a", "b", "c", "d", "e"), prior: priorOf(before...), layers: 3,
			want: [][]string{{"a", "b", "c"}, {"e"}}, others: [][]string{{"d"}},
		},
		{
			name: "a new one goes to a free layer", components: stable("a", "b", "c", "d", "e", "f", "g"),
			prior: priorOf(before...), layers: 4, want: before, others: [][]string{{"g"}},
		},
		{
			name: "a new one opens the cheapest layer", components: stable("a", "b", "c", "d", "e", "f", "g"),
			prior: priorOf(before...), layers: 3,
			want: [][]string{{"d", "f"}, {"a", "b", "c"}}, others: [][]string{{"e", "g"}},
		},
		{
			name: "fewer layers than before", components: stable("a", "b", "c", "d", "e", "f"),
			prior: priorOf(before...), layers: 2,
			want: [][]string{{"a", "b", "c"}}, others: [][]string{{"d", "e", "f"}},
		},
		{
			name: "not reproduced", components: stable("a", "b", "c", "d", "e", "f"),
			prior: []packing.PriorLayer{
				{Components: []string{"a", "b", "c"}, Dirty: true}, {Components: []string{"d", "e", "f"}},
			},
			layers: 2,
			want:   [][]string{{"d", "e", "f"}}, others: [][]string{{"a", "b", "c"}},
		},
		{
			name: "one component in two layers", components: stable("a", "b", "c"),
			prior: priorOf([]string{"a", "b"}, []string{"b", "c"}), layers: 2,
			want: [][]string{{"a", "b"}}, others: [][]string{{"c"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			plan := pack(t, test.components, packing.Params{MaxLayers: test.layers, Prior: test.prior})
			if diff := cmp.Diff(test.want, kept(plan)); diff != "" {
				t.Errorf("kept layers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.others, layersOf(plan)[len(test.want):], cmp.Comparer(slices.Equal[[]string])); diff != "" {
				if len(test.others) > 0 || len(plan.Layers) > len(test.want) {
					t.Errorf("other layers (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestALayerForAnExclusiveComponentIsMadeByOpeningAnother(t *testing.T) {
	t.Parallel()
	components := append(stable("a", "b", "c"), packing.Component{ID: "pin", Size: 1 << 20, Exclusive: true})
	plan := pack(t, components, packing.Params{MaxLayers: 3, Prior: priorOf([]string{"a"}, []string{"b"}, []string{"c"})})
	if !slices.ContainsFunc(layersOf(plan), func(l []string) bool { return slices.Equal(l, []string{"pin"}) }) {
		t.Errorf("no layer for the exclusive component: %q", layersOf(plan))
	}
	if plan.MergedExclusive || len(kept(plan)) != 1 {
		t.Errorf("layers %q, want one kept, and two components together", layersOf(plan))
	}
}

// Whatever the input, the layers whose members are all there and unchanged stay, as long as there is room; and what is
// called kept is one of them.
func TestKeptLayersAreExactlyTheCleanOnes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		components, params := anyInput(t)
		params.Rebalance = packing.RebalanceNever
		params.MaxLayers = len(components) + 1
		for i := range components {
			components[i].Exclusive = false
		}
		var want [][]string
		seen := map[string]bool{}
		for _, l := range params.Prior {
			clean, members := !l.Dirty && len(l.Components) > 0, map[string]bool{}
			for _, id := range l.Components {
				i := slices.IndexFunc(components, func(c packing.Component) bool { return c.ID == id })
				clean = clean && i >= 0 && !components[i].Changed && !seen[id]
				members[id] = true
			}
			var layer []string
			for id := range members {
				seen[id] = true
				layer = append(layer, id)
			}
			if slices.Sort(layer); clean {
				want = append(want, layer)
			}
		}
		if diff := cmp.Diff(want, kept(pack(t, components, params))); diff != "" {
			t.Fatalf("kept layers (-want +got):\n%s", diff)
		}
	})
}

// overloaded is a prior image whose first layer has a large stable and a small busy member, as after a bad start.
func overloaded() ([]packing.Component, []packing.PriorLayer) {
	components := []packing.Component{
		{ID: "firmware", Size: 100 << 20, Changes: packing.PerUpdate(0.01)},
		{ID: "nightly", Size: 1 << 20, Changes: packing.PerUpdate(0.9)},
		{ID: "words", Size: 1 << 20, Changes: packing.PerUpdate(0.01)},
	}
	return components, priorOf([]string{"firmware", "nightly"}, []string{"words"})
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
			components, prior := overloaded()
			plan := pack(t, components, packing.Params{
				MaxLayers: 2, Prior: prior, Rebalance: test.policy, Updates: test.updates,
			})
			if diff := cmp.Diff(test.want, layersOf(plan)); diff != "" {
				t.Errorf("layers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPlanFromScratchKeepsWhatComesOutEqual(t *testing.T) {
	t.Parallel()
	components, _ := fedora(t, 16)
	first := pack(t, components, packing.Params{MaxLayers: 64})
	again := pack(t, components, packing.Params{
		MaxLayers: 64, Prior: priorOf(layersOf(first)...), Rebalance: packing.RebalanceAlways,
	})
	if diff := cmp.Diff(layersOf(first), kept(again)); diff != "" {
		t.Errorf("kept layers (-want +got):\n%s", diff)
	}
}
