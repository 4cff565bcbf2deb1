package simulate

import (
	"slices"

	"github.com/ostree-ext/ostree-ext-go/chunking/packing"
)

// All returns the packers that are compared. Ours use the default horizons.
func All() []Packer {
	return []Packer{Upstream(), RPMOstree(), Chunkah(), Fresh(0), Continued(0), Rebalanced(0)}
}

// Names lists packers by name.
func Names(packers []Packer) []string {
	names := make([]string, len(packers))
	for i := range packers {
		names[i] = packers[i].Name
	}
	return names
}

// Fresh packs each image at the least expected cost, without regard to the previous image.
func Fresh(days int) Packer {
	return Packer{"ours without prior", func(image Image, k int, _ *Prior) ([][]string, error) {
		return ours(image, nil, packing.Params{MaxBins: k, Horizons: horizons(days)})
	}}
}

// Continued packs at the least expected cost and keeps the unchanged layers of the previous image.
func Continued(days int) Packer {
	return Packer{"ours with prior", func(image Image, k int, prior *Prior) ([][]string, error) {
		return ours(image, prior, packing.Params{MaxBins: k, Horizons: horizons(days)})
	}}
}

// Rebalanced is Continued, but opens unchanged layers if that pays off.
func Rebalanced(days int) Packer {
	return Packer{"ours with rebalancing", func(image Image, k int, prior *Prior) ([][]string, error) {
		return ours(image, prior, packing.Params{
			MaxBins: k, Horizons: horizons(days), Rebalance: packing.RebalanceAuto,
		})
	}}
}

// horizons returns the cadence, or the packer's default if there is none.
func horizons(days int) []int {
	if days == 0 {
		return nil
	}
	return []int{days}
}

func ours(image Image, prior *Prior, params packing.Params) ([][]string, error) {
	params.Overhead = packing.DefaultOverhead
	var changed map[string]bool
	if prior != nil {
		changed = image.changed(prior)
		for _, l := range prior.Layers {
			params.Prior = append(params.Prior, packing.PriorBin{Items: l})
		}
	}
	items := make([]packing.Item, len(image))
	for i := range image {
		p := &image[i]
		items[i] = packing.Item{ID: p.Name, Size: p.Size, Changes: changes(p), Changed: changed[p.Name]}
	}
	packed, err := packing.Pack(items, params)
	if err != nil {
		return nil, err
	}
	layers := make([][]string, len(packed.Bins))
	for i, b := range packed.Bins {
		layers[i] = b.Items
	}
	return layers, nil
}

// changes returns the rate of a package from its changelog. One or two entries in all are not enough.
func changes(p *Package) packing.Changes {
	const window = 730
	if p.Rates.Chance > 0 {
		return packing.PerUpdate(p.Rates.Chance)
	}
	if len(p.Rates.Days) <= 2 {
		return packing.PerDay(packing.RateLearned(0, 0))
	}
	recent, _ := slices.BinarySearch(p.Rates.Days, window)
	return packing.History(packing.RateOfDays(recent, window), p.Rates.Days)
}
