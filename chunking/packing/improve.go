package packing

import "slices"

// maxRounds bounds the rounds of improvement; lists seen so far need two to six.
const maxRounds = 24

// improveWork bounds the costs computed for one improvement: less than a second's work, which only lists of many
// hundred components with many layers need. (Not a time: plans are the same on slow machines.)
const improveWork = 3_000_000

// exchangeWork bounds the pairs of items that one round looks at. Where there are more, only those near each other in
// the order of chance per byte are tried.
const exchangeWork = 200_000

// arrangement is an assignment of items to layers that is being improved. Its clock counts changes of layers, so that
// a step passes over what it has seen before and has not changed since.
type arrangement struct {
	model  *model
	items  []item // in the order of chance per byte
	layers []layer
	layer  []int // of each item
	rest   []sum // of each item: the other items of its layer
	limit  int

	clock                           int
	relocated, redivided, exchanged int // the clock when the step began last
	head, tail                      sum // memory for bestSplit
	heads                           []int64
}

type layer struct {
	sum     sum
	cost    int64
	items   []int // indexes of items, ascending
	changed int   // the clock of the last change
	// The best place to divide the items in two, and the gain; computed when at is 0.
	splitAt   int
	splitGain int64
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
	a.clock++
	l.changed, l.splitAt = a.clock, 0
	l.sum.set(&sum{})
	for _, i := range l.items {
		a.layer[i] = at
		a.rest[i].set(&l.sum)
		l.sum.add(&a.items[i].sum)
	}
	l.cost = 0
	if len(l.items) > 0 {
		l.cost = int64(a.model.cost(&l.sum))
	}
	behind := &a.tail
	behind.set(&sum{})
	for _, i := range slices.Backward(l.items) {
		a.rest[i].add(behind)
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
	end := a.model.computed + improveWork
	for range maxRounds {
		before := a.total()
		for _, step := range []func(){a.relocate, a.useEmpty, a.redivide, a.exchange, a.mergeAndSplit} {
			if step(); a.model.computed > end {
				return
			}
		}
		if a.total() >= before {
			return
		}
	}
}

// relocate moves single items to the layer where they add least, an empty one among them.
func (a *arrangement) relocate() {
	since := a.relocated
	a.relocated = a.clock
	for i := range a.items {
		from := a.layer[i]
		fresh := a.layers[from].changed > since
		alone := len(a.layers[from].items) == 1
		saved := a.layers[from].cost
		if !alone {
			saved -= int64(a.model.cost(&a.rest[i]))
		}
		best, gain := -1, int64(0)
		for at := range a.layers {
			if at == from || !fresh && a.layers[at].changed <= since {
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
	since := a.exchanged
	a.exchanged = a.clock
	reach := max(1, exchangeWork/len(a.items))
	for i := range a.items {
		best, gain := -1, int64(0)
		x := a.layer[i]
		fresh := a.layers[x].changed > since
		for j := i + 1; j < min(len(a.items), i+reach); j++ {
			y := a.layer[j]
			if x == y || !fresh && a.layers[y].changed <= since {
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
		y := a.layer[best]
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
	since := a.redivided
	a.redivided = a.clock
	for x := range a.layers {
		for y := x + 1; y < len(a.layers); y++ {
			if max(a.layers[x].changed, a.layers[y].changed) <= since {
				continue
			}
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
	head, tail, heads := &a.head, &a.tail, a.heads[:0]
	head.set(&sum{})
	tail.set(&sum{})
	for _, i := range items {
		head.add(&a.items[i].sum)
		heads = append(heads, int64(a.model.cost(head)))
	}
	a.heads = heads
	for k := len(items) - 1; k > 0; k-- {
		tail.add(&a.items[items[k]].sum)
		if c := heads[k-1] + int64(a.model.cost(tail)); at == 0 || c < cost {
			at, cost = k, c
		}
	}
	return at, cost
}

// useEmpty divides the layers that gain most while the limit allows for more of them.
func (a *arrangement) useEmpty() {
	for len(a.layers) < a.limit {
		split := a.bestLayerToSplit(-1, -1)
		if split < 0 || a.layers[split].splitGain <= 0 {
			return
		}
		items, at := a.layers[split].items, a.layers[split].splitAt
		a.layers[split].items = slices.Clone(items[:at])
		a.layers = append(a.layers, layer{items: slices.Clone(items[at:])})
		a.refresh(split)
		a.refresh(len(a.layers) - 1)
	}
}

// mergeAndSplit joins the two layers that lose least by it, if another layer gains more from being divided.
func (a *arrangement) mergeAndSplit() {
	losses := make([][]int64, len(a.layers)) // losses[x][y] by joining x and y, for y < x
	for x := range losses {
		losses[x] = make([]int64, x)
		a.mergeLosses(losses, x)
	}
	for range a.layers {
		from, to := cheapestMerge(losses)
		split := a.bestLayerToSplit(from, to)
		if from < 0 || split < 0 || a.layers[split].splitGain <= losses[from][to] {
			return
		}
		a.layers[to].items = append(a.layers[to].items, a.layers[from].items...)
		items, at := a.layers[split].items, a.layers[split].splitAt
		a.layers[from].items = slices.Clone(items[at:])
		a.layers[split].items = slices.Clone(items[:at])
		for _, changed := range []int{from, to, split} {
			a.refresh(changed)
		}
		for _, changed := range []int{from, to, split} {
			a.mergeLosses(losses, changed)
		}
	}
}

// mergeLosses computes what joining layer x with each other one loses.
func (a *arrangement) mergeLosses(losses [][]int64, x int) {
	for y := range a.layers {
		if high, low := max(x, y), min(x, y); y != x && losses[high] != nil {
			union := int64(a.model.costOfUnion(&a.layers[x].sum, &a.layers[y].sum))
			losses[high][low] = union - a.layers[x].cost - a.layers[y].cost
		}
	}
}

// cheapestMerge returns -1, -1 if there are no two layers.
func cheapestMerge(losses [][]int64) (from, to int) {
	from, to = -1, -1
	for x, row := range losses {
		for y, loss := range row {
			if to < 0 || loss < losses[from][to] {
				from, to = x, y
			}
		}
	}
	return from, to
}

// bestLayerToSplit is the layer that gains most from being divided, but for two; -1 if there is none.
func (a *arrangement) bestLayerToSplit(except, and int) int {
	best := -1
	for x := range a.layers {
		l := &a.layers[x]
		if x == except || x == and || len(l.items) < 2 {
			continue
		}
		if l.splitAt == 0 {
			at, cost := a.bestSplit(l.items)
			l.splitAt, l.splitGain = at, l.cost-cost
		}
		if best < 0 || l.splitGain > a.layers[best].splitGain {
			best = x
		}
	}
	return best
}
