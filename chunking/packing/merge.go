package packing

import "slices"

// merge starts with one bin for each group, and joins the pair whose union adds least to the cost, until at most k
// bins are left and joining no pair lowers the cost.
func (m *model) merge(groups []group, k int) [][]group {
	t := newMerger(m, groups)
	for len(t.live) > 1 {
		at := t.cheapest()
		if len(t.live) <= k && t.gain[at] >= 0 {
			break
		}
		t.join(at, t.partner[at])
	}
	parts := make([][]group, len(t.live))
	for i, at := range t.live {
		parts[i] = t.nodes[at].groups
	}
	return parts
}

// merger keeps, for each bin, the cheapest partner among the bins after it.
type merger struct {
	model   *model
	nodes   []mergeNode
	live    []int // indexes of nodes, ascending
	partner []int
	gain    []int64 // cost of the union minus the costs of the two; negative is a gain
}

type mergeNode struct {
	sum    sum
	cost   int64
	groups []group
}

func newMerger(m *model, groups []group) *merger {
	t := &merger{
		model: m, nodes: make([]mergeNode, len(groups)), live: allOf(len(groups)),
		partner: make([]int, len(groups)), gain: make([]int64, len(groups)),
	}
	for i := range groups {
		t.nodes[i] = mergeNode{sum: groups[i].sum.clone(), cost: int64(m.cost(&groups[i].sum)), groups: groups[i : i+1 : i+1]}
	}
	for i := range t.live {
		t.findPartner(i)
	}
	return t
}

func (t *merger) increase(a, b int) int64 {
	x, y := &t.nodes[a], &t.nodes[b]
	return int64(t.model.costOfUnion(&x.sum, &y.sum)) - x.cost - y.cost
}

// findPartner finds the best partner of the bin at position i of the live ones, among the bins after it.
func (t *merger) findPartner(i int) {
	at := t.live[i]
	t.partner[at] = -1
	for _, other := range t.live[i+1:] {
		if d := t.increase(at, other); t.partner[at] < 0 || d < t.gain[at] {
			t.partner[at], t.gain[at] = other, d
		}
	}
}

func (t *merger) cheapest() int {
	best := -1
	for _, at := range t.live {
		if t.partner[at] >= 0 && (best < 0 || t.gain[at] < t.gain[best]) {
			best = at
		}
	}
	return best
}

// join merges b into a, which is before it, and updates what referred to either.
func (t *merger) join(a, b int) {
	x, y := &t.nodes[a], &t.nodes[b]
	x.sum.add(&y.sum)
	x.groups = append(x.groups, y.groups...)
	x.cost = int64(t.model.cost(&x.sum))
	i, _ := slices.BinarySearch(t.live, b)
	t.live = slices.Delete(t.live, i, i+1)
	for i, at := range t.live {
		switch {
		case at == a || t.partner[at] == a || t.partner[at] == b:
			t.findPartner(i)
		case at < a:
			if d := t.increase(at, a); d < t.gain[at] || d == t.gain[at] && a < t.partner[at] {
				t.partner[at], t.gain[at] = a, d
			}
		}
	}
}
