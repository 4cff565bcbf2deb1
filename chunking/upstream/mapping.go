package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// DefaultMaxChunks is upstream's default for the number of layers after the first: half of what Docker allows.
const DefaultMaxChunks = 64

// Assignment says which package an object belongs to.
type Assignment struct {
	Object  object.Checksum
	Package string // the package's ID
}

// PathObject is a path in a commit, and its object.
type PathObject struct {
	Path   string // absolute
	Object object.Checksum
}

// Mapping says which package each object of a commit belongs to.
type Mapping struct {
	// Packages are in descending order of size; see [Mapping.Measure].
	Packages []Package
	// Objects are in the order in which they go into layers. Every object of the commit occurs once.
	Objects []Assignment
	// Exclusive lists the packages that have a layer of their own, with their paths.
	Exclusive map[string][]PathObject
	// MaxChunks is the number of layers after the first. 0 means [DefaultMaxChunks].
	MaxChunks int
}

// Errors about mappings. Returned errors wrap them.
var (
	// ErrUnknownPackage means that an object is assigned to a package that is not listed.
	ErrUnknownPackage = errors.New("unknown component")
	// ErrUnmapped means that an object of the commit belongs to no package.
	ErrUnmapped = errors.New("object belongs to no component")
)

// Measure sets the sizes of the packages from the commit and sorts them as the packing expects: by size, and by ID
// among equal sizes. It removes packages without objects.
func (m *Mapping) Measure(ctx context.Context, src repo.Source) error {
	sizes := map[string]uint64{}
	for _, a := range m.Objects {
		info, err := src.FileInfo(ctx, a.Object)
		if err != nil {
			return err
		}
		sizes[a.Package] += uint64(info.Size)
	}
	byID := map[string]Package{}
	for _, c := range m.Packages {
		byID[c.ID] = c
	}
	m.Packages = nil
	for _, id := range slices.Sorted(maps.Keys(sizes)) {
		c, ok := byID[id]
		if !ok {
			return fmt.Errorf("%w: failed to find %s in content set", ErrUnknownPackage, id)
		}
		c.Size = sizes[id]
		m.Packages = append(m.Packages, c)
	}
	slices.SortStableFunc(m.Packages, func(a, b Package) int { return cmp.Compare(b.Size, a.Size) })
	return nil
}

// Split returns the split that upstream makes for the content of a commit. prior is as for [Pack].
func (m *Mapping) Split(content repo.Content, prior [][]string) (*chunking.Split, error) {
	limit := m.MaxChunks
	if limit == 0 {
		limit = DefaultMaxChunks
	}
	left := newRemainder(content)
	split := &chunking.Split{}
	for _, id := range slices.Sorted(maps.Keys(m.Exclusive)) {
		var layer layerContent
		for _, p := range m.Exclusive[id] {
			left.movePath(&layer, p)
		}
		split.Layers = append(split.Layers, chunking.Layer{Name: id, Packages: []string{id}, Content: layer.sorted()})
	}
	var regular []Package
	for _, c := range m.Packages {
		if _, exclusive := m.Exclusive[c.ID]; !exclusive {
			regular = append(regular, c)
		}
	}
	if len(regular) == 0 && len(left.paths) == 0 {
		return split, nil
	}
	bins, err := Pack(regular, limit-len(m.Exclusive), prior)
	if err != nil {
		return nil, err
	}
	objects := map[string][]object.Checksum{}
	for _, a := range m.Objects {
		objects[a.Package] = append(objects[a.Package], a.Object)
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
		split.Layers = append(split.Layers, chunking.Layer{Name: binName(bin), Packages: packages, Content: layer.sorted()})
	}
	for _, f := range content {
		if paths := left.paths[f.Checksum]; len(paths) > 0 {
			return nil, fmt.Errorf("%w: %s, at %s", ErrUnmapped, f.Checksum, paths[0])
		}
	}
	return split, nil
}

// binName returns the name of a layer in the history.
func binName(bin []Package) string {
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

// remainder holds the files of the commit that have no layer yet.
type remainder struct{ paths map[object.Checksum][]string }

func newRemainder(content repo.Content) *remainder {
	r := &remainder{paths: make(map[object.Checksum][]string, len(content))}
	for _, f := range content {
		r.paths[f.Checksum] = append(r.paths[f.Checksum], f.Path)
	}
	return r
}

// movePath moves one path of an object. It does nothing if the path is not there, as upstream.
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

// moveObject moves an object with all its remaining paths.
func (r *remainder) moveObject(to *layerContent, c object.Checksum) {
	if paths, ok := r.paths[c]; ok {
		to.add(c, paths...)
		delete(r.paths, c)
	}
}

// layerContent collects the files of a layer.
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
