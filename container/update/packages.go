package update

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/report"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// Source says where the packages of an image are known from.
type Source string

// The sources of packages.
const (
	// Databases are the databases of package managers in the tree.
	Databases Source = "databases"
	// Label is the label of the configuration.
	Label Source = "label"
	// Annotations are the annotations and the history of layers. They name packages with files. Most have no version, and
	// a package without a version is not known to change.
	Annotations Source = "annotations"
)

// PackageChanges are the packages that differ, sorted by system and name.
type PackageChanges struct {
	Added   []Package       `json:"added"`
	Removed []Package       `json:"removed"`
	Changed []PackageChange `json:"changed"`
}

// Package is a package of one image. Several versions that are installed side by side are separated by spaces.
type Package struct {
	// System is the kind of package manager, or "" if it is not known.
	System  string `json:"system,omitempty"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

// PackageChange is a package that has different versions in the two images.
type PackageChange struct {
	System string `json:"system,omitempty"`
	Name   string `json:"name"`
	From   string `json:"from"`
	To     string `json:"to"`
}

// comparePackages sets the packages that differ, from the best sources that the images have. All packages of one image
// are compared with all of the other, or else a part of them with the same part.
func (d *Difference) comparePackages(ctx context.Context, r *repo.Repo, from, to *Image) error {
	if !d.Changed {
		d.Packages = changes(nil, nil)
		return nil
	}
	old, err := d.whole(ctx, r, from, &d.From)
	if err != nil {
		return err
	}
	newest, err := d.whole(ctx, r, to, &d.To)
	if err != nil {
		return err
	}
	if old != nil && newest != nil {
		d.Packages = changes(old, newest)
		return nil
	}
	for _, s := range []struct {
		source Source
		read   func(*Image) chunking.Packages
	}{{Label, d.labelled}, {Annotations, annotated}} {
		old, newest := s.read(from), s.read(to)
		if old != nil && newest != nil {
			d.From.Packages, d.To.Packages, d.Packages = s.source, s.source, changes(old, newest)
			break
		}
	}
	if d.To.Packages == Label && store.LayersOnTop(to.Image.Image) > 0 {
		const text = "image %s has %s more than when its list of packages was made: what they bring is not known"
		d.warn(fmt.Errorf(text, to.Ref.Image, sizes.Count(store.LayersOnTop(to.Image.Image), "layer")))
	}
	return nil
}

// whole returns all packages of an image, or nil if they are not known, and sets their source.
func (d *Difference) whole(ctx context.Context, r *repo.Repo, img *Image, side *Side) (chunking.Packages, error) {
	if !img.stored() {
		if store.LayersOnTop(img.Image.Image) != 0 {
			return nil, nil
		}
		list := d.labelled(img)
		if list != nil {
			side.Packages = Label
		}
		return list, nil
	}
	list, warnings, err := component.CommitPackages(ctx, r, img.Commit)
	if pkgdb.IsFault(err) {
		d.warn(err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", img.Ref.Image, err)
	}
	for _, w := range warnings {
		d.warn(errors.New(w))
	}
	if len(list) == 0 {
		return nil, nil
	}
	side.Packages = Databases
	return chunking.NewPackages(list), nil
}

// labelled returns the packages of an image's label, or nil if it has none that belongs to its layers. Layers on top of
// those may have other packages.
func (d *Difference) labelled(img *Image) chunking.Packages {
	label, ok := img.Config.Labels[chunking.LabelPackages]
	if !ok {
		return nil
	}
	if store.LayersOnTop(img.Image.Image) < 0 {
		return nil
	}
	p, err := chunking.ParsePackages(label)
	if err != nil {
		d.warn(fmt.Errorf("image %s: label %s: %w", img.Ref.Image, chunking.LabelPackages, err))
		return nil
	}
	return p
}

// annotated returns the packages that the layers' annotations name, or nil if there are none, or if the layers follow a
// plan of this program: then the annotations also have names of other components.
func annotated(img *Image) chunking.Packages {
	if store.LayersOnTop(img.Image.Image) >= 0 {
		return nil
	}
	return report.AnnotatedPackages(img.Image.Image)
}

// changes compares the packages of two images. A package whose version is not known in one of them did not change.
func changes(from, to chunking.Packages) *PackageChanges {
	c := &PackageChanges{Added: []Package{}, Removed: []Package{}, Changed: []PackageChange{}}
	for system, list := range to {
		for name, version := range list {
			old, ok := from[system][name]
			switch {
			case !ok:
				c.Added = append(c.Added, Package{system, name, version})
			case old != version && old != "" && version != "":
				c.Changed = append(c.Changed, PackageChange{system, name, old, version})
			}
		}
	}
	for system, list := range from {
		for name, version := range list {
			if _, ok := to[system][name]; !ok {
				c.Removed = append(c.Removed, Package{system, name, version})
			}
		}
	}
	byName := func(a, b Package) int { return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Name, b.Name)) }
	slices.SortFunc(c.Added, byName)
	slices.SortFunc(c.Removed, byName)
	slices.SortFunc(c.Changed, func(a, b PackageChange) int {
		return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Name, b.Name))
	})
	return c
}
