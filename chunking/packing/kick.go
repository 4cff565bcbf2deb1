package packing

import "slices"

// Kicks bring lists of a dozen items to the optimum, some hundred items a few parts in ten thousand nearer to it, and
// longer ones nothing for much time. They are bounded by the costs computed for them; see improveWork.
const (
	kickItems = 500
	maxKicks  = 200
	kickWork  = 500_000
)

// kick leaves a plan from which no single step gains: it moves a few items to layers of others like them, improves
// again, and keeps what is cheaper. The choice is the same each time.
func (a *arrangement) kick() {
	if len(a.layers) < 2 || len(a.items) > kickItems {
		return
	}
	random := generator(1)
	end := a.model.computed + kickWork
	best, saved := a.total(), a.save()
	for n := 0; n < maxKicks && a.model.computed < end; n++ {
		for range 2 + random.below(4) {
			i := random.below(len(a.items))
			like := i + random.below(17) - 8
			if like = min(max(0, like), len(a.items)-1); a.layer[i] != a.layer[like] {
				a.move(i, a.layer[like])
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
	parts := make([][]int, len(a.layers))
	for i := range a.layers {
		parts[i] = slices.Clone(a.layers[i].items)
	}
	return parts
}

func (a *arrangement) restore(parts [][]int) {
	for len(a.layers) < len(parts) {
		a.layers = append(a.layers, layer{})
	}
	a.layers = a.layers[:len(parts)]
	for i, part := range parts {
		if !slices.Equal(a.layers[i].items, part) {
			a.layers[i].items = slices.Clone(part)
			a.refresh(i)
		} else {
			for _, item := range part {
				a.layer[item] = i
			}
		}
	}
}

// generator is a sequence of numbers that look random (xorshift64).
type generator uint64

func (g *generator) below(n int) int {
	*g ^= *g << 13
	*g ^= *g >> 7
	*g ^= *g << 17
	return int(uint64(*g) >> 1 % uint64(n))
}
