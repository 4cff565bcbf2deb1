package packing

import (
	"slices"
	"sync"
)

// maxItems is the number of items from which neighbours in the order of chance per byte are joined beforehand. Time
// grows with its square.
const maxItems = 2000

// mergeItems is the same for merging pairs, which is slower.
const mergeItems = 500

// arrange is the packing itself: the given components in at most k layers, at least expected cost.
func (p *packer) arrange(members []int, k int) []bin {
	if len(members) == 0 {
		return nil
	}
	items := make([]item, len(members))
	for i, c := range members {
		items[i] = p.items[c]
	}
	items = p.coarsen(p.byChancePerByte(items), max(maxItems, k))
	var divided, merged *arrangement
	var both sync.WaitGroup
	both.Go(func() {
		m := *p.model
		divided = m.startFrom(items, m.divide(items, k), k)
	})
	both.Go(func() {
		m := *p.model
		merged = m.startFrom(items, m.merge(m.coarsen(items, max(mergeItems, k)), k), k)
	})
	both.Wait()
	best := divided
	if merged.total() < best.total() {
		best = merged
	}
	best.kick()
	bins := make([]bin, len(best.layers))
	for i, l := range best.layers {
		for _, j := range l.items {
			bins[i].members = append(bins[i].members, items[j].members...)
		}
		slices.Sort(bins[i].members)
	}
	return bins
}

// startFrom improves a plan given as parts of the items.
func (m *model) startFrom(items []item, parts [][]item, k int) *arrangement {
	place := make(map[int]int, len(items)) // of the item that holds a component
	for i := range items {
		for _, c := range items[i].members {
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
	a := newArrangement(m, items, numbered, k)
	a.improve()
	return a
}
