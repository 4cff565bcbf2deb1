package chunking

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// minBins is how many layers upstream's packing needs.
const minBins = 4

// Errors of the packing. They are wrapped.
var (
	// ErrTooFewLayers says that the packing cannot do with so few layers.
	ErrTooFewLayers = errors.New("too few layers")
	// ErrCannotPack says that the components or the prior image are such that upstream's program crashes over them.
	ErrCannotPack = errors.New("upstream's packing has no answer")
)

// PackUpstream distributes components over at most limit bins as upstream's ostree-ext does. The components are in
// descending order of size. prior, unless nil, are the components' names in the bins of the image that is to be continued:
// then names stay where they are and new ones go to the last bin.
//
// The bins are in the order of the layers. Empty ones occur: the last one is kept for components that come later.
func PackUpstream(components []Component, limit int, prior [][]string) ([][]Component, error) {
	if limit < minBins {
		return nil, fmt.Errorf("%w: %d, and the packing needs %d", ErrTooFewLayers, limit, minBins)
	}
	if len(prior) > 0 {
		bins, err := continuePrior(components, prior)
		if err != nil {
			return nil, err
		}
		if len(bins) <= limit {
			return bins, nil
		}
	}
	return packAfresh(components, limit)
}

// continuePrior places components by name.
func continuePrior(components []Component, prior [][]string) ([][]Component, error) {
	byName := map[string]Component{}
	for _, c := range slices.Backward(components) { // the first one of a name wins
		byName[c.Name] = c
	}
	known := map[string]bool{}
	for _, bin := range prior {
		for _, name := range bin {
			known[name] = true
		}
	}
	var added []string
	for name := range byName {
		if !known[name] {
			added = append(added, name)
		}
	}
	slices.Sort(added)

	var bins [][]Component
	placed := 0
	for i, names := range prior {
		last := i == len(prior)-1
		if last {
			names = slices.Concat(names, added)
		}
		var bin []Component
		for _, name := range names {
			if c, ok := byName[name]; ok && name != "" {
				bin = append(bin, c)
			}
		}
		if len(bin) > 0 || last {
			bins = append(bins, bin)
		}
		placed += len(bin)
	}
	if placed != len(components) {
		return nil, fmt.Errorf("%w: %d of %d components have a place by their name; names must be unique, in the components and in the prior image",
			ErrCannotPack, placed, len(components))
	}
	return bins, nil
}

func packAfresh(components []Component, limit int) ([][]Component, error) {
	if len(components) == 0 {
		return nil, nil
	}
	if len(components) < limit {
		return append(singles(components), nil), nil
	}
	var always, others []Component
	for _, c := range components {
		if c.ChangeFrequency == AlwaysChanges {
			always = append(always, c)
		} else {
			others = append(others, c)
		}
	}
	shared := min(len(always), 1)
	var bins [][]Component
	if len(others) > 0 {
		low := 2 + shared
		// Upstream computes in single precision.
		high := int(float32(0.6) * float32(limit-low))
		var err error
		if bins, err = binPartitions(others, high, limit-(high+low)); err != nil {
			return nil, err
		}
		if bins, err = mergePairs(bins, 1+high, limit-1-shared); err != nil {
			return nil, err
		}
	}
	if len(always) > 0 {
		bins = append(bins, always)
	}
	return append(bins, nil), nil
}

func singles(components []Component) [][]Component {
	var bins [][]Component
	for _, c := range components {
		bins = append(bins, []Component{c})
	}
	return bins
}

// binPartitions gives large components a bin each, small ones one for all, and cuts the classes between into pieces.
func binPartitions(components []Component, high, medium int) ([][]Component, error) {
	p, err := partition(components, high)
	if err != nil {
		return nil, err
	}
	// Below zero upstream's number wraps to a huge one.
	per := len(components) - high - len(p.low)
	if per < 0 {
		per = math.MaxInt
	} else {
		per /= medium
	}
	bins := singles(p.high)
	if len(p.low) > 0 {
		bins = append(bins, p.low)
	}
	for _, class := range p.classes {
		if len(class) == 0 {
			continue
		}
		if per == 0 { // upstream starts with a bin that is full before anything is in it
			bins = append(bins, nil)
		}
		bins = append(bins, slices.Collect(slices.Chunk(class, max(per, 1)))...)
	}
	return bins, nil
}

// partitions are components by size, and those of medium size by how often they change and their size again.
type partitions struct {
	high, low []Component
	classes   [9][]Component // by frequency high, medium, low, and in each by size high, low, medium
}

func partition(components []Component, high int) (*partitions, error) {
	sizes := make([]float64, len(components))
	for i, c := range components {
		sizes[i] = float64(c.Size)
	}
	med, mad := medianAbsoluteDeviation(sizes)
	upper, lower := med+2*mad, 0.5*math.Abs(med-2*mad)

	p := &partitions{}
	var rest, medium []Component
	for _, c := range components {
		switch size := float64(c.Size); {
		case size >= upper && len(p.high) < high:
			p.high = append(p.high, c)
		case size >= upper:
			rest = append(rest, c)
		case size <= lower:
			p.low = append(p.low, c)
		default:
			medium = append(medium, c)
		}
	}
	rest = append(rest, medium...)
	if len(rest) == 0 {
		return nil, fmt.Errorf("%w: none of the %d components is of medium size", ErrCannotPack, len(components))
	}
	slices.SortStableFunc(rest, func(a, b Component) int { return cmp.Compare(a.ChangeFrequency, b.ChangeFrequency) })

	frequency := classify(rest, func(c Component) float64 { return float64(c.ChangeFrequency) })
	size := classify(rest, func(c Component) float64 { return float64(c.Size) })
	// The names of upstream's partitions sort sizes as high, low, medium.
	column := [3]int{0, 2, 1}
	for i, c := range rest {
		class := frequency[i]*3 + column[size[i]]
		p.classes[class] = append(p.classes[class], c)
	}
	return p, nil
}

// classify says for each component whether its value is high (0), medium (1) or low (2) among all.
func classify(components []Component, value func(Component) float64) []int {
	values := make([]float64, len(components))
	for i, c := range components {
		values[i] = value(c)
	}
	mean, sigma := meanAndDeviation(values)
	upper, lower := mean+2*sigma, 0.5*math.Abs(mean-2*sigma)
	out := make([]int, len(values))
	for i, v := range values {
		switch {
		case v >= upper:
			out[i] = 0
		case v <= lower:
			out[i] = 2
		default:
			out[i] = 1
		}
	}
	return out
}

// mergePairs joins neighbours from the end until there are no more bins than the limit. A union lands one place behind
// the hole that it leaves, as upstream's does.
func mergePairs(bins [][]Component, from, limit int) ([][]Component, error) {
	for len(bins) > limit {
		before := len(bins)
		var places []int
		for i := from; i < len(bins)-1; i += 2 {
			places = append(places, i)
		}
		for _, i := range slices.Backward(places) {
			if len(bins) <= limit {
				break
			}
			union := slices.Concat(bins[i-1], bins[i])
			bins = slices.Delete(bins, i-1, i+1)
			bins = slices.Insert(bins, i, union)
		}
		if len(bins) == before {
			return nil, fmt.Errorf("%w: %d bins cannot be merged to %d", ErrCannotPack, before, limit)
		}
	}
	return bins, nil
}
