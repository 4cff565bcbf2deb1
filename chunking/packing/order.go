package packing

import (
	"cmp"
	"container/heap"
	"math/bits"
	"slices"
)

// byChancePerByte sorts groups by their odds of a change per byte. In a good packing each bin holds a range of this
// order, except for a large group or two. The reason: a group of size s and chance p, added to a bin of size S that
// stays unchanged with probability Q, costs s − Q·(s·(1−p) − p·S). Compared between bins, that is linear in
// p/(1−p)/s.
func (m *model) byChancePerByte(groups []group) []group {
	type ranked struct {
		group
		odds uint64
	}
	order := make([]ranked, len(groups))
	whole := uint64(len(m.horizons)) << chanceBits
	for i := range groups {
		changed := m.chance(&groups[i].sum)
		odds := ^uint64(0)
		if changed < whole {
			hi, lo := changed>>(64-chanceBits), changed<<chanceBits
			if hi < whole-changed {
				odds, _ = bits.Div64(hi, lo, whole-changed)
			}
		}
		order[i] = ranked{groups[i], odds}
	}
	slices.SortFunc(order, func(a, b ranked) int {
		ahi, alo := bits.Mul64(a.odds, b.sum.size+1) // one more, so that no group has 0 bytes
		bhi, blo := bits.Mul64(b.odds, a.sum.size+1)
		return cmp.Or(cmp.Compare(ahi, bhi), cmp.Compare(alo, blo), cmp.Compare(a.odds, b.odds),
			cmp.Compare(a.sum.size, b.sum.size), cmp.Compare(a.members[0], b.members[0]))
	})
	sorted := make([]group, len(groups))
	for i := range order {
		sorted[i] = order[i].group
	}
	return sorted
}

// coarsen joins neighbours of an ordered list, the cheapest first, until at most n are left. The result is in the
// same order.
func (m *model) coarsen(groups []group, n int) []group {
	if len(groups) <= n {
		return groups
	}
	list := newNeighbours(m, groups)
	for left := len(groups); left > n; left-- {
		list.joinCheapest()
	}
	return list.groups()
}

// neighbours is a doubly linked list of groups, with a heap of the costs of joining two neighbours. Entries of pairs
// that no longer exist have an old stamp and are skipped.
type neighbours struct {
	model      *model
	nodes      []group
	next, prev []int
	stamp      []int // counts changes of a node; −1 if it was joined to another
	pairs      pairHeap
}

type pair struct {
	cost                  int64
	left, right           int
	leftStamp, rightStamp int
}

func newNeighbours(m *model, groups []group) *neighbours {
	n := &neighbours{
		model: m, nodes: make([]group, len(groups)),
		next: make([]int, len(groups)), prev: make([]int, len(groups)), stamp: make([]int, len(groups)),
	}
	for i := range groups {
		n.nodes[i] = group{sum: groups[i].sum.clone(), members: slices.Clone(groups[i].members)}
		n.next[i], n.prev[i] = i+1, i-1
		if i > 0 {
			n.pairs = append(n.pairs, n.pair(i-1, i))
		}
	}
	heap.Init(&n.pairs)
	return n
}

func (n *neighbours) pair(left, right int) pair {
	a, b := &n.nodes[left].sum, &n.nodes[right].sum
	cost := int64(n.model.costOfUnion(a, b)) - int64(n.model.cost(a)) - int64(n.model.cost(b))
	return pair{cost, left, right, n.stamp[left], n.stamp[right]}
}

func (n *neighbours) joinCheapest() {
	for {
		p := heap.Pop(&n.pairs).(pair)
		if n.stamp[p.left] != p.leftStamp || n.stamp[p.right] != p.rightStamp {
			continue
		}
		n.nodes[p.left].sum.add(&n.nodes[p.right].sum)
		n.nodes[p.left].members = append(n.nodes[p.left].members, n.nodes[p.right].members...)
		n.stamp[p.left]++
		n.stamp[p.right] = -1
		after := n.next[p.right]
		n.next[p.left] = after
		if after < len(n.nodes) {
			n.prev[after] = p.left
			heap.Push(&n.pairs, n.pair(p.left, after))
		}
		if before := n.prev[p.left]; before >= 0 {
			heap.Push(&n.pairs, n.pair(before, p.left))
		}
		return
	}
}

func (n *neighbours) groups() []group {
	var left []group
	for i := range n.nodes {
		if n.stamp[i] >= 0 {
			slices.Sort(n.nodes[i].members)
			left = append(left, n.nodes[i])
		}
	}
	return left
}

type pairHeap []pair

func (h pairHeap) Len() int      { return len(h) }
func (h pairHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h pairHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].cost, h[j].cost), cmp.Compare(h[i].left, h[j].left),
		cmp.Compare(h[i].leftStamp, h[j].leftStamp)) < 0
}
func (h *pairHeap) Push(x any) { *h = append(*h, x.(pair)) }
func (h *pairHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
