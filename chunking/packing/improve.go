package packing

import "slices"

// maxRounds bounds the rounds of improvement; lists seen so far need two to six.
const maxRounds = 24

// arrangement is an assignment of items to layers that is being improved.
type arrangement struct {
	model  *model
	items  []item
	layers []layer
	layer  []int // of each item
	rest   []sum // of each item: the other items of its layer
	limit  int
}

type layer struct {
	sum   sum
	cost  int64
	items []int // indexes of items, ascending
}

// newArrangement takes items, and parts of them that together are at most limit layers.
func newArrangement(m *model, items []item, parts [][]int, limit int) *arrangement {
	a := &arrangement{
		model: m, items: items, limit: limit,
		layers: make([]layer, len(parts)), layer: make([]int, len(items)), rest: make([]sum, len(items)),
	}
	for i, part := range parts {
		a.layers[i].items = part
		a.refresh(i)
	}
	return a
}

// refresh computes anew what depends on the items of a layer.
func (a *arrangement) refresh(at int) {
	l := &a.layers[at]
	slices.Sort(l.items)
	l.sum = sum{}
	for _, i := range l.items {
		a.layer[i] = at
		a.rest[i] = l.sum.clone()
		l.sum.add(&a.items[i].sum)
	}
	l.cost = 0
	if len(l.items) > 0 {
		l.cost = int64(a.model.cost(&l.sum))
	}
	var behind sum
	for _, i := range slices.Backward(l.items) {
		a.rest[i].add(&behind)
		behind.add(&a.items[i].sum)
	}
}

// total is the cost of all layers.
func (a *arrangement) total() int64 {
	var t int64
	for i := range a.layers {
		t += a.layers[i].cost
	}
	return t
}

// improve repeats all steps until none gains.
func (a *arrangement) improve() {
	for range maxRounds {
		before := a.total()
		a.relocate()
		a.redivide()
		a.exchange()
		a.mergeAndSplit()
		if a.total() >= before {
			return
		}
	}
}

// relocate moves single items to the layer where they add least, an empty one among them.
func (a *arrangement) relocate() {
	for i := range a.items {
		from := a.layer[i]
		alone := len(a.layers[from].items) == 1
		saved := a.layers[from].cost
		if !alone {
			saved -= int64(a.model.cost(&a.rest[i]))
		}
		best, gain := -1, int64(0)
		for at := range a.layers {
			if at == from {
				continue
			}
			added := int64(a.model.costOfUnion(&a.layers[at].sum, &a.items[i].sum)) - a.layers[at].cost
			if g := saved - added; g > gain {
				best, gain = at, g
			}
		}
		if len(a.layers) < a.limit && !alone {
			if g := saved - int64(a.model.cost(&a.items[i].sum)); g > gain {
				a.layers = append(a.layers, layer{})
				best = len(a.layers) - 1
			}
		}
		if best >= 0 {
			a.move(i, best)
		}
	}
	a.dropEmpty()
}

func (a *arrangement) move(i, to int) {
	from := a.layer[i]
	at, _ := slices.BinarySearch(a.layers[from].items, i)
	a.layers[from].items = slices.Delete(a.layers[from].items, at, at+1)
	a.layers[to].items = append(a.layers[to].items, i)
	a.refresh(from)
	a.refresh(to)
}

func (a *arrangement) dropEmpty() {
	kept := a.layers[:0]
	for _, l := range a.layers {
		if len(l.items) > 0 {
			for _, i := range l.items {
				a.layer[i] = len(kept)
			}
			kept = append(kept, l)
		}
	}
	a.layers = kept
}

// exchange swaps pairs of items of different layers.
func (a *arrangement) exchange() {
	for i := range a.items {
		best, gain := -1, int64(0)
		for j := i + 1; j < len(a.items); j++ {
			x, y := a.layer[i], a.layer[j]
			if x == y {
				continue
			}
			g := a.layers[x].cost + a.layers[y].cost -
				int64(a.model.costOfUnion(&a.rest[i], &a.items[j].sum)) -
				int64(a.model.costOfUnion(&a.rest[j], &a.items[i].sum))
			if g > gain {
				best, gain = j, g
			}
		}
		if best < 0 {
			continue
		}
		x, y := a.layer[i], a.layer[best]
		replace(a.layers[x].items, i, best)
		replace(a.layers[y].items, best, i)
		a.refresh(x)
		a.refresh(y)
	}
}

func replace(items []int, old, new int) {
	at := slices.Index(items, old)
	items[at] = new
}

// redivide looks at each pair of layers, orders their items by chance per byte, and divides them at the best place.
// Items are numbered in that order.
func (a *arrangement) redivide() {
	for x := range a.layers {
		for y := x + 1; y < len(a.layers); y++ {
			items := slices.Concat(a.layers[x].items, a.layers[y].items)
			slices.Sort(items)
			at, cost := a.bestSplit(items)
			if cost < a.layers[x].cost+a.layers[y].cost {
				a.layers[x].items = slices.Clone(items[:at])
				a.layers[y].items = slices.Clone(items[at:])
				a.refresh(x)
				a.refresh(y)
			}
		}
	}
}

// bestSplit finds the cheapest division of ordered items into two layers.
func (a *arrangement) bestSplit(items []int) (at int, cost int64) {
	heads := make([]int64, len(items))
	var head, tail sum
	for k, i := range items {
		head.add(&a.items[i].sum)
		heads[k] = int64(a.model.cost(&head))
	}
	for k := len(items) - 1; k > 0; k-- {
		tail.add(&a.items[items[k]].sum)
		if c := heads[k-1] + int64(a.model.cost(&tail)); at == 0 || c < cost {
			at, cost = k, c
		}
	}
	return at, cost
}

// mergeAndSplit joins the two layers that lose least by it, if another layer gains more from being divided.
func (a *arrangement) mergeAndSplit() {
	for range a.layers {
		from, to, loss := a.cheapestMerge()
		split, at, gain := a.bestLayerToSplit(from, to)
		if split < 0 || to < 0 || gain <= loss {
			return
		}
		a.layers[to].items = append(a.layers[to].items, a.layers[from].items...)
		items := a.layers[split].items
		a.layers[from].items = slices.Clone(items[at:])
		a.layers[split].items = slices.Clone(items[:at])
		a.refresh(from)
		a.refresh(to)
		a.refresh(split)
	}
}

func (a *arrangement) cheapestMerge() (from, to int, loss int64) {
	from, to = -1, -1
	for x := range a.layers {
		for y := x + 1; y < len(a.layers); y++ {
			l := int64(a.model.costOfUnion(&a.layers[x].sum, &a.layers[y].sum)) - a.layers[x].cost - a.layers[y].cost
			if to < 0 || l < loss {
				from, to, loss = y, x, l
			}
		}
	}
	return from, to, loss
}

func (a *arrangement) bestLayerToSplit(except, and int) (split, at int, gain int64) {
	split = -1
	for x := range a.layers {
		if x == except || x == and || len(a.layers[x].items) < 2 {
			continue
		}
		k, cost := a.bestSplit(a.layers[x].items)
		if g := a.layers[x].cost - cost; split < 0 || g > gain {
			split, at, gain = x, k, g
		}
	}
	return split, at, gain
}
