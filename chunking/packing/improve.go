package packing

import "slices"

// maxRounds limits the rounds of improvement. Lists seen so far need two to six.
const maxRounds = 24

// improveWork limits the number of costs computed for one improvement. That is less than a second of work, and only
// lists of many hundred items with many bins reach it. It is not a time, so that packings are the same on slow
// machines.
const improveWork = 3_000_000

// exchangeWork limits the pairs of groups that one round tries. If there are more, it tries only pairs that are close
// in the order of chance per byte.
const exchangeWork = 200_000

// arrangement is an assignment of groups to bins that is being improved. Its clock counts changes of bins, so that a
// step can skip bins that have not changed since it last ran.
type arrangement struct {
	model  *model
	groups []group // in the order of chance per byte
	bins   []load
	bin    []int // bin of each group
	rest   []sum // for each group, the sum of the other groups in its bin
	limit  int

	clock                           int
	relocated, redivided, exchanged int // the clock when each step last began
	head, tail                      sum // buffers of bestSplit
	heads                           []int64
}

// load is the content of a bin.
type load struct {
	sum     sum
	cost    int64
	groups  []int // indexes of groups, ascending
	changed int   // the clock of the last change
	// The best position at which to divide the groups in two, and the gain. They are computed when splitAt is 0.
	splitAt   int
	splitGain int64
}

// newArrangement returns an arrangement of groups in the given parts, of which there are at most limit.
func newArrangement(m *model, groups []group, parts [][]int, limit int) *arrangement {
	a := &arrangement{
		model: m, groups: groups, limit: limit,
		bins: make([]load, len(parts)), bin: make([]int, len(groups)), rest: make([]sum, len(groups)),
	}
	for i, part := range parts {
		a.bins[i].groups = part
		a.refresh(i)
	}
	return a
}

// refresh recomputes what depends on the groups of a bin.
func (a *arrangement) refresh(at int) {
	l := &a.bins[at]
	slices.Sort(l.groups)
	a.clock++
	l.changed, l.splitAt = a.clock, 0
	l.sum.set(&sum{})
	for _, i := range l.groups {
		a.bin[i] = at
		a.rest[i].set(&l.sum)
		l.sum.add(&a.groups[i].sum)
	}
	l.cost = 0
	if len(l.groups) > 0 {
		l.cost = int64(a.model.cost(&l.sum))
	}
	behind := &a.tail
	behind.set(&sum{})
	for _, i := range slices.Backward(l.groups) {
		a.rest[i].add(behind)
		behind.add(&a.groups[i].sum)
	}
}

// total returns the cost of all bins.
func (a *arrangement) total() int64 {
	var t int64
	for i := range a.bins {
		t += a.bins[i].cost
	}
	return t
}

// improve repeats all steps until none of them lowers the cost.
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

// relocate moves single groups to the bin where they cost least, which may be an empty one.
func (a *arrangement) relocate() {
	since := a.relocated
	a.relocated = a.clock
	for i := range a.groups {
		from := a.bin[i]
		fresh := a.bins[from].changed > since
		alone := len(a.bins[from].groups) == 1
		saved := a.bins[from].cost
		if !alone {
			saved -= int64(a.model.cost(&a.rest[i]))
		}
		best, gain := -1, int64(0)
		for at := range a.bins {
			if at == from || !fresh && a.bins[at].changed <= since {
				continue
			}
			added := int64(a.model.costOfUnion(&a.bins[at].sum, &a.groups[i].sum)) - a.bins[at].cost
			if g := saved - added; g > gain {
				best, gain = at, g
			}
		}
		if len(a.bins) < a.limit && !alone {
			if g := saved - int64(a.model.cost(&a.groups[i].sum)); g > gain {
				a.bins = append(a.bins, load{})
				best = len(a.bins) - 1
			}
		}
		if best >= 0 {
			a.move(i, best)
		}
	}
	a.dropEmpty()
}

func (a *arrangement) move(i, to int) {
	from := a.bin[i]
	at, _ := slices.BinarySearch(a.bins[from].groups, i)
	a.bins[from].groups = slices.Delete(a.bins[from].groups, at, at+1)
	a.bins[to].groups = append(a.bins[to].groups, i)
	a.refresh(from)
	a.refresh(to)
}

func (a *arrangement) dropEmpty() {
	kept := a.bins[:0]
	for _, l := range a.bins {
		if len(l.groups) > 0 {
			for _, i := range l.groups {
				a.bin[i] = len(kept)
			}
			kept = append(kept, l)
		}
	}
	a.bins = kept
}

