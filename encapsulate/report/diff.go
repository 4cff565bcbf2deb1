package report

import (
	"cmp"
	"maps"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// Difference is what a host that has one image downloads to get another. `chunks diff --json` prints it. Sizes are in
// compressed bytes.
type Difference struct {
	// Download is the size of the added layers, Shared of the layers that both images have, and Removed of the layers
	// that only the old image has.
	Download uint64 `json:"download"`
	Shared   uint64 `json:"shared"`
	Removed  uint64 `json:"removed"`
	// Layers are the added layers.
	Layers []LayerDifference `json:"layers"`
	// SharedLayers and RemovedLayers are the numbers of the other layers.
	SharedLayers  int `json:"shared_layers"`
	RemovedLayers int `json:"removed_layers"`
	// Components are the components that differ. It is empty if one of the images does not carry a plan.
	Components []ComponentDifference `json:"components"`
}

// LayerDifference is a layer to download.
type LayerDifference struct {
	Layer
	// Because are the components of the layer that were changed or added.
	Because []string `json:"because"`
}

// ComponentDifference is a component that differs between two images.
type ComponentDifference struct {
	ID string `json:"id"`
	// Change is "changed", "added" or "removed".
	Change string `json:"change"`
	// Bytes is the uncompressed size: in the new image, or in the old one if the component was removed.
	Bytes uint64 `json:"bytes"`
}

// Changes of components.
const (
	Changed = "changed"
	Added   = "added"
	Removed = "removed"
)

// Diff compares two images.
func Diff(from, to *oci.Image) *Difference {
	had := map[string]bool{}
	for _, l := range from.Layers {
		had[l.Descriptor.Digest.String()] = true
	}
	d := &Difference{Layers: []LayerDifference{}, Components: components(from, to)}
	because := map[string]bool{}
	for _, c := range d.Components {
		because[c.ID] = c.Change != Removed
	}
	has := map[string]bool{}
	for _, l := range OfImage(to).Layers {
		if has[l.Digest] {
			continue
		}
		has[l.Digest] = true
		if had[l.Digest] {
			d.Shared += l.Bytes
			d.SharedLayers++
			continue
		}
		d.Download += l.Bytes
		layer := LayerDifference{Layer: l, Because: []string{}}
		for _, id := range l.Components {
			if because[id] {
				layer.Because = append(layer.Because, id)
			}
		}
		d.Layers = append(d.Layers, layer)
	}
	gone := map[string]bool{}
	for _, l := range from.Layers {
		if digest := l.Descriptor.Digest.String(); !has[digest] && !gone[digest] {
			gone[digest] = true
			d.Removed += uint64(l.Descriptor.Size)
			d.RemovedLayers++
		}
	}
	return d
}

// Update returns the layers of an image as seen by a host that has another image. Layers that the host has are marked
// as kept, all others have the probability 1.
func Update(from, to *oci.Image) *Layers {
	had := map[string]bool{}
	for _, l := range from.Layers {
		had[l.Descriptor.Digest.String()] = true
	}
	r := OfImage(to)
	for i := range r.Layers {
		l := &r.Layers[i]
		if l.Kept = had[l.Digest]; !l.Kept {
			l.Probability = 1
		}
	}
	return r
}

// components compares the components of two images. Both must carry a plan.
func components(from, to *oci.Image) []ComponentDifference {
	out := []ComponentDifference{}
	a, errA := chunking.ParseRecord(from.Config.Labels[chunking.LabelRecord])
	b, errB := chunking.ParseRecord(to.Config.Labels[chunking.LabelRecord])
	if errA != nil || errB != nil {
		return out
	}
	for id, now := range b.Components {
		switch old, ok := a.Components[id]; {
		case !ok:
			out = append(out, ComponentDifference{id, Added, now.Size})
		case old.Digest != now.Digest:
			out = append(out, ComponentDifference{id, Changed, now.Size})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(a.Components)) {
		if _, ok := b.Components[id]; !ok {
			out = append(out, ComponentDifference{id, Removed, a.Components[id].Size})
		}
	}
	slices.SortFunc(out, func(x, y ComponentDifference) int {
		return cmp.Or(cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(x.ID, y.ID))
	})
	return out
}
