package packing

import (
	"errors"
	"fmt"
	"math/bits"
)

// Limits on parameters. They keep costs within 64 bits.
const (
	maxHorizons = 8
	maxDays     = 1 << 16
	maxUpdates  = 32
	maxOverhead = 1 << 24
	costShift   = 24 // costs are in units of 2⁻⁸ bytes, times the number of horizons
)

// model computes the cost of sets of items.
type model struct {
	horizons []horizon
	window   int
	words    int    // length of a history
	unseen   uint64 // exponent per day of an item with a history, for changes never seen before
	overhead uint64
	exp      *expTable
	computed int // number of costs computed, to limit the work of a step
}

// horizon is a number of days between updates. A history has one bit for each such span in the window. The bits of
// all horizons follow each other, each starting at a new word.
type horizon struct {
	days       uint64
	spans      int
	start, end int // words
}

// group is the unit that the packer moves: one item, or several that were joined first.
type group struct {
	sum     sum
	members []int // indexes of items, ascending
}

// sum is what the cost of a set depends on. All fields except the history are sums, so members can be subtracted
// again.
type sum struct {
	size     uint64
	fixed    uint64   // exponents per update
	rate     uint64   // exponents per day of members without a history
	recorded uint64   // exponents per day of members with a history
	records  uint64   // number of members with a history
	history  []uint64 // union of the members' histories; empty if none changed in the window
}

func newModel(params Params) (*model, error) {
	m := &model{window: params.Window, overhead: params.Overhead, exp: newExpTable()}
	if m.window == 0 {
		m.window = 730
	}
	if m.window < 1 || m.window > maxDays {
		return nil, fmt.Errorf("a window of %d days: it must be 1 to %d", m.window, maxDays)
	}
	if m.overhead > maxOverhead {
		return nil, fmt.Errorf("an overhead of %d bytes: at most %d", m.overhead, uint64(maxOverhead))
	}
	if params.Updates < 0 || params.Updates > maxUpdates {
		return nil, fmt.Errorf("%d updates: it must be 0 to %d", params.Updates, maxUpdates)
	}
	m.unseen = exponentOfRate(eventPrior / float64(m.window))
	days := params.Horizons
	if len(days) == 0 {
		days = []int{1, 7, 14, 30}
	}
	if len(days) > maxHorizons {
		return nil, fmt.Errorf("%d horizons: at most %d", len(days), maxHorizons)
	}
	for _, d := range days {
		if d < 1 || d > maxDays {
			return nil, fmt.Errorf("a horizon of %d days: it must be 1 to %d", d, maxDays)
		}
		spans := max(1, m.window/d)
		end := m.words + (spans+63)/64
		m.horizons = append(m.horizons, horizon{days: uint64(d), spans: spans, start: m.words, end: end})
		m.words = end
	}
	return m, nil
}

// groups returns one group for each item, in the same order.
func (m *model) groups(items []Item) ([]group, error) {
	groups := make([]group, len(items))
	for i := range items {
		c := &items[i]
		if err := c.Changes.validate(); err != nil {
			return nil, fmt.Errorf("component %q: %w", c.ID, err)
		}
		s, err := m.sumOf(c)
		if err != nil {
			return nil, fmt.Errorf("component %q: %w", c.ID, err)
		}
		groups[i] = group{sum: s, members: []int{i}}
	}
	return groups, nil
}

func (m *model) sumOf(c *Item) (sum, error) {
	s := sum{size: c.Size, fixed: exponentOfChance(c.Changes.perUpdate)}
	rate := exponentOfRate(c.Changes.perDay)
	if !c.Changes.known {
		s.rate = rate
		return s, nil
	}
	s.recorded, s.records = rate, 1
	for _, day := range c.Changes.days {
		if day < 0 {
			return sum{}, errors.New("a change after the reference time")
		}
		for _, h := range m.horizons {
			span := day / int(h.days)
			if day >= m.window || span >= h.spans {
				continue
			}
			if s.history == nil {
				s.history = make([]uint64, m.words)
			}
			s.history[h.start+span/64] |= 1 << (span % 64)
		}
	}
	return s, nil
}

// add sets s to the sum of both sets.
func (s *sum) add(other *sum) {
	s.size += other.size
	s.fixed += other.fixed
	s.rate += other.rate
	s.recorded += other.recorded
	s.records += other.records
	if len(s.history) == 0 {
		s.history = append(s.history, other.history...)
		return
	}
	for i, w := range other.history {
		s.history[i] |= w
	}
}

// set copies other to s. It reuses the memory of s and shares none with other.
func (s *sum) set(other *sum) {
	history := append(s.history[:0], other.history...)
	*s = *other
	s.history = history
}

// clone returns a copy that shares no memory with s.
func (s *sum) clone() sum {
	var c sum
	c.set(s)
	return c
}

// total returns the sum of items, given by index.
func (p *packer) total(members []int) *sum {
	var s sum
	for _, i := range members {
		s.add(&p.groups[i].sum)
	}
	return &s
}

// chance returns the probability that a set changes in one update, summed over the horizons, in units of 2⁻³².
//
// For members with a history it is the mean of two estimates. One takes the members as independent. The other counts
// the spans of the window in which none of them changed, with a correction for changes never seen before.
func (m *model) chance(s *sum) uint64 { return m.chanceOfUnion(s, &sum{}) }

// chanceOfUnion returns the chance of the union of a and b.
func (m *model) chanceOfUnion(a, b *sum) uint64 {
	fixed, rate := a.fixed+b.fixed, a.rate+b.rate
	recorded, records := a.recorded+b.recorded, a.records+b.records
	var total uint64
	for i := range m.horizons {
		h := &m.horizons[i]
		free := fixed + times(rate, h.days)
		unchanged := m.exp.unchanged(free + times(recorded, h.days))
		if records > 0 {
			seen := m.exp.unchanged(free + times(records*m.unseen, h.days))
			seen = seen * uint64(h.spans-spansOfUnion(h, a.history, b.history)) / uint64(h.spans)
			unchanged = (unchanged + seen) / 2
		}
		total += one - unchanged
	}
	return total
}

func spansOfUnion(h *horizon, a, b []uint64) int {
	n := 0
	switch {
	case len(a) == 0 && len(b) == 0:
	case len(b) == 0:
		for _, w := range a[h.start:h.end] {
			n += bits.OnesCount64(w)
		}
	case len(a) == 0:
		for _, w := range b[h.start:h.end] {
			n += bits.OnesCount64(w)
		}
	default:
		b := b[h.start:h.end]
		for i, w := range a[h.start:h.end] {
			n += bits.OnesCount64(w | b[i])
		}
	}
	return n
}

func (m *model) cost(s *sum) uint64 { return m.costOfUnion(s, &sum{}) }

// costOfUnion returns the expected cost in one update of a bin with both a and b.
func (m *model) costOfUnion(a, b *sum) uint64 {
	m.computed++
	hi, lo := bits.Mul64(a.size+b.size+m.overhead, m.chanceOfUnion(a, b))
	return hi<<(64-costShift) | lo>>costShift
}
