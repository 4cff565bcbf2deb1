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
	// Causes are what the download is for, the largest first. The sum of their bytes is Download.
	Causes []Cause `json:"causes"`
	// Layers are the added layers.
	Layers []LayerDifference `json:"layers"`
	// SharedLayers and RemovedLayers are the numbers of the other layers.
	SharedLayers  int `json:"shared_layers"`
	RemovedLayers int `json:"removed_layers"`
	// Components are the components that differ. It is empty if one of the images does not carry a plan.
	Components []ComponentDifference `json:"components"`
	// Packages are the packages that differ. It is nil if one of the images does not say which it has.
	Packages []PackageDifference `json:"packages,omitempty"`

	from, to   *Summary
	kept, gone []Layer
	// changes has the components that differ, and systems the package managers whose packages both images list.
	changes map[string]string
	systems map[string]bool
}

// LayerDifference is a layer to download. Its Reason is one of the constants.
type LayerDifference struct {
	Layer
	// Because are the components of the layer that were changed or added.
	Because []string `json:"because"`
	// Removed are components that the layer had in the old image, and that are gone.
	Removed []string `json:"removed,omitempty"`
	// Packages are the packages in the layer that differ, as far as the images say which layer a package is in.
	Packages []PackageDifference `json:"packages,omitempty"`

	// byComponent are the packages of the components, and rest those of which only the layer is known.
	byComponent map[string][]PackageDifference
	rest        []PackageDifference
}

// ComponentDifference is a component that differs between two images.
type ComponentDifference struct {
	ID string `json:"id"`
	// Change is "changed", "added" or "removed".
	Change string `json:"change"`
	// Bytes is the uncompressed size: in the new image, or in the old one if the component was removed.
	Bytes uint64 `json:"bytes"`
}

// Changes of components and of packages. A layer has the reason Changed if any component of it was changed, added or
// removed.
const (
	Changed = "changed"
	Added   = "added"
	Removed = "removed"
)

// Other reasons for which a layer is downloaded.
const (
	// First means that it is the first layer of a split image, with the commit or the directories.
	First = "first"
	// Compression means that the old image has the same content, compressed otherwise.
	Compression = "compression"
	// Split means that the old image has the same components, but in other layers.
	Split = "split"
	// Unknown means that the images do not say.
	Unknown = "unknown"
)

// Diff compares two images.
func Diff(from, to *oci.Image) *Difference {
	old := OfImage(from)
	had := map[string]bool{}
	for _, l := range old.Layers {
		had[l.Digest] = true
	}
	d := &Difference{
		Layers: []LayerDifference{}, Components: components(from, to), Packages: packagesOf(from, to),
		from: summarise(from), to: summarise(to), changes: map[string]string{}, systems: systemsOf(from, to),
	}
	for _, c := range d.Components {
		d.changes[c.ID] = c.Change
	}
	why := newReasons(from, to, old, d)
	has := map[string]bool{}
	for _, l := range OfImage(to).Layers {
		if has[l.Digest] {
			continue
		}
		has[l.Digest] = true
		if had[l.Digest] {
			d.Shared += l.Bytes
			d.SharedLayers++
			d.kept = append(d.kept, l)
			continue
		}
		d.Download += l.Bytes
		d.Layers = append(d.Layers, why.of(l, annotatedNames(&to.Layers[l.position-1])))
	}
	for _, l := range old.Layers {
		if !has[l.Digest] {
			has[l.Digest] = true
			d.Removed += l.Bytes
			d.RemovedLayers++
			d.gone = append(d.gone, l)
		}
	}
	d.Causes = d.causes()
	return d
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
