package chunking

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// DefaultMaxLayers is upstream's number of layers besides the first: half of what Docker allows.
const DefaultMaxLayers = 64

// Assignment says which component an object belongs to.
type Assignment struct {
	Object    object.Checksum
	Component string // its ID
}

// PathObject is a path of a commit and the object there.
type PathObject struct {
	Path   string // absolute
	Object object.Checksum
}

// Mapping says which component each object of a commit belongs to.
type Mapping struct {
	// Components in descending order of size; see [Mapping.Measure].
	Components []Component
	// Objects in the order in which they enter their layers. Every object of the commit occurs once.
	Objects []Assignment
	// Exclusive components have a layer for themselves and are given path by path.
	Exclusive map[string][]PathObject
	// MaxLayers is the number of layers besides the first, [DefaultMaxLayers] if it is 0.
	MaxLayers int
}

// Errors about mappings. They are wrapped.
var (
	// ErrUnknownComponent says that an object is assigned to a component that is not listed.
	ErrUnknownComponent = errors.New("unknown component")
	// ErrUnmapped says that an object of the commit belongs to no component.
	ErrUnmapped = errors.New("object belongs to no component")
)

// Measure sets the components' sizes from the commit and brings them into the order that the packing expects: by size,
// equal sizes by ID. Components without objects go away.
func (m *Mapping) Measure(ctx context.Context, src repo.Source) error {
	sizes := map[string]uint64{}
	for _, a := range m.Objects {
		info, err := src.FileInfo(ctx, a.Object)
		if err != nil {
			return err
		}
		sizes[a.Component] += uint64(info.Size)
	}
	byID := map[string]Component{}
	for _, c := range m.Components {
		byID[c.ID] = c
	}
	m.Components = nil
	for _, id := range slices.Sorted(maps.Keys(sizes)) {
		c, ok := byID[id]
		if !ok {
			return fmt.Errorf("%w: failed to find %s in content set", ErrUnknownComponent, id)
		}
		c.Size = sizes[id]
		m.Components = append(m.Components, c)
	}
	slices.SortStableFunc(m.Components, func(a, b Component) int { return cmp.Compare(b.Size, a.Size) })
	return nil
}

// Plan makes upstream's plan for a commit's content. prior is as for [PackUpstream].
func (m *Mapping) Plan(content repo.Content, prior [][]string) (*Plan, error) {
	limit := m.MaxLayers
	if limit == 0 {
		limit = DefaultMaxLayers
	}
	left := newRemainder(content)
	plan := &Plan{}
	for _, id := range slices.Sorted(maps.Keys(m.Exclusive)) {
		var layer layerContent
		for _, p := range m.Exclusive[id] {
			left.movePath(&layer, p)
		}
		plan.Layers = append(plan.Layers, Layer{Name: id, Packages: []string{id}, Content: layer.sorted()})
	}
	var regular []Component
	for _, c := range m.Components {
		if _, exclusive := m.Exclusive[c.ID]; !exclusive {
			regular = append(regular, c)
		}
	}
	if len(regular) == 0 && len(left.paths) == 0 {
		return plan, nil
	}
	bins, err := PackUpstream(regular, limit-len(m.Exclusive), prior)
	if err != nil {
		return nil, err
	}
	objects := map[string][]object.Checksum{}
	for _, a := range m.Objects {
		objects[a.Component] = append(objects[a.Component], a.Object)
	}
	for _, bin := range bins {
		var layer layerContent
		var packages []string
		for _, c := range bin {
			packages = append(packages, c.Name)
			for _, o := range objects[c.ID] {
				left.moveObject(&layer, o)
			}
		}
		plan.Layers = append(plan.Layers, Layer{Name: binName(bin), Packages: packages, Content: layer.sorted()})
	}
	for _, f := range content {
		if paths := left.paths[f.Checksum]; len(paths) > 0 {
			return nil, fmt.Errorf("%w: %s, at %s", ErrUnmapped, f.Checksum, paths[0])
		}
	}
	return plan, nil
}

// binName is what the history calls a layer.
func binName(bin []Component) string {
	switch n := len(bin); {
	case n == 0:
		return "Reserved for new packages"
	case n > 5:
		return fmt.Sprintf("%d components", n)
	}
	ids := make([]string, len(bin))
	for i, c := range bin {
		ids[i] = c.ID
	}
	return strings.Join(ids, " and ")
}

// remainder is what of the commit has no layer yet.
type remainder struct{ paths map[object.Checksum][]string }

func newRemainder(content repo.Content) *remainder {
	r := &remainder{paths: make(map[object.Checksum][]string, len(content))}
	for _, f := range content {
		r.paths[f.Checksum] = append(r.paths[f.Checksum], f.Path)
	}
	return r
}

// movePath moves one path of an object. What is not there is passed over, as upstream does.
func (r *remainder) movePath(to *layerContent, p PathObject) {
	paths := r.paths[p.Object]
	i := slices.Index(paths, p.Path)
	if i < 0 {
		return
	}
	to.add(p.Object, p.Path)
	if paths = slices.Delete(paths, i, i+1); len(paths) == 0 {
		delete(r.paths, p.Object)
	} else {
		r.paths[p.Object] = paths
	}
}

// moveObject moves an object with all the paths that it has left.
func (r *remainder) moveObject(to *layerContent, c object.Checksum) {
	if paths, ok := r.paths[c]; ok {
		to.add(c, paths...)
		delete(r.paths, c)
	}
}

// layerContent gathers the files of a layer.
type layerContent struct{ files repo.Content }

func (l *layerContent) add(c object.Checksum, paths ...string) {
	for _, p := range paths {
		l.files = append(l.files, repo.ObjectPath{Checksum: c, Path: p})
	}
}

func (l *layerContent) sorted() repo.Content {
	slices.SortStableFunc(l.files, func(a, b repo.ObjectPath) int { return a.Checksum.Compare(b.Checksum) })
	return l.files
}
