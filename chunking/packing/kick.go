package packing

import "slices"

// Kicks bring lists of a dozen groups to the optimum, and lists of some hundred groups closer to it by a few parts in
// ten thousand. For longer lists they take much time and gain nothing. The number of computed costs limits them; see
// improveWork.
const (
	kickGroups = 500
	maxKicks   = 200
	kickWork   = 500_000
)

// kick leaves a local optimum: it moves a few groups to the bins of similar groups, improves again, and keeps the
// cheaper packing. The choice is deterministic.
func (a *arrangement) kick() {
	if len(a.bins) < 2 || len(a.groups) > kickGroups {
		return
	}
	random := generator(1)
	end := a.model.computed + kickWork
	best, saved := a.total(), a.save()
	for n := 0; n < maxKicks && a.model.computed < end; n++ {
		for range 2 + random.below(4) {
			i := random.below(len(a.groups))
			like := i + random.below(17) - 8
			if like = min(max(0, like), len(a.groups)-1); a.bin[i] != a.bin[like] {
				a.move(i, a.bin[like])
			}
		}
		a.dropEmpty()
		a.improve()
		if total := a.total(); total < best {
			best, saved = total, a.save()
		} else {
			a.restore(saved)
		}
	}
	a.restore(saved)
}

func (a *arrangement) save() [][]int {
	parts := make([][]int, len(a.bins))
	for i := range a.bins {
		parts[i] = slices.Clone(a.bins[i].groups)
	}
	return parts
}

func (a *arrangement) restore(parts [][]int) {
	for len(a.bins) < len(parts) {
		a.bins = append(a.bins, load{})
	}
	a.bins = a.bins[:len(parts)]
	for i, part := range parts {
		if !slices.Equal(a.bins[i].groups, part) {
			a.bins[i].groups = slices.Clone(part)
			a.refresh(i)
		} else {
			for _, group := range part {
				a.bin[group] = i
			}
		}
	}
}

// generator is a pseudo-random number generator (xorshift64).
type generator uint64

func (g *generator) below(n int) int {
	*g ^= *g << 13
	*g ^= *g >> 7
	*g ^= *g << 17
	return int(uint64(*g) >> 1 % uint64(n))
}
