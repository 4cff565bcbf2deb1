package packing

import (
	"cmp"
	"slices"
)

// defaultUpdates is the default of Params.Updates.
const defaultUpdates = 12

// continued arranges the items with a prior image. Bins with unchanged content stay; all other items are a pool that is
// packed again into the remaining bins.
func (p *packer) continued() []bin {
	kept, pool := p.clean()
	kept, pool = p.makeRoom(kept, pool)
	bins := p.around(kept, pool)
	if p.params.Rebalance != RebalanceAuto {
		return bins
	}
	return p.rebalance(bins, kept, pool)
}

// clean returns the prior bins that stay the same byte for byte, and the items that are in none of them.
func (p *packer) clean() (kept []bin, pool []int) {
	place := make(map[string]int, len(p.items))
	for i := range p.items {
		place[p.items[i].ID] = i
	}
	taken := make([]bool, len(p.items))
	inKept := make([]bool, len(p.items))
	for _, l := range p.params.Prior {
		names := slices.Compact(slices.Sorted(slices.Values(l.Items)))
		clean := !l.Dirty && len(names) > 0
		var members []int
		for _, name := range names {
			i, present := place[name]
			if !present || taken[i] {
				clean = false // a member is gone, or is in an earlier bin
				continue
			}
			taken[i] = true
			c := &p.items[i]
			clean = clean && !c.Changed && (!c.Exclusive || len(names) == 1)
			members = append(members, i)
		}
		if !clean {
			continue
		}
		kept = append(kept, bin{members: members, kept: true})
		for _, i := range members {
			inKept[i] = true
		}
	}
	for i, in := range inKept {
		if !in {
			pool = append(pool, i)
		}
	}
	return kept, pool
}

// makeRoom opens unchanged bins until there are bins for the pool, including one for each of its exclusive items.
func (p *packer) makeRoom(kept []bin, pool []int) ([]bin, []int) {
	for len(kept) > 0 && p.params.MaxBins-len(kept) < p.binsNeeded(pool) {
		at := p.cheapestToOpen(kept, pool)
		pool = append(pool, kept[at].members...)
		slices.Sort(pool)
		kept = slices.Delete(kept, at, at+1)
	}
	return kept, pool
}

// binsNeeded returns the least number of bins that hold the items, with a bin for each exclusive one.
func (p *packer) binsNeeded(members []int) int {
	alone := 0
	for _, i := range members {
		if p.items[i].Exclusive {
			alone++
		}
	}
	return alone + min(1, len(members)-alone)
}

// cheapestToOpen finds the bin that costs least to join with the pool: its bytes now, and what the union costs more
// in later updates. Bins of exclusive items come last.
func (p *packer) cheapestToOpen(kept []bin, pool []int) int {
	shared := p.total(pool)
	base := int64(p.cost(shared))
	if len(pool) == 0 {
		base = 0
	}
	best, least, bestExclusive := -1, int64(0), false
	for at, b := range kept {
		s := p.total(b.members)
		more := int64(p.costOfUnion(s, shared)) - int64(p.cost(s)) - base
		price := p.price(s.size)
		if len(pool) > 0 {
			price += p.updates() * more
		}
		exclusive := p.items[b.members[0]].Exclusive
		if best < 0 || bestExclusive && !exclusive || exclusive == bestExclusive && price < least {
			best, least, bestExclusive = at, price, exclusive
		}
	}
	return best
}

// price returns the cost of certainly fetching a number of bytes.
func (m *model) price(bytes uint64) int64 {
	return int64(bytes * uint64(len(m.horizons)) << (chanceBits - costShift))
}

func (p *packer) updates() int64 {
	return int64(cmp.Or(p.params.Updates, defaultUpdates))
}

// around returns the kept bins, followed by the pool packed into the bins that the limit leaves.
func (p *packer) around(kept []bin, pool []int) []bin {
	if len(pool) == 0 {
		return slices.Clone(kept)
	}
	return append(slices.Clone(kept), p.fresh(pool, p.params.MaxBins-len(kept))...)
}

// rebalance opens unchanged bins if that pays off within the given number of updates. It tries the most promising one,
// two, four and so on, and all.
func (p *packer) rebalance(bins, kept []bin, pool []int) []bin {
	promising := p.mostPromising(kept)
	now := p.totalCost(bins)
	var gain int64
	for n := 1; ; n *= 2 {
		open := make([]bool, len(kept))
		for _, at := range promising[:min(n, len(promising))] {
			open[at] = true
		}
		if n >= len(promising) { // the last try is a packing from scratch
			for at := range open {
				open[at] = true
			}
		}
		others := p.opened(kept, pool, open)
		if g := p.updates()*(now-p.totalCost(others)) - p.price(p.lost(kept, others)); g > gain {
			bins, gain = others, g
		}
		if n >= len(promising) {
			return bins
		}
	}
}

// mostPromising lists the bins from which opening could gain, if each member could have a bin of its own: those
// with the highest gain first.
func (p *packer) mostPromising(kept []bin) []int {
	var list []int
	gains := make([]int64, len(kept))
	for at, b := range kept {
		s := p.total(b.members)
		gains[at] = int64(p.cost(s))
		for _, i := range b.members {
			gains[at] -= int64(p.cost(&p.groups[i].sum))
		}
		gains[at] = p.updates()*gains[at] - p.price(s.size)
		if gains[at] > 0 {
			list = append(list, at)
		}
	}
	slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(gains[b], gains[a]) })
	return list
}

// opened returns the packing in which some of the kept bins are part of the pool.
func (p *packer) opened(kept []bin, pool []int, open []bool) []bin {
	pool = slices.Clone(pool)
	var closed []bin
	for at, b := range kept {
		if open[at] {
			pool = append(pool, b.members...)
		} else {
			closed = append(closed, b)
		}
	}
	slices.Sort(pool)
	return keepEqual(kept, p.around(closed, pool))
}

// keepEqual marks the bins that have exactly the members of one that could be kept, and puts them first, in their
// prior order.
func keepEqual(kept, bins []bin) []bin {
	place := make(map[int]int, len(kept)) // of a bin, by its first member
	for at, b := range kept {
		place[b.members[0]] = at
	}
	found := make([]bool, len(kept))
	var others []bin
	for _, b := range bins {
		at, ok := place[b.members[0]]
		if ok && slices.Equal(kept[at].members, b.members) {
			found[at] = true
		} else {
			others = append(others, b)
		}
	}
	var ordered []bin
	for at, b := range kept {
		if found[at] {
			ordered = append(ordered, b)
		}
	}
	return append(ordered, others...)
}

// lost returns the number of bytes in prior bins that could be kept but are not among bins.
func (p *packer) lost(kept, bins []bin) uint64 {
	var bytes uint64
	for _, b := range kept {
		bytes += p.total(b.members).size
	}
	for _, b := range bins {
		if b.kept {
			bytes -= p.total(b.members).size
		}
	}
	return bytes
}

func (p *packer) totalCost(bins []bin) int64 {
	var total int64
	for _, b := range bins {
		total += int64(p.cost(p.total(b.members)))
	}
	return total
}
