package report

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/upstream"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// PackageDifference is a package that differs between two images. Several versions that are installed side by side are
// separated by spaces.
type PackageDifference struct {
	// System is the kind of package manager, or "" if it is not known.
	System string `json:"system,omitempty"`
	Name   string `json:"name"`
	// Change is "changed", "added" or "removed".
	Change string `json:"change"`
	// From and To are the versions, "" if they are not known or if there is none.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// AnnotatedPackages returns the packages that the annotations of an image's layers name, or nil if there are none. A
// version is known if a layer has a single package, and its history names it.
func AnnotatedPackages(image *oci.Image) chunking.Packages {
	p := map[string]string{}
	for _, l := range image.Layers {
		names := annotatedNames(&l)
		for _, name := range names {
			version := ""
			if len(names) == 1 {
				version = versionIn(&l, name)
			}
			p[printable.Line(name)] = version
		}
	}
	if len(p) == 0 {
		return nil
	}
	return chunking.Packages{"": p}
}

// annotatedNames returns the names in the annotation of a layer.
func annotatedNames(l *oci.Layer) []string {
	names := strings.Split(l.Descriptor.Annotations[upstream.AnnotationComponents], ",")
	return slices.DeleteFunc(names, func(s string) bool { return s == "" })
}

// versionIn returns the version of the only package of a layer, if the history has NAME-VERSION-RELEASE.ARCH.
func versionIn(l *oci.Layer, name string) string {
	if l.History == nil {
		return ""
	}
	rest, ok := strings.CutPrefix(l.History.CreatedBy, name+"-")
	dot := strings.LastIndexByte(rest, '.')
	if !ok || dot < 0 {
		return ""
	}
	version := rest[:dot]
	if strings.Count(version, "-") != 1 || strings.ContainsAny(version, " ,") {
		return ""
	}
	return printable.Line(version)
}

// labelled returns the packages of an image's label, or nil if it has none that belongs to its layers.
func labelled(image *oci.Image, record *chunking.Record) chunking.Packages {
	if record == nil {
		return nil
	}
	p, err := chunking.ParsePackages(image.Config.Labels[chunking.LabelPackages])
	if err != nil {
		return nil
	}
	return p
}

// packagesOf compares the packages of two images, as far as both say which they have. The result is sorted.
func packagesOf(from, to *oci.Image) []PackageDifference {
	recordFrom, _ := recordOf(from)
	recordTo, _ := recordOf(to)
	old, now := labelled(from, recordFrom), labelled(to, recordTo)
	if old == nil || now == nil {
		old, now = nil, nil
		if recordFrom == nil && recordTo == nil {
			old, now = AnnotatedPackages(from), AnnotatedPackages(to)
		}
	}
	if old == nil || now == nil {
		return nil
	}
	out := []PackageDifference{}
	for system, list := range now {
		for name, version := range list {
			had, ok := old[system][name]
			switch {
			case !ok:
				out = append(out, PackageDifference{system, name, Added, "", version})
			case had != version && had != "" && version != "":
				out = append(out, PackageDifference{system, name, Changed, had, version})
			}
		}
	}
	for system, list := range old {
		for name, version := range list {
			if _, ok := now[system][name]; !ok {
				out = append(out, PackageDifference{system, name, Removed, version, ""})
			}
		}
	}
	slices.SortFunc(out, comparePackages)
	return out
}

// systemsOf returns the package managers whose packages both images list.
func systemsOf(from, to *oci.Image) map[string]bool {
	recordFrom, _ := recordOf(from)
	recordTo, _ := recordOf(to)
	old, now := labelled(from, recordFrom), labelled(to, recordTo)
	both := map[string]bool{}
	for system := range now {
		both[system] = len(old[system]) > 0
	}
	return both
}

// ownersOf returns the installed packages of each component of an image, as names with versions, as far as they can be
// told apart.
func ownersOf(image *oci.Image, record *chunking.Record) map[string][]string {
	out := map[string][]string{}
	versions := labelled(image, record)
	if versions == nil {
		return out
	}
	var list []PackageDifference
	for system, names := range versions {
		for name, version := range names {
			list = append(list, PackageDifference{system, name, Added, "", version})
		}
	}
	catalog := newCatalog(list)
	for i := range record.Layers {
		var annotated []string
		if n := record.At + 1 + i; n < len(image.Layers) {
			annotated = annotatedNames(&image.Layers[n])
		}
		owned, _ := catalog.assign(record.Layers[i].Components, annotated)
		for id, packages := range owned {
			for _, p := range packages {
				out[id] = append(out[id], strings.TrimRight(p.Name+" "+p.To, " "))
			}
		}
	}
	return out
}

// catalog finds packages.
type catalog struct {
	// byName has the packages by name, and also by the name without the architecture that a label appends if a package
	// is installed for several.
	byName map[string][]PackageDifference
	// byVersions has the packages that have the same versions.
	byVersions map[versions][]PackageDifference
}

// versions are what packages that were built from the same source have in common.
type versions struct{ system, from, to string }

// suffixes are the architectures that labels append to names.
var suffixes = map[string]bool{
	".amd64": true, ".arm64": true, ".armel": true, ".armhf": true, ".i386": true, ".ppc64el": true, ".riscv64": true,
	".s390x": true, ".all": true, ".aarch64": true, ".i586": true, ".i686": true, ".noarch": true, ".ppc64le": true,
	".x86_64": true,
}

func newCatalog(list []PackageDifference) *catalog {
	c := &catalog{map[string][]PackageDifference{}, map[versions][]PackageDifference{}}
	list = slices.Clone(list)
	slices.SortFunc(list, comparePackages)
	for _, p := range list {
		c.byName[p.Name] = append(c.byName[p.Name], p)
		if ext := path.Ext(p.Name); suffixes[ext] {
			short := strings.TrimSuffix(p.Name, ext)
			c.byName[short] = append(c.byName[short], p)
		}
		v := versions{p.System, p.From, p.To}
		c.byVersions[v] = append(c.byVersions[v], p)
	}
	return c
}

func comparePackages(a, b PackageDifference) int {
	return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Name, b.Name))
}

