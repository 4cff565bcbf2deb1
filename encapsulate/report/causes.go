package report

import (
	"cmp"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// Cause is one cause of a download.
type Cause struct {
	// Name is the ID of the component that changed. If no component is the cause, it is what names the layer.
	Name string `json:"name"`
	// Reason is "changed", "added" or "removed", or one of the reasons of layers.
	Reason string `json:"reason"`
	// Bytes is the download that it causes. A layer with several changed components is divided among them in proportion
	// to their sizes, so what else is in the layer is part of it.
	Bytes uint64 `json:"bytes"`
	// Packages are the packages of the component that differ.
	Packages []PackageDifference `json:"packages,omitempty"`

	// own is the size of what changed itself.
	own uint64
}

// reasons finds out why layers are new.
type reasons struct {
	d *Difference
	// diffIDs are the contents of the old image, layers its layers by component, and names its annotated names by layer.
	diffIDs map[string]bool
	layers  map[string]*Layer
	names   map[int][]string
	// followed are the old layers of which a new one with a component of theirs was found. What they lost counts there.
	followed map[*Layer]bool
	// planned says that both images have a plan.
	planned bool
	// catalog has the packages that differ.
	catalog *catalog
}

func newReasons(from, to *oci.Image, old *Layers, d *Difference) *reasons {
	w := &reasons{
		d: d, diffIDs: map[string]bool{}, layers: map[string]*Layer{},
		names: map[int][]string{}, followed: map[*Layer]bool{}, catalog: newCatalog(d.Packages),
	}
	for i := range old.Layers {
		l := &old.Layers[i]
		if l.DiffID != "" {
			w.diffIDs[l.DiffID] = true
		}
		for _, id := range l.Components {
			w.layers[id] = l
		}
		w.names[l.position] = annotatedNames(&from.Layers[i])
	}
	a, _ := recordOf(from)
	b, _ := recordOf(to)
	w.planned = a != nil && b != nil
	return w
}

// of says why a layer is downloaded. names are the packages that its annotation names.
func (w *reasons) of(l Layer, names []string) LayerDifference {
	d := LayerDifference{Layer: l, Because: []string{}}
	names = slices.Clone(names)
	moved := false
	for _, id := range l.Components {
		if change := w.d.changes[id]; change == Changed || change == Added {
			d.Because = append(d.Because, id)
		}
		old := w.layers[id]
		moved = moved || old != nil
		if old == nil || w.followed[old] {
			continue
		}
		w.followed[old] = true
		names = append(names, w.names[old.position]...)
		for _, id := range old.Components {
			if w.d.changes[id] == Removed {
				d.Removed = append(d.Removed, id)
			}
		}
	}
	slices.Sort(d.Removed)
	switch known := w.planned && len(l.Sizes) > 0; {
	case w.diffIDs[l.DiffID]:
		d.Reason, d.Removed = Compression, nil
	case l.First:
		d.Reason = First
	case len(d.Because) > 0:
		d.Reason = Changed
	case known && len(d.Removed) > 0:
		d.Reason = Changed
	case known && moved:
		d.Reason = Split
	default:
		d.Reason = Unknown
	}
	w.setPackages(&d, names)
	return d
}

// setPackages sets the packages of a layer that differ.
func (w *reasons) setPackages(d *LayerDifference, names []string) {
	if !w.planned {
		// Components of other programs are packages.
		for _, id := range d.Components {
			for _, p := range w.catalog.byName[id] {
				if p.Name == id && d.Reason != Compression {
					d.byComponent = addTo(d.byComponent, id, p)
					d.Packages = append(d.Packages, p)
					d.Because = append(d.Because, id)
					d.Reason = Changed
				}
			}
		}
		return
	}
	if d.Reason != Changed {
		return
	}
	d.byComponent, d.rest = w.catalog.assign(slices.Concat(d.Because, d.Removed), names)
	for _, list := range d.byComponent {
		d.Packages = append(d.Packages, list...)
	}
	d.Packages = append(d.Packages, d.rest...)
	slices.SortFunc(d.Packages, comparePackages)
}

func addTo(m map[string][]PackageDifference, id string, p PackageDifference) map[string][]PackageDifference {
	if m == nil {
		m = map[string][]PackageDifference{}
	}
	m[id] = append(m[id], p)
	return m
}

// causes divides the download among its causes.
func (d *Difference) causes() []Cause {
	type key struct{ name, reason string }
	found := map[key]*Cause{}
	add := func(name, reason string, bytes, own uint64, packages []PackageDifference) {
		k := key{name, reason}
		if found[k] == nil {
			found[k] = &Cause{Name: name, Reason: reason}
		}
		found[k].Bytes += bytes
		found[k].own += own
		found[k].Packages = append(found[k].Packages, packages...)
	}
	for i := range d.Layers {
		l := &d.Layers[i]
		if l.Reason != Changed {
			own := l.Bytes
			if l.Reason == Compression || l.Reason == Split {
				own = 0
			}
			add(l.name(), l.Reason, l.Bytes, own, nil)
			continue
		}
		ids := l.Because
		if len(ids) == 0 {
			ids = l.Removed
		}
		var weights []uint64
		for _, id := range ids {
			weights = append(weights, l.part(id))
		}
		for n, bytes := range divide(l.Bytes, weights) {
			change := d.changes[ids[n]]
			if change == "" {
				change = Changed
				for _, p := range l.byComponent[ids[n]] {
					change = p.Change
				}
			}
			own := weights[n]
			if len(l.parts()) == 0 {
				own = bytes
			}
			add(ids[n], change, bytes, own, l.byComponent[ids[n]])
		}
	}
	out := []Cause{}
	for _, c := range found {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}

// part returns the compressed size of a component in the layer, or 0 if it is not known.
func (l *Layer) part(id string) uint64 {
	sizes := l.parts()
	if i, ok := slices.BinarySearch(l.Components, id); ok && i < len(sizes) {
		return sizes[i]
	}
	return 0
}
