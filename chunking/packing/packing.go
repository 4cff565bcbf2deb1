// Package packing packs items into bins, so that an update of the image is expected to download little. An item stands
// for a component, a bin for a layer; but the package knows nothing of files, images or package managers: its input is
// the sizes of items and their chances to change, its output lists of item names.
//
// It minimises the expected download of one update
//
//	Σ over bins of (bytes + overhead) · P(at least one member changes)
//
// under the limit on the number of bins. A bin of changed content is fetched whole, so a large member must not
// share a bin with one that changes often, while many small ones may.
//
// Without a prior image it makes two packings, one from an optimal division of the items ordered by chance per byte,
// one by repeatedly merging the cheapest pair. Both are improved by moving, exchanging and dividing until no step
// reduces the cost, and the better one is used. Short lists are then disturbed and improved again, which brings those
// of a dozen items to the optimum.
//
// With a prior image its unchanged bins stay as they are, byte for byte, and only the members of the others are
// arranged again. Their bytes have to be fetched anyway, so that costs no client anything. Packings from scratch differ
// much after small changes, so callers should pass the prior image if they can.
//
// All costs are integers, computed in the same way on every architecture, and every tie is decided by item names:
// the same items give the same packing in whatever order and wherever they are given.
package packing

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits on the input of a packing. They are far above any image and keep sums of sizes and rates within 64 bits.
const (
	MaxItems     = 1 << 20
	MaxTotalSize = 1 << 46
)

// DefaultOverhead is the price in bytes of one more bin to fetch: a request, tar padding, an entry in the manifest.
const DefaultOverhead = 64 << 10

// Item is a set of files that change together. It goes into a bin as a whole.
type Item struct {
	// ID names the item in every build; it has no version in it. It must not be empty and is unique.
	ID string
	// Size is what its content adds to a bin, in bytes.
	Size uint64
	// Changes says how often its content changes. The zero value never changes.
	Changes Changes
	// Changed says that its content differs from that in the prior image. It need not be set for an item that no prior bin
	// has.
	Changed bool
	// Exclusive asks for a bin that holds nothing else. If there are not enough bins for all items that ask for one, none
	// gets it for that reason.
	Exclusive bool
}

// Params are the parameters of a packing. Only MaxBins must be set.
type Params struct {
	// MaxBins is the limit on the number of bins, at least 1.
	MaxBins int
	// Horizons are the spans of days between two updates of a host that the packing is made for, with equal weight. None
	// means 1, 7, 14 and 30. Items with a probability per update count the same at each.
	Horizons []int
	// Window is the number of days before the reference time that histories cover. Zero means 730.
	Window int
	// Overhead is added to the bytes of each bin; see DefaultOverhead.
	Overhead uint64
	// Prior lists the bins of the image that hosts have now, in order. If it is empty, the packing is made from scratch.
	Prior []PriorBin
	// Rebalance says whether unchanged bins of the prior image may be opened for a better packing.
	Rebalance Rebalance
	// Updates is the number of updates within which opening an unchanged bin must pay off under RebalanceAuto. Zero means
	// 12.
	Updates int
}

// PriorBin is a bin of the image that hosts have now.
type PriorBin struct {
	// Items are the members by ID. They may include items that no longer exist.
	Items []string
	// Dirty says that the bin cannot be made again byte for byte, even if its members are unchanged.
	Dirty bool
}

// Rebalance says when an unchanged bin of the prior image is opened.
type Rebalance uint8

// The policies. Under any of them bins are opened if the bin limit demands it.
const (
	// RebalanceNever keeps every unchanged bin.
	RebalanceNever Rebalance = iota
	// RebalanceAuto opens bins if that saves as many bytes as it costs within Params.Updates updates.
	RebalanceAuto
	// RebalanceAlways packs from scratch as though there were no prior image.
	RebalanceAlways
)

// Result is a packing, in which every item is in exactly one bin.
type Result struct {
	// Bins are in the order of the image: kept bins in their prior order, then the others from the most stable to the most
	// volatile.
	Bins []Bin
	// Expected is the expected download of one update in bytes, without overhead.
	Expected float64
	// Bound is what Expected would be with a bin for each item: no packing has less, unless items with a
	// history tend to change on the same days.
	Bound float64
	// MergedExclusive says that there were too many exclusive items for the limit, so that they were packed like others.
	MergedExclusive bool
}

// Bin is one bin of a packing.
type Bin struct {
	// Items are the IDs of the members, sorted.
	Items []string
	// Size is the sum of the members' sizes in bytes.
	Size uint64
	// Probability is the chance that an update changes the bin.
	Probability float64
	// Kept says that the bin has exactly the content of one bin of the prior image.
	Kept bool
}

// Pack packs the items. It fails only on invalid input: a limit below one bin, empty or repeated IDs, chances outside
// their range, more than MaxItems or MaxTotalSize.
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
	// Which of them share a bin must not depend on the day, or each update would divide them otherwise.
	merged := p.binsNeeded(allOf(len(sorted))) > params.MaxBins
	if merged {
		for i := range sorted {
			sorted[i].Exclusive = false
		}
	}
	return p.result(p.bins(), merged), nil
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

// bin is a bin during packing. members are indexes of items, ascending.
type bin struct {
	members []int
	kept    bool
}

// bins returns the bins in their final order.
func (p *packer) bins() []bin {
	if p.params.Rebalance == RebalanceAlways {
		bins := p.fresh(allOf(len(p.groups)), p.params.MaxBins)
		kept, _ := p.clean()
		return keepEqual(kept, bins)
	}
	return p.continued()
}

// fresh arranges the given items in at most k bins without regard to a prior image. k is at least what binsNeeded
// returns for them.
func (p *packer) fresh(members []int, k int) []bin {
	var bins []bin
	var shared []int
	for _, i := range members {
		if p.items[i].Exclusive {
			bins = append(bins, bin{members: []int{i}})
		} else {
			shared = append(shared, i)
		}
	}
	if len(shared) > 0 {
		bins = append(bins, p.arrange(shared, k-len(bins))...)
	}
	p.sortByStability(bins)
	return bins
}

// sortByStability sorts the bins that change least first, so that chains of bins stay equal for longest.
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
