package simulate

import (
	"cmp"
	"errors"
	"hash/fnv"
	"math"
	"slices"
)

// Upstream packs each image from scratch as ostree-ext does: classes of size, then classes of frequency.
func Upstream() Packer {
	return Packer{"upstream", func(image Image, k int, _ *Prior) ([][]string, error) { return upstream(image, k) }}
}

// RPMOstree packs the first image as upstream does and keeps that plan for ever: new packages go to the last layer.
func RPMOstree() Packer {
	return Packer{"rpm-ostree with prior", func(image Image, k int, prior *Prior) ([][]string, error) {
		if prior == nil {
			return upstream(image, k)
		}
		return frozen(image, k, prior)
	}}
}

func frozen(image Image, k int, prior *Prior) ([][]string, error) {
	fresh := image.byName()
	var layers [][]string
	for i, l := range prior.Layers {
		var left []string
		for _, name := range l {
			if fresh[name] != nil {
				left = append(left, name)
				delete(fresh, name)
			}
		}
		if len(left) > 0 || i == len(prior.Layers)-1 {
			layers = append(layers, left)
		}
	}
	if len(layers) > k {
		return upstream(image, k)
	}
	last := &layers[len(layers)-1]
	for i := range image {
		if fresh[image[i].Name] != nil {
			*last = append(*last, image[i].Name)
		}
	}
	return layers, nil
}

// upstream is the algorithm of ostree-ext as the reference describes it (§2.1).
func upstream(image Image, k int) ([][]string, error) {
	if k < 4 {
		return nil, errors.New("upstream needs at least 4 layers")
	}
	var always []string
	var rest []Package
	for _, p := range bySize(image) {
		if p.Rates.Frequency == math.MaxUint32 {
			always = append(always, p.Name)
		} else {
			rest = append(rest, p)
		}
	}
	if len(image) < k {
		return append(singles(bySize(image)), nil), nil
	}
	low := 2 + min(len(always), 1)
	high := int(float32(k-low) * 0.6)
	bins := upstreamBins(rest, high, k-high-low)
	bins = mergePairs(bins, 1+high, k-1-min(len(always), 1))
	if len(always) > 0 {
		bins = append(bins, always)
	}
	return append(bins, nil), nil
}

func bySize(image []Package) []Package {
	sorted := slices.Clone(image)
	slices.SortStableFunc(sorted, func(a, b Package) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Name, b.Name))
	})
	return sorted
}

// upstreamBins takes packages sorted by descending size, and the number of layers for large and for medium ones.
func upstreamBins(rest []Package, high, medium int) [][]string {
	sizes := make([]float64, len(rest))
	for i := range rest {
		sizes[i] = float64(rest[i].Size)
	}
	mid := median(sizes)
	deviations := make([]float64, len(sizes))
	for i, s := range sizes {
		deviations[i] = math.Abs(s - mid)
	}
	mad := median(deviations)
	var large, mediums, small []Package
	for i, p := range rest {
		switch s := sizes[i]; {
		case s >= mid+2*mad:
			large = append(large, p)
		case s <= 0.5*math.Abs(mid-2*mad):
			small = append(small, p)
		default:
			mediums = append(mediums, p)
		}
	}
	if len(large) > high {
		mediums = slices.Concat(large[high:], mediums)
		large = large[:high]
	}
	bins := singles(large)
	if len(small) > 0 {
		bins = append(bins, names(small))
	}
	if medium == 0 {
		return append(bins, names(mediums))
	}
	per := max(1, (len(rest)-high-len(small))/medium)
	for _, class := range mediumClasses(mediums) {
		for part := range slices.Chunk(class, per) {
			bins = append(bins, names(part))
		}
	}
	return bins
}

// mediumClasses divides medium packages into 3×3 classes: by frequency from high to low, each by size high, low,
// medium.
func mediumClasses(mediums []Package) [][]Package {
	slices.SortStableFunc(mediums, func(a, b Package) int { return cmp.Compare(a.Rates.Frequency, b.Rates.Frequency) })
	frequencies, sizes := make([]float64, len(mediums)), make([]float64, len(mediums))
	for i, p := range mediums {
		frequencies[i], sizes[i] = float64(p.Rates.Frequency), float64(p.Size)
	}
	class := func(v, mean, sigma float64, high, low, other int) int {
		switch {
		case v >= mean+2*sigma:
			return high
		case v <= 0.5*math.Abs(mean-2*sigma):
			return low
		}
		return other
	}
	fm, fs := meanAndSigma(frequencies)
	sm, ss := meanAndSigma(sizes)
	classes := make([][]Package, 9)
	for i, p := range mediums {
		at := 3*class(frequencies[i], fm, fs, 0, 2, 1) + class(sizes[i], sm, ss, 0, 1, 2)
		classes[at] = append(classes[at], p)
	}
	return classes
}

