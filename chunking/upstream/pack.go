package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
)

// minBins is the least number of layers that upstream's packing needs.
const minBins = 4

// Errors of the packing. Returned errors wrap them.
var (
	// ErrTooFewLayers means that the packing needs more layers.
	ErrTooFewLayers = errors.New("too few layers")
	// ErrCannotPack means that upstream's program would crash on the packages or the prior image.
	ErrCannotPack = errors.New("upstream's packing has no result")
)

// Pack distributes packages over at most limit bins as upstream's ostree-ext does. The packages must be in descending
// order of size. If prior is not nil, it has the names of the packages in each bin of the prior image: packages then
// stay in their bin, and new ones go to the last bin.
//
// The bins are in the order of the layers. Bins may be empty: the last one is reserved for packages that are added
// later.
func Pack(packages []Package, limit int, prior [][]string) ([][]Package, error) {
	if limit < minBins {
		return nil, fmt.Errorf("%w: %d, and the packing needs %d", ErrTooFewLayers, limit, minBins)
	}
	if len(prior) > 0 {
		bins, err := continuePrior(packages, prior)
		if err != nil {
			return nil, err
		}
		if len(bins) <= limit {
			return bins, nil
		}
	}
	return packAfresh(packages, limit)
}

// continuePrior puts packages into the bins of the prior image by name.
func continuePrior(packages []Package, prior [][]string) ([][]Package, error) {
	byName := map[string]Package{}
	for _, c := range slices.Backward(packages) { // the first package of a name wins
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

	var bins [][]Package
	placed := 0
	for i, names := range prior {
		last := i == len(prior)-1
		if last {
			names = slices.Concat(names, added)
		}
		var bin []Package
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
	if placed != len(packages) {
		return nil, fmt.Errorf("%w: %d of %d components have a place by their name; "+
			"names must be unique, in the components and in the prior image",
			ErrCannotPack, placed, len(packages))
	}
	return bins, nil
}

func packAfresh(packages []Package, limit int) ([][]Package, error) {
	if len(packages) == 0 {
		return nil, nil
	}
	if len(packages) < limit {
		return append(singles(packages), nil), nil
	}
	var always, others []Package
	for _, c := range packages {
		if c.ChangeFrequency == component.AlwaysChanges {
			always = append(always, c)
		} else {
			others = append(others, c)
		}
	}
	shared := min(len(always), 1)
	var bins [][]Package
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

func singles(packages []Package) [][]Package {
	var bins [][]Package
	for _, c := range packages {
		bins = append(bins, []Package{c})
	}
	return bins
}

// binPartitions puts each large package into its own bin, and all small ones into one bin. It cuts the classes in
// between into pieces.
func binPartitions(packages []Package, high, medium int) ([][]Package, error) {
	p, err := partition(packages, high)
	if err != nil {
		return nil, err
	}
	// Upstream's unsigned number wraps around below zero.
	per := len(packages) - high - len(p.low)
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
		if per == 0 { // upstream starts with a bin that is full while it is empty
			bins = append(bins, nil)
		}
		bins = append(bins, slices.Collect(slices.Chunk(class, max(per, 1)))...)
	}
	return bins, nil
}

// partitions are packages divided by size. Packages of medium size are divided again, by frequency of change and by
// size.
type partitions struct {
	high, low []Package
	classes   [9][]Package // by frequency high, medium, low, and in each by size high, low, medium
}

func partition(packages []Package, high int) (*partitions, error) {
	sizes := make([]float64, len(packages))
	for i, c := range packages {
		sizes[i] = float64(c.Size)
	}
	med, mad := medianAbsoluteDeviation(sizes)
	upper, lower := med+2*mad, 0.5*math.Abs(med-2*mad)

	p := &partitions{}
	var rest, medium []Package
	for _, c := range packages {
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
		return nil, fmt.Errorf("%w: none of the %d components is of medium size", ErrCannotPack, len(packages))
	}
	slices.SortStableFunc(rest, func(a, b Package) int { return cmp.Compare(a.ChangeFrequency, b.ChangeFrequency) })

	frequency := classify(rest, func(c Package) float64 { return float64(c.ChangeFrequency) })
	size := classify(rest, func(c Package) float64 { return float64(c.Size) })
	// The names of upstream's partitions sort in the order high, low, medium.
	column := [3]int{0, 2, 1}
	for i, c := range rest {
		class := frequency[i]*3 + column[size[i]]
		p.classes[class] = append(p.classes[class], c)
	}
	return p, nil
}

// classify returns for each package whether its value is high (0), medium (1) or low (2) compared with the others.
func classify(packages []Package, value func(Package) float64) []int {
	values := make([]float64, len(packages))
	for i, c := range packages {
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

// mergePairs merges neighbours, from the end, until there are at most limit bins. A merged bin moves one place back,
// as upstream's does.
func mergePairs(bins [][]Package, from, limit int) ([][]Package, error) {
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
