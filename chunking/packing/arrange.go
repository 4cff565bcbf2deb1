package packing

import (
	"slices"
	"sync"
)

// maxGroups is the largest number of groups to arrange. If there are more, neighbours in the order of chance per byte
// are joined first. Time grows with its square.
const maxGroups = 2000

// mergeGroups is the same limit for merging pairs, which is slower.
const mergeGroups = 500

// arrange packs the given items into at most k bins, at low expected cost.
func (p *packer) arrange(members []int, k int) []bin {
	if len(members) == 0 {
		return nil
	}
	groups := make([]group, len(members))
	for i, c := range members {
		groups[i] = p.groups[c]
	}
	groups = p.coarsen(p.byChancePerByte(groups), max(maxGroups, k))
	var divided, merged *arrangement
	var both sync.WaitGroup
	both.Go(func() {
		m := *p.model
		divided = m.startFrom(groups, m.divide(groups, k), k)
	})
	both.Go(func() {
		m := *p.model
		merged = m.startFrom(groups, m.merge(m.coarsen(groups, max(mergeGroups, k)), k), k)
	})
	both.Wait()
	best := divided
	if merged.total() < best.total() {
		best = merged
	}
	best.kick()
	bins := make([]bin, len(best.bins))
	for i, l := range best.bins {
		for _, j := range l.groups {
			bins[i].members = append(bins[i].members, groups[j].members...)
		}
		slices.Sort(bins[i].members)
	}
	return bins
}

// startFrom improves a packing, given as parts of the groups.
func (m *model) startFrom(groups []group, parts [][]group, k int) *arrangement {
	place := make(map[int]int, len(groups)) // index of the group, by its first item
	for i := range groups {
		for _, c := range groups[i].members {
			place[c] = i
		}
	}
	numbered := make([][]int, len(parts))
	for i, part := range parts {
		for _, it := range part {
			for _, c := range it.members {
				numbered[i] = append(numbered[i], place[c])
			}
		}
		slices.Sort(numbered[i])
		numbered[i] = slices.Compact(numbered[i])
	}
	a := newArrangement(m, groups, numbered, k)
	a.improve()
	return a
}
