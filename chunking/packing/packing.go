// Package packing decides which components share a layer, so that an update of the image is expected to download
// little. It knows nothing of files, images or package managers: components come in as sizes and chances to change,
// a plan goes out as lists of component names.
//
// What is minimised is the expected download of one update
//
//	Σ over layers of (bytes + overhead) · P(at least one member changes)
//
// under the limit on the number of layers. A layer of changed content is fetched whole, so a large member must not
// share a layer with one that changes often, while many small ones may.
//
// Without a prior image two plans are made, one from an optimal division of the components ordered by chance per byte,
// one by merging the cheapest pair again and again. Both are improved by moving, exchanging and dividing until nothing
// gains, and the better one is taken. Short lists are then disturbed and improved again, which brings those of a dozen
// components to the optimum.
//
// With a prior image its unchanged layers stay as they are, byte for byte, and only the members of the others are
// arranged anew: their bytes have to be fetched anyway, so no client can lose by that. Plans from scratch differ much
// after small changes; whoever can give the prior image should.
//
// All costs are integers, computed in the same way on every architecture, and every tie is decided by component names:
// the same components give the same plan in whatever order and wherever they are given.
package packing

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits on what a plan is made for. They are far above any image and keep sums of sizes and rates within 64 bits.
const (
	MaxComponents = 1 << 20
	MaxTotalSize  = 1 << 46
)

// DefaultOverhead is the price in bytes of one more layer to fetch: a request, tar padding, an entry in the manifest.
const DefaultOverhead = 64 << 10

// Component is a set of files that change together.
type Component struct {
	// ID names the component in every build; it has no version in it. It must not be empty and is unique.
	ID string
	// Size is what its content adds to a layer, in bytes.
	Size uint64
	// Changes says how often its content changes. The zero value never changes.
	Changes Changes
	// Changed says that its content differs from that in the prior image. A component that no prior layer has needs no
	// mark.
	Changed bool
	// Exclusive asks for a layer that holds nothing else.
	Exclusive bool
}

// Params says what a plan is for. Only MaxLayers must be set.
type Params struct {
	// MaxLayers is the limit on the number of layers, at least 1.
	MaxLayers int
	// Horizons are the spans of days between two updates of a host that the plan is made for, with equal weight. None
	// means 1, 7, 14 and 30. Components with a probability per update count the same at each.
	Horizons []int
	// Window is the span of days before the reference time that histories of changes cover. Zero means 730.
	Window int
	// Overhead is added to the bytes of each layer; see DefaultOverhead.
	Overhead uint64
	// Prior lists the layers of the image that hosts have now, in their order. None means a plan from scratch.
	Prior []PriorLayer
	// Rebalance says whether unchanged layers of the prior image may be opened for a better plan.
	Rebalance Rebalance
	// Updates is the number of updates over which opening an unchanged layer has to pay under RebalanceAuto. Zero means
	// 12.
	Updates int
}

// PriorLayer is a layer of the image that hosts have now.
type PriorLayer struct {
	// Components are the members by ID; those that are gone may be among them.
	Components []string
	// Dirty says that the layer cannot be made again byte for byte, whatever its members say.
	Dirty bool
}

// Rebalance says when an unchanged layer of the prior image is opened.
type Rebalance uint8

// The policies. Layers are opened under any of them where the layer limit demands it.
const (
	// RebalanceNever keeps every unchanged layer.
	RebalanceNever Rebalance = iota
	// RebalanceAuto opens layers whose bytes are saved again within Params.Updates updates.
	RebalanceAuto
	// RebalanceAlways plans from scratch as though there were no prior image.
	RebalanceAlways
)

// Plan is an assignment of every component to exactly one layer.
type Plan struct {
	// Layers in the order they go into the image: kept layers in their prior order, then the others from the most stable
	// to the most volatile.
	Layers []Layer
	// Expected is the expected download of one update in bytes, without overhead.
	Expected float64
	// Bound is what Expected would be with a layer for each component: no plan has less, unless components with a
	// history tend to change on the same days.
	Bound float64
	// MergedExclusive says that there were too many exclusive components for the limit, so that some share a layer with
	// each other.
	MergedExclusive bool
}

// Layer is one layer of a plan.
type Layer struct {
	// Components are the IDs of the members, sorted.
	Components []string
	// Size is the sum of the members' sizes in bytes.
	Size uint64
	// Probability is the chance that an update changes the layer.
	Probability float64
	// Kept says that the layer has exactly the content of one layer of the prior image.
	Kept bool
}

