// Package packing packs items into bins so that the expected download of an update is small. An item stands for a
// component and a bin for a layer, but the package does not know files, images or package managers. An item has a
// size and a chance to change; the result is lists of item names.
//
// It minimises the expected download of one update
//
//	Σ over bins of (bytes + overhead) · P(at least one member changes)
//
// under a limit on the number of bins. A changed bin is fetched whole. So a large item should not share a bin with
// one that changes often, but many small items may.
//
// Without a prior image, it makes two packings: one by optimal division of the items in the order of chance per byte,
// one by repeatedly merging the cheapest pair. It improves both by moving, exchanging and dividing until no step
// gains, and takes the better one. Short lists are then perturbed and improved again, which brings lists of a dozen
// items to the optimum.
//
// With a prior image, its unchanged bins stay as they are, byte for byte. Only the members of the other bins are
// packed again: their bytes have to be fetched anyway, so that costs no client anything. Packings from scratch differ
// much after small changes, so callers should pass the prior image if there is one.
//
// All costs are integers, computed in the same way on every architecture, and item names decide ties. So the same
// items give the same packing in any order and on any machine.
package packing

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits on the input. They are far above any image, and keep sums of sizes and rates within 64 bits.
const (
	MaxItems     = 1 << 20
	MaxTotalSize = 1 << 46
)

// DefaultOverhead is the cost in bytes of fetching one more bin: a request, tar padding, an entry in the manifest.
const DefaultOverhead = 64 << 10

// Item is a set of files that change together. It goes into a bin as a whole.
type Item struct {
	// ID is the name of the item in every build, without a version. It must be unique and not empty.
	ID string
	// Size is the number of bytes that the item adds to a bin.
	Size uint64
	// Changes says how often the content changes. The zero value means never.
	Changes Changes
	// Changed says that the content differs from the prior image. It need not be set for items that are in no prior bin.
	Changed bool
	// Exclusive asks for a bin that holds nothing else.
	Exclusive bool
}

// Params are the parameters of a packing. Only MaxBins must be set.
type Params struct {
	// MaxBins is the limit on the number of bins, at least 1.
	MaxBins int
	// Horizons are the numbers of days between two updates of a host for which the packing is made, with equal weight.
	// Empty means 1, 7, 14 and 30. Items with a probability per update count the same in each.
	Horizons []int
	// Window is the number of days before the reference time that histories cover. Zero means 730.
	Window int
	// Overhead is added to the bytes of each bin; see [DefaultOverhead].
	Overhead uint64
	// Prior lists the bins of the image that hosts have now, in order. If it is empty, the packing is made from scratch.
	Prior []PriorBin
	// Rebalance says whether unchanged bins of the prior image may be opened for a better packing.
	Rebalance Rebalance
	// Updates is the number of updates within which opening an unchanged bin must pay off under [RebalanceAuto]. Zero
	// means 12.
	Updates int
}

// PriorBin is a bin of the image that hosts have now.
type PriorBin struct {
	// Items are the IDs of the members. They may include items that no longer exist.
	Items []string
	// Dirty says that the bin cannot be made again byte for byte, even if no member changed.
	Dirty bool
}

// Rebalance says when an unchanged bin of the prior image is opened.
type Rebalance uint8

// The policies. All of them open bins if the limit on bins requires it.
const (
	// RebalanceNever keeps every unchanged bin.
	RebalanceNever Rebalance = iota
	// RebalanceAuto opens bins if that saves their bytes again within Params.Updates updates.
	RebalanceAuto
	// RebalanceAlways packs from scratch, as if there were no prior image.
	RebalanceAlways
)

// Result is a packing. Every item is in exactly one bin.
type Result struct {
	// Bins are in the order of the image: kept bins in their prior order, then the others, the most stable first.
	Bins []Bin
	// Expected is the expected download of one update in bytes, without overhead.
	Expected float64
	// Bound is what Expected would be with one bin for each item. No packing has less, unless items with a history tend
	// to change on the same days.
	Bound float64
	// MergedExclusive says that there were too many exclusive items for the limit, so some of them share a bin.
	MergedExclusive bool
}

// Bin is one bin of a packing.
type Bin struct {
	// Items are the IDs of the members, sorted.
	Items []string
	// Size is the sum of the members' sizes in bytes.
	Size uint64
	// Probability is the probability that an update changes the bin.
	Probability float64
	// Kept says that the bin has the same content as a bin of the prior image.
	Kept bool
}

// Pack packs items into bins. It fails only on invalid input: a limit below one bin, empty or repeated IDs,
// probabilities out of range, or more than [MaxItems] or [MaxTotalSize].
func Pack(items []Item, params Params) (*Result, error) {
	if params.MaxBins < 1 {
		return nil, fmt.Errorf("a layer limit of %d: it must be at least 1", params.MaxBins)
	}
	sorted := slices.Clone(items)
	slices.SortStableFunc(sorted, func(a, b Item) int { return strings.Compare(a.ID, b.ID) })
	if err := validate(sorted); err != nil {
		return nil, err
	}
	m, err := newModel(params)
	if err != nil {
		return nil, err
	}
	groups, err := m.groups(sorted)
	if err != nil {
		return nil, err
	}
	p := &packer{model: m, params: params, items: sorted, groups: groups}
	bins, merged := p.bins()
	return p.result(bins, merged), nil
}

func validate(sorted []Item) error {
	if len(sorted) > MaxItems {
		return fmt.Errorf("%d components: at most %d can be packed", len(sorted), MaxItems)
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

// packer holds what all steps of one packing need.
type packer struct {
	*model
	params Params
	items  []Item  // sorted by ID
	groups []group // one for each item, in the same order
}

// bin is a bin in progress. Its members are indexes of items, ascending.
type bin struct {
	members []int
	kept    bool
}

// bins returns the bins in their final order.
func (p *packer) bins() (bins []bin, mergedExclusive bool) {
	if p.params.Rebalance == RebalanceAlways {
		bins, mergedExclusive = p.fresh(allOf(len(p.groups)), p.params.MaxBins)
		kept, _ := p.clean()
		return keepEqual(kept, bins), mergedExclusive
	}
	return p.continued()
}

// fresh packs the given items into at most k bins, without a prior image.
func (p *packer) fresh(members []int, k int) (bins []bin, mergedExclusive bool) {
	var alone, shared []int
	for _, i := range members {
		if p.items[i].Exclusive {
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
	default: // a single bin for everything
		return []bin{{members: slices.Clone(members)}}, true
	}
	if len(shared) > 0 {
		if k == len(bins) { // the only bin left is taken by an exclusive item
			return []bin{{members: slices.Clone(members)}}, true
		}
		bins = append(bins, p.arrange(shared, k-len(bins))...)
	}
	p.sortByStability(bins)
	return bins, mergedExclusive
}

// sortByStability sorts the bins, those that change least first. The first layers of successive images then stay
// equal.
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

func (p *packer) result(bins []bin, merged bool) *Result {
	out := &Result{Bins: make([]Bin, len(bins)), MergedExclusive: merged}
	scale := float64(uint64(len(p.horizons)) << 32)
	for i, b := range bins {
		sum := p.total(b.members)
		bin := &out.Bins[i]
		bin.Items = make([]string, len(b.members))
		for j, c := range b.members {
			bin.Items[j] = p.items[c].ID
		}
		bin.Size, bin.Kept = sum.size, b.kept
		bin.Probability = float64(p.chance(sum)) / scale
		out.Expected += float64(float64(bin.Size) * bin.Probability)
	}
	for i := range p.groups {
		own := &p.groups[i].sum
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
