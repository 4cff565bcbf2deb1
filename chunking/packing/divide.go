package packing

import "math"

// divideWork limits the steps of one division: half the square of the number of groups, times the number of bins.
const divideWork = 200_000_000

// divideGroups is the largest number of groups to divide. If there are more, neighbours are joined first.
const divideGroups = 1500

// divide splits an ordered list of groups into at most k ranges of least cost. The result is optimal for this order:
// the cheapest division of the first j groups into n ranges is a last range i…j, preceded by the cheapest division
// of the first i groups into n−1 ranges.
func (m *model) divide(groups []group, k int) [][]group {
	k = min(k, len(groups))
	groups = m.coarsen(groups, max(k, min(divideGroups, int(math.Sqrt(2*divideWork/float64(k))))))
	n := len(groups)
	ranges := m.rangeCosts(groups)
	best := make([]uint64, n) // best[j]: cost of the first j+1 groups in the current number of ranges
	copyLast(best, ranges)
	begins := make([][]uint16, k) // begins[r][j]: begin of the last of r+1 ranges of the first j+1 groups
	begins[0] = make([]uint16, n)
	chosen, least := 0, best[n-1]
	next := make([]uint64, n)
	for r := 1; r < k; r++ {
		begins[r] = make([]uint16, n)
		for j := r; j < n; j++ {
			next[j], begins[r][j] = cheapestEnd(best, ranges[j], r, j)
		}
		best, next = next, best
		if best[n-1] < least {
			chosen, least = r, best[n-1]
		}
	}
	parts := make([][]group, chosen+1)
	for end := n - 1; chosen >= 0; chosen-- {
		begin := int(begins[chosen][end])
		parts[chosen] = groups[begin : end+1]
		end = begin - 1
	}
	return parts
}

// cheapestEnd finds the begin i ≥ r of the last range up to group j. It minimises the sum of the cost of the range
// and of the best cost of the groups before it. The first of equal ones wins.
func cheapestEnd(best, costs []uint64, r, j int) (cost uint64, begin uint16) {
	least := uint64(math.MaxUint64)
	before := best[r-1 : j]
	costs = costs[r : r+len(before)]
	at := 0
	for i, b := range before {
		if c := b + costs[i]; c < least {
			least, at = c, i
		}
	}
	return least, uint16(at + r)
}

// rangeCosts returns, for each j, the costs of the ranges i…j for i from 0 to j.
func (m *model) rangeCosts(groups []group) [][]uint64 {
	n := len(groups)
	all := make([]uint64, n*(n+1)/2)
	costs := make([][]uint64, n)
	for j, begin := 0, 0; j < n; j++ {
		costs[j] = all[begin : begin+j+1]
		begin += j + 1
	}
	for i := range groups {
		s := groups[i].sum.clone()
		costs[i][i] = m.cost(&s)
		for j := i + 1; j < n; j++ {
			s.add(&groups[j].sum)
			costs[j][i] = m.cost(&s)
		}
	}
	return costs
}

func copyLast(best []uint64, ranges [][]uint64) {
	for j := range best {
		best[j] = ranges[j][0]
	}
}