// Pack makes the plan for the components under params. It fails only on input that has no meaning: a limit below one
// layer, empty or repeated IDs, chances outside their range, more than MaxComponents or MaxTotalSize.
func Pack(components []Component, params Params) (*Plan, error) {
	if params.MaxLayers < 1 {
		return nil, fmt.Errorf("a layer limit of %d: it must be at least 1", params.MaxLayers)
	}
	sorted := slices.Clone(components)
	slices.SortStableFunc(sorted, func(a, b Component) int { return strings.Compare(a.ID, b.ID) })
	if err := validate(sorted); err != nil {
		return nil, err
	}
	m, err := newModel(params)
	if err != nil {
		return nil, err
	}
	items, err := m.items(sorted)
	if err != nil {
		return nil, err
	}
	p := &packer{model: m, params: params, components: sorted, items: items}
	layers, merged := p.layers()
	return p.plan(layers, merged), nil
}

func validate(sorted []Component) error {
	if len(sorted) > MaxComponents {
		return fmt.Errorf("%d components: at most %d can be packed", len(sorted), MaxComponents)
	}
	var total uint64
	for i := range sorted {
		c := &sorted[i]
		if c.ID == "" {
			return errors.New("a component has no name")
		}
		if i > 0 && sorted[i-1].ID == c.ID {
			return fmt.Errorf("component %q is listed twice", c.ID)
		}
		if c.Size > MaxTotalSize || total+c.Size > MaxTotalSize {
			return fmt.Errorf("component %q: sizes add up to more than %d bytes", c.ID, uint64(MaxTotalSize))
		}
		total += c.Size
	}
	return nil
}

// packer carries what all steps of one plan need.
type packer struct {
	*model
	params     Params
	components []Component // sorted by ID
	items      []item      // one for each component, in the same order
}

// bin is a layer in the making: members are indexes of components, ascending.
type bin struct {
	members []int
	kept    bool
}

// layers returns the bins in their final order.
func (p *packer) layers() (bins []bin, mergedExclusive bool) {
	if p.params.Rebalance == RebalanceAlways {
		bins, mergedExclusive = p.fresh(allOf(len(p.items)), p.params.MaxLayers)
		kept, _ := p.clean()
		return keepEqual(kept, bins), mergedExclusive
	}
	return p.continued()
}

// fresh arranges the given components in at most k layers with no regard to a prior image.
func (p *packer) fresh(members []int, k int) (bins []bin, mergedExclusive bool) {
	var alone, shared []int
	for _, i := range members {
		if p.components[i].Exclusive {
			alone = append(alone, i)
		} else {
			shared = append(shared, i)
		}
	}
	room := k
	if len(shared) > 0 && k > 1 {
		room--
	}
	switch {
	case len(alone) <= room:
		for _, i := range alone {
			bins = append(bins, bin{members: []int{i}})
		}
	case room < k || len(shared) == 0:
		bins, mergedExclusive = p.arrange(alone, room), true
	default: // a single layer for everything
		return []bin{{members: slices.Clone(members)}}, true
	}
	if len(shared) > 0 {
		if k == len(bins) { // one layer is left and it is taken by an exclusive component
			return []bin{{members: slices.Clone(members)}}, true
		}
		bins = append(bins, p.arrange(shared, k-len(bins))...)
	}
	p.sortByStability(bins)
	return bins, mergedExclusive
}

// sortByStability puts the layers first that change least: chains of layers then stay equal for longest.
func (p *packer) sortByStability(bins []bin) {
	type ranked struct {
		bin    bin
		chance uint64
	}
	order := make([]ranked, len(bins))
	for i, b := range bins {
		order[i] = ranked{b, p.chance(p.total(b.members))}
	}
	slices.SortFunc(order, func(a, b ranked) int {
		if a.chance != b.chance {
			return compare(a.chance, b.chance)
		}
		return a.bin.members[0] - b.bin.members[0]
	})
	for i := range order {
		bins[i] = order[i].bin
	}
}

func (p *packer) plan(bins []bin, merged bool) *Plan {
	out := &Plan{Layers: make([]Layer, len(bins)), MergedExclusive: merged}
	scale := float64(uint64(len(p.horizons)) << 32)
	for i, b := range bins {
		sum := p.total(b.members)
		layer := &out.Layers[i]
		layer.Components = make([]string, len(b.members))
		for j, c := range b.members {
			layer.Components[j] = p.components[c].ID
		}
		layer.Size, layer.Kept = sum.size, b.kept
		layer.Probability = float64(p.chance(sum)) / scale
		out.Expected += float64(float64(layer.Size) * layer.Probability)
	}
	for i := range p.items {
		own := &p.items[i].sum
		out.Bound += float64(float64(own.size) * (float64(p.chance(own)) / scale))
	}
	return out
}

func allOf(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
