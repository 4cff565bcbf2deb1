package report

import (
	"cmp"
	"math/bits"
	"slices"
)

// maxWeight bounds a size that an image states, so that sums of them do not overflow. No component is as large.
const maxWeight = 1 << 44

func bounded(n uint64) uint64 { return min(n, maxWeight) }

// divide divides a total in proportion to weights. The sum of the parts is the total. It returns nil if there are no
// weights. If all are 0, they count as equal.
func divide(total uint64, weights []uint64) []uint64 {
	if len(weights) == 0 {
		return nil
	}
	parts, rests, order := make([]uint64, len(weights)), make([]uint64, len(weights)), make([]int, len(weights))
	var sum uint64
	for _, w := range weights {
		sum += bounded(w)
	}
	left := total
	for i, w := range weights {
		order[i] = i
		w = bounded(w)
		over := sum
		if sum == 0 {
			w, over = 1, uint64(len(weights))
		}
		high, low := bits.Mul64(total, w)
		parts[i], rests[i] = bits.Div64(high, low, over)
		left -= parts[i]
	}
	// What is left is less than the number of parts. The largest remainders get it.
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rests[b], rests[a]) })
	for _, i := range order[:left] {
		parts[i]++
	}
	return parts
}