// mergePairs joins neighbours from the end to the given index until at most the given number of bins are left.
func mergePairs(bins [][]string, from, limit int) [][]string {
	for len(bins) > limit {
		before := len(bins)
		last := len(bins) - 2
		if last < from {
			break
		}
		for i := last - (last-from)%2; i >= from && len(bins) > limit; i -= 2 {
			both := slices.Concat(bins[i-1], bins[i])
			bins = slices.Delete(bins, i-1, i+1)
			bins = slices.Insert(bins, min(i, len(bins)), both)
		}
		if len(bins) == before {
			break
		}
	}
	return bins
}

func names(packages []Package) []string {
	list := make([]string, len(packages))
	for i := range packages {
		list[i] = packages[i].Name
	}
	return list
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[mid-1] + sorted[mid]) / 2
	}
	return sorted[mid]
}

func meanAndSigma(values []float64) (mean, sigma float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		sigma += (v - mean) * (v - mean) / float64(len(values))
	}
	return mean, math.Sqrt(sigma)
}

// Chunkah packs each image from scratch as chunkah 0.6.0 does: outliers of size alone, the rest by tiers of stability,
// in each of which a hash of the name decides (§2.3).
func Chunkah() Packer {
	return Packer{"chunkah", func(image Image, k int, _ *Prior) ([][]string, error) { return chunkah(image, k), nil }}
}

func chunkah(image Image, k int) [][]string {
	if len(image) <= k {
		return singles(image)
	}
	sorted := bySize(image)
	sizes := make([]float64, len(sorted))
	for i := range sorted {
		sizes[i] = float64(sorted[i].Size)
	}
	mid := median(sizes)
	deviations := make([]float64, len(sizes))
	for i, s := range sizes {
		deviations[i] = math.Abs(s - mid)
	}
	mad := median(deviations)
	if mad < 0.01*mid {
		mad = mid
	}
	large := 0
	for large < len(sizes) && sizes[large] >= mid+1.5*mad {
		large++
	}
	reserve := 0
	if large < len(sorted) {
		reserve = 1
	}
	large = min(large, int(float64(k-reserve)*0.8))
	return append(singles(sorted[:large]), chunkahTiers(sorted[large:], k-large)...)
}

func chunkahTiers(rest []Package, bins int) [][]string {
	stabilities := make([]float64, len(rest))
	for i := range rest {
		stabilities[i] = rest[i].Rates.Stability
	}
	mean, sigma := meanAndSigma(stabilities)
	tiers := make([][]Package, 3)
	for _, p := range rest {
		switch {
		case p.Rates.Stability >= mean+sigma:
			tiers[0] = append(tiers[0], p)
		case p.Rates.Stability <= mean-sigma:
			tiers[2] = append(tiers[2], p)
		default:
			tiers[1] = append(tiers[1], p)
		}
	}
	tiers = slices.DeleteFunc(tiers, func(t []Package) bool { return len(t) == 0 })
	if bins < len(tiers) {
		tiers = [][]Package{rest}
	}
	left := bins
	var layers [][]string
	for i, tier := range tiers {
		n := left
		if later := len(tiers) - 1 - i; later > 0 {
			n = int(math.Round(float64(bins) * float64(len(tier)) / float64(len(rest))))
			n = min(max(1, n), left-later)
		}
		left -= n
		layers = append(layers, hashed(tier, n)...)
	}
	return fillEmpty(layers, rest)
}

func hashed(tier []Package, bins int) [][]string {
	layers := make([][]string, bins)
	for _, p := range tier {
		h := fnv.New64a()
		h.Write([]byte(p.Name))
		h.Write([]byte{0xff})
		at := h.Sum64() % uint64(bins)
		layers[at] = append(layers[at], p.Name)
	}
	return layers
}

// fillEmpty gives each empty layer, last first, the largest package that shares a layer.
func fillEmpty(layers [][]string, bySize []Package) [][]string {
	for i := range slices.Backward(layers) {
		if len(layers[i]) > 0 {
			continue
		}
	search:
		for _, p := range bySize {
			for j, l := range layers {
				if at := slices.Index(l, p.Name); at >= 0 && len(l) > 1 {
					layers[j] = slices.Delete(l, at, at+1)
					layers[i] = []string{p.Name}
					break search
				}
			}
		}
	}
	return slices.DeleteFunc(layers, func(l []string) bool { return len(l) == 0 })
}