// assign finds which packages belong to which of some components of a layer. Components are named by source, packages
// are what was built from it, and the image only says which packages have files in the layer: names, or nothing if
// another program wrote the manifest. So a package belongs to the component with its name, to the only component of its
// system, to the one whose other packages have its versions, or to the only one that is left. rest are the packages of
// the layer that could be in more than one.
func (c *catalog) assign(ids, names []string) (owned map[string][]PackageDifference, rest []PackageDifference) {
	a := &assignment{owned: map[string][]PackageDifference{}, owner: map[versions]string{}, done: map[[2]string]bool{}}
	systems := map[string][]string{}
	for _, id := range ids {
		system, name, _ := strings.Cut(id, "/")
		systems[system] = append(systems[system], id)
		for _, p := range c.byName[name] {
			if p.System == system {
				a.give(p, id)
			}
		}
	}
	var open []PackageDifference
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		for _, p := range c.byName[name] {
			switch here := systems[p.System]; {
			case len(here) == 1:
				a.give(p, here[0])
			case len(here) > 1 && !a.done[[2]string{p.System, p.Name}]:
				open = append(open, p)
			}
		}
	}
	if len(names) == 0 {
		for v := range a.owner {
			if v.from != "" { // versions before and after, which are hardly those of another source by chance
				open = append(open, c.byVersions[v]...)
			}
		}
		slices.SortFunc(open, comparePackages)
	}
	for _, p := range open {
		if id := a.owner[versions{p.System, p.From, p.To}]; id != "" {
			a.give(p, id)
		} else if len(names) > 0 {
			rest = append(rest, p)
		}
	}
	open, rest = rest, nil
	left := map[string][]string{}
	for system, list := range systems {
		left[system] = slices.DeleteFunc(slices.Clone(list), func(id string) bool { return len(a.owned[id]) > 0 })
	}
	for _, p := range open {
		switch list := left[p.System]; {
		case len(list) == 1:
			a.give(p, list[0])
		case len(list) > 1: // with none left, its files did not change
			rest = append(rest, p)
		}
	}
	return a.owned, rest
}

// assignment is what assign found out so far.
type assignment struct {
	owned map[string][]PackageDifference
	// owner has the components of packages by their versions, and "" if there are several.
	owner map[versions]string
	done  map[[2]string]bool
}

func (a *assignment) give(p PackageDifference, id string) {
	name := [2]string{p.System, p.Name}
	if a.done[name] {
		return
	}
	a.done[name] = true
	a.owned[id] = append(a.owned[id], p)
	key := versions{p.System, p.From, p.To}
	if other, ok := a.owner[key]; ok && other != id {
		id = ""
	}
	a.owner[key] = id
}