// exchange swaps pairs of groups in different bins.
func (a *arrangement) exchange() {
	since := a.exchanged
	a.exchanged = a.clock
	reach := max(1, exchangeWork/len(a.groups))
	for i := range a.groups {
		best, gain := -1, int64(0)
		x := a.bin[i]
		fresh := a.bins[x].changed > since
		for j := i + 1; j < min(len(a.groups), i+reach); j++ {
			y := a.bin[j]
			if x == y || !fresh && a.bins[y].changed <= since {
				continue
			}
			g := a.bins[x].cost + a.bins[y].cost -
				int64(a.model.costOfUnion(&a.rest[i], &a.groups[j].sum)) -
				int64(a.model.costOfUnion(&a.rest[j], &a.groups[i].sum))
			if g > gain {
				best, gain = j, g
			}
		}
		if best < 0 {
			continue
		}
		y := a.bin[best]
		replace(a.bins[x].groups, i, best)
		replace(a.bins[y].groups, best, i)
		a.refresh(x)
		a.refresh(y)
	}
}

func replace(groups []int, old, new int) {
	at := slices.Index(groups, old)
	groups[at] = new
}

// redivide takes each pair of bins, sorts their groups by chance per byte, and divides them at the best position.
// Groups are numbered in that order.
func (a *arrangement) redivide() {
	since := a.redivided
	a.redivided = a.clock
	for x := range a.bins {
		for y := x + 1; y < len(a.bins); y++ {
			if max(a.bins[x].changed, a.bins[y].changed) <= since {
				continue
			}
			groups := slices.Concat(a.bins[x].groups, a.bins[y].groups)
			slices.Sort(groups)
			at, cost := a.bestSplit(groups)
			if cost < a.bins[x].cost+a.bins[y].cost {
				a.bins[x].groups = slices.Clone(groups[:at])
				a.bins[y].groups = slices.Clone(groups[at:])
				a.refresh(x)
				a.refresh(y)
			}
		}
	}
}

// bestSplit finds the cheapest division of ordered groups into two bins.
func (a *arrangement) bestSplit(groups []int) (at int, cost int64) {
	head, tail, heads := &a.head, &a.tail, a.heads[:0]
	head.set(&sum{})
	tail.set(&sum{})
	for _, i := range groups {
		head.add(&a.groups[i].sum)
		heads = append(heads, int64(a.model.cost(head)))
	}
	a.heads = heads
	for k := len(groups) - 1; k > 0; k-- {
		tail.add(&a.groups[groups[k]].sum)
		if c := heads[k-1] + int64(a.model.cost(tail)); at == 0 || c < cost {
			at, cost = k, c
		}
	}
	return at, cost
}

// useEmpty divides the bins that gain most, while the limit allows more bins.
func (a *arrangement) useEmpty() {
	for len(a.bins) < a.limit {
		split := a.bestBinToSplit(-1, -1)
		if split < 0 || a.bins[split].splitGain <= 0 {
			return
		}
		groups, at := a.bins[split].groups, a.bins[split].splitAt
		a.bins[split].groups = slices.Clone(groups[:at])
		a.bins = append(a.bins, load{groups: slices.Clone(groups[at:])})
		a.refresh(split)
		a.refresh(len(a.bins) - 1)
	}
}

// mergeAndSplit joins the two bins for which that costs least, if dividing another bin gains more.
func (a *arrangement) mergeAndSplit() {
	losses := make([][]int64, len(a.bins)) // losses[x][y] is the cost of joining x and y, for y < x
	for x := range losses {
		losses[x] = make([]int64, x)
		a.mergeLosses(losses, x)
	}
	for range a.bins {
		from, to := cheapestMerge(losses)
		split := a.bestBinToSplit(from, to)
		if from < 0 || split < 0 || a.bins[split].splitGain <= losses[from][to] {
			return
		}
		a.bins[to].groups = append(a.bins[to].groups, a.bins[from].groups...)
		groups, at := a.bins[split].groups, a.bins[split].splitAt
		a.bins[from].groups = slices.Clone(groups[at:])
		a.bins[split].groups = slices.Clone(groups[:at])
		for _, changed := range []int{from, to, split} {
			a.refresh(changed)
		}
		for _, changed := range []int{from, to, split} {
			a.mergeLosses(losses, changed)
		}
	}
}

// mergeLosses computes the cost of joining bin x with each other bin.
func (a *arrangement) mergeLosses(losses [][]int64, x int) {
	for y := range a.bins {
		if high, low := max(x, y), min(x, y); y != x && losses[high] != nil {
			union := int64(a.model.costOfUnion(&a.bins[x].sum, &a.bins[y].sum))
			losses[high][low] = union - a.bins[x].cost - a.bins[y].cost
		}
	}
}

// cheapestMerge returns the two bins that cost least to join, or -1, -1 if there are fewer than two.
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

// bestBinToSplit returns the bin that gains most from being divided, or -1. It skips two given bins.
func (a *arrangement) bestBinToSplit(except, and int) int {
	best := -1
	for x := range a.bins {
		l := &a.bins[x]
		if x == except || x == and || len(l.groups) < 2 {
			continue
		}
		if l.splitAt == 0 {
			at, cost := a.bestSplit(l.groups)
			l.splitAt, l.splitGain = at, l.cost-cost
		}
		if best < 0 || l.splitGain > a.bins[best].splitGain {
			best = x
		}
	}
	return best
}
