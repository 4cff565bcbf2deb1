package component

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/alpm"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/apk"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/chisel"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/dpkg"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/portage"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/rpm"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Options says how components are found.
type Options struct {
	// Rules take precedence over everything else. The first matching rule applies.
	Rules []Rule
	// Strict makes a broken package database an error.
	Strict bool
	// Origin is the root filesystem that the tree was made from, or nil. A tree that was prepared for a commit may have
	// lost xattrs and package databases, which are then read from Origin. Files are the same if they have the same path in
	// the system.
	Origin rootfs.Tree
}

// Detect finds the components of a tree. The first detector that knows a file decides. The order is: the user's rules,
// the xattr "user.component", initial RAM disks and package databases, the packages of the operating system (by path,
// then by content if a file was moved), the stores of other package managers, language packages, generators of files
// from owned files, big files, the directory.
//
// With Options.Strict the error wraps [pkgdb.ErrBroken] or [pkgdb.ErrTooLarge] if a database cannot be read.
func Detect(ctx context.Context, tree rootfs.Tree, opts Options) (*Set, error) {
	first := tree
	if opts.Origin != nil {
		first = opts.Origin
	}
	d := newDetection(first, opts)
	err := d.run(ctx, opts, d.rules, d.xattrs, d.isolated, d.packages, d.moved, d.storedPackages, d.languages)
	if err == nil && opts.Origin != nil {
		d = d.handOver(tree, opts)
		err = d.run(ctx, opts, d.rules, d.isolated)
	}
	if err == nil {
		err = d.run(ctx, opts, d.generated, d.bigFiles, d.remainder, d.uselessRules)
	}
	if err != nil {
		return nil, err
	}
	return d.set(), nil
}

// run runs the steps in order.
func (d *detection) run(ctx context.Context, opts Options, steps ...func(context.Context, Options) error) error {
	for _, step := range steps {
		if err := step(ctx, opts); err != nil {
			return fmt.Errorf("finding components: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// handOver returns a detection for a tree that was made from this one. It has the claims of the files that both have.
func (d *detection) handOver(tree rootfs.Tree, opts Options) *detection {
	n := newDetection(tree, opts)
	n.list, n.byID, n.packaged, n.warnings, n.ruleHits = d.list, d.byID, d.packaged, d.warnings, d.ruleHits
	n.reasons, n.reasonAt, n.pkgs = d.reasons, d.reasonAt, d.pkgs
	for i, e := range n.entries.All() {
		if e.IsDir() {
			continue
		}
		if j, ok := d.shippedAs(e.Path()); ok {
			n.claims[i] = d.claims[j]
		}
	}
	return n
}

// shippedAs finds the file of this tree that has the given path in a tree made from it.
func (d *detection) shippedAs(p string) (int, bool) {
	in := shipped(p)
	for _, prefix := range []string{p[:len(p)-len(in)], "", "/usr", "/usr/share/factory"} {
		if i, ok := d.x.Find(prefix + in); ok && !d.entries.At(i).IsDir() {
			return i, true
		}
	}
	if rest, ok := strings.CutPrefix(in, "/usr/lib/"); ok { // repo/cleanup moves it there
		if i, ok := d.x.Find("/var/lib/" + rest); ok && !d.entries.At(i).IsDir() {
			return i, true
		}
	}
	return 0, false
}

// detection collects claims. It identifies components by their index in list until all are known.
type detection struct {
	tree     rootfs.Tree
	x        *rootfs.Index
	entries  *rootfs.List
	claims   []Claim
	reasons  []Reason
	reasonAt map[Reason]int32
	list     []*found
	byID     map[string]int32
	packaged map[string]string // binary package → component's ID
	pkgs     []Installed
	lost     map[int64][]missing // by size
	// lostBytes is the memory in bytes that lost takes, or would take without its limit.
	lostBytes int
	// listedBytes is the memory in bytes that the lists of language packages count for. listFaults is the number of
	// broken lists.
	listedBytes, listFaults int
	walked                  int      // the number of entries that were visited in directories of language packages
	ruleHits                []bool   // by rule
	ruleAt                  []uint32 // the index of the rule that has an entry, if one has
	warnings                []string
}

// found is a component during detection.
type found struct {
	Component
	packages map[string]bool
	days     map[int64]bool
	mass     bool // leave out days of mass rebuilds
}

func newDetection(tree rootfs.Tree, opts Options) *detection {
	d := &detection{
		tree: tree, x: rootfs.NewIndex(tree), entries: tree.Entries(), ruleHits: make([]bool, len(opts.Rules)),
		byID: map[string]int32{}, packaged: map[string]string{}, reasons: []Reason{{}}, reasonAt: map[Reason]int32{},
	}
	d.claims = make([]Claim, d.entries.Len())
	for i := range d.claims {
		d.claims[i].Component = -1
	}
	if len(opts.Rules) > 0 {
		d.ruleAt = make([]uint32, d.entries.Len())
	}
	return d
}

// component returns the index of a component, which it adds if it is new.
func (d *detection) component(id string) int32 {
	i, ok := d.byID[id]
	if !ok {
		i = int32(len(d.list))
		d.byID[id] = i
		d.list = append(d.list, &found{Component: Component{ID: id}, packages: map[string]bool{}, days: map[int64]bool{}})
	}
	return i
}

// reason returns the index of a reason, which it adds if it is new.
func (d *detection) reason(detector, text string) int32 {
	r := Reason{detector, text}
	i, ok := d.reasonAt[r]
	if !ok {
		i = int32(len(d.reasons))
		d.reasonAt[r] = i
		d.reasons = append(d.reasons, r)
	}
	return i
}

// detector returns the name of the detector that found the owner of an entry. It is empty if the entry has none.
func (d *detection) detector(i int) string { return d.reasons[d.claims[i].Reason].Detector }

// claim assigns an entry to a component unless it is a directory or has an owner.
func (d *detection) claim(i int, id, detector, reason string) {
	if d.claims[i].Component >= 0 || d.entries.At(i).IsDir() {
		return
	}
	d.claims[i] = Claim{Component: d.component(id), Reason: d.reason(detector, reason)}
}

func (d *detection) warnf(format string, args ...any) {
	d.warnings = append(d.warnings, fmt.Sprintf(format, args...))
}

// ecosystem is a kind of package manager.
type ecosystem struct {
	name string
	read func(context.Context, *rootfs.Index) (*pkgdb.Database, error)
}

var ecosystems = []ecosystem{
	{"rpm", rpm.Read},
	{"deb", dpkg.Read},
	{"apk", apk.Read},
	{"alpm", alpm.Read},
	{"portage", portage.Read},
	{"opkg", dpkg.ReadOpkg},
	{"chisel", chisel.Read},
}

// packages claims what the package managers of the operating system own.
func (d *detection) packages(ctx context.Context, opts Options) error {
	for _, e := range ecosystems {
		db, err := e.read(ctx, d.x)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, fault := range db.Faults {
			if err := d.fault(fault, opts); err != nil {
				return err
			}
		}
		d.pkgs = appendInstalled(d.pkgs, e.name, db.Packages)
		d.claimPackages(e.name, db.Packages, opts)
	}
	return nil
}

// fault adds a warning about a broken database. With Options.Strict it returns the error instead.
func (d *detection) fault(err error, opts Options) error {
	if opts.Strict {
		return err
	}
	d.warnf("%v: files whose package is not known are taken for unowned", err)
	return nil
}

// claimPackages claims the files of packages. A file of several packages goes to the first one by ID and name. A
// package that contains a file comes before one that only lists it as a ghost. The files of packages that a rule
// matches go to the component of the rule.
func (d *detection) claimPackages(system string, pkgs []pkgdb.Package, opts Options) {
	ids := d.sourceIDs(system, pkgs)
	rules := make([]int, len(pkgs))
	order := make([]int, len(pkgs))
	for i := range pkgs {
		if rules[i] = d.ruleOf(pkgs[i].Name, opts); rules[i] >= 0 {
			ids[i] = "user/" + opts.Rules[rules[i]].Name
		}
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(ids[a], ids[b]), cmp.Compare(pkgs[a].Name, pkgs[b].Name))
	})
	for _, n := range order {
		d.describe(ids[n], &pkgs[n])
		d.packaged[system+"/"+pkgs[n].Name] = ids[n]
	}
	for _, ghosts := range []bool{false, true} {
		for _, n := range order {
			p := &pkgs[n]
			dirs := d.directoriesOf(&p.Files)
			for file := range p.Files.All() {
				if file.Ghost != ghosts {
					continue
				}
				i, ok := d.locate(file.Path)
				switch {
				case ok && dirs[located{i, len(file.Path)}]:
				case !ok:
					d.lose(&file, ids[n], system, p.Name)
				case rules[n] >= 0:
					d.claimByRule(i, rules[n], ids[n], p.Name)
				default:
					d.claim(i, ids[n], system, "package "+p.Name)
				}
			}
		}
	}
}

// describe adds the metadata of a package to its component.
func (d *detection) describe(id string, p *pkgdb.Package) {
	f := d.list[d.component(id)]
	f.packages[word(p.Name)] = true
	f.mass = true
	if p.Built.After(f.Built) {
		f.Built = p.Built
	}
	for _, t := range p.Changes {
		f.days[t.Unix()/secondsOfDay] = true
	}
}

// located identifies a path of a package by the entry that it leads to and its length in bytes. It needs less memory
// than the path. Two paths are confused only if they have the same length and lead to the same entry.
type located struct{ entry, length int }

// directoriesOf returns the paths of a package that have other paths of it below them, where the tree has something
// other than a directory. Such an entry does not belong to the package: it is, for example, the symlink /bin of a
// merged /usr.
func (d *detection) directoriesOf(files *pkgdb.Files) map[located]bool {
	dirs, last := map[located]bool{}, ""
	for f := range files.All() {
		for dir := path.Dir(f.Path); len(dir) > 1 && !isWithin(last, dir); dir = path.Dir(dir) {
			if i, ok := d.locate(dir); ok {
				dirs[located{i, len(dir)}] = true
			}
		}
		last = f.Path
	}
	return dirs
}

// isWithin reports whether a path is below a directory.
func isWithin(p, dir string) bool {
	return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}

const secondsOfDay = 24 * 60 * 60

// sourceIDs returns the component ID of each package. A source that is installed in several versions side by side, like
// kernels, has a component for each, numbered by rank; the newest has no number.
func (d *detection) sourceIDs(system string, pkgs []pkgdb.Package) []string {
	type instance struct{ source, kernel string }
	kernels := map[string][]string{} // source → releases, newest first
	of := make([]instance, len(pkgs))
	for i := range pkgs {
		of[i].source = pkgs[i].Source
		if release := kernelRelease(&pkgs[i]); release != "" {
			of[i].kernel = release
			if !slices.Contains(kernels[pkgs[i].Source], release) {
				kernels[pkgs[i].Source] = append(kernels[pkgs[i].Source], release)
			}
		}
	}
	for _, list := range kernels {
		slices.SortFunc(list, func(a, b string) int { return compareVersions(b, a) })
	}
	ids := make([]string, len(pkgs))
	for i := range pkgs {
		ids[i] = system + "/" + word(of[i].source)
		if rank := slices.Index(kernels[of[i].source], of[i].kernel); rank > 0 {
			ids[i] += fmt.Sprintf("#%d", rank+1)
		}
	}
	return ids
}

// kernelRelease returns the release of the kernel whose image or modules a package has, or an empty string.
func kernelRelease(p *pkgdb.Package) string {
	for f := range p.Files.All() {
		rest, ok := strings.CutPrefix(f.Path, "/usr/lib/modules/")
		if !ok {
			rest, ok = strings.CutPrefix(f.Path, "/lib/modules/")
		}
		if release, below, _ := strings.Cut(rest, "/"); ok && below != "" && release != "" {
			return release
		}
	}
	return ""
}

// locate finds the file of a path in a database. It follows symlinks in the parent directories, as needed with merged
// /usr. The tree of a commit has /etc below /usr.
func (d *detection) locate(p string) (int, bool) {
	p = path.Clean("/" + p)
	candidates := []string{p}
	if strings.HasPrefix(p, "/etc/") {
		candidates = append(candidates, "/usr"+p)
	} else if rest, ok := strings.CutPrefix(p, "/var/"); ok {
		candidates = append(candidates, "/usr/share/factory/var/"+rest)
	}
	for _, c := range candidates {
		if canonical, ok := d.x.Canonical(c); ok {
			if i, ok := d.x.Find(canonical); ok && !d.entries.At(i).IsDir() {
				return i, true
			}
		}
	}
	return 0, false
}

// set converts the result to its final form.
func (d *detection) set() *Set {
	s := &Set{Claims: d.claims, Reasons: d.reasons, Installed: d.pkgs, Warnings: d.warnings}
	used := make([]bool, len(d.list))
	for _, c := range d.claims {
		if c.Component >= 0 {
			used[c.Component] = true
		}
	}
	mass := d.massDays()
	order := make([]int, 0, len(d.list))
	for i, f := range d.list {
		if f.Built.After(s.Reference) {
			s.Reference = f.Built
		}
		if used[i] {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(d.list[a].ID, d.list[b].ID) })
	index := make([]int32, len(d.list))
	for n, i := range order {
		index[i] = int32(n)
		f := d.list[i]
		if f.Packages = slices.Sorted(maps.Keys(f.packages)); len(f.Packages) == 0 {
			f.Packages = []string{path.Base(f.ID)}
		}
		for _, day := range slices.Sorted(maps.Keys(f.days)) {
			if !mass[day] {
				f.Changes = append(f.Changes, day)
			}
		}
		s.Components = append(s.Components, f.Component)
	}
	for i := range s.Claims {
		if c := &s.Claims[i]; c.Component >= 0 {
			c.Component = index[c.Component]
		}
	}
	s.Reference = s.Reference.UTC().Truncate(24 * time.Hour)
	return s
}

// minMass is the least number of sources for a day to count as a mass rebuild.
const minMass = 20

// massDays returns the days on which more than a fifth of all sources changed. They affect every layer under any plan,
// so they carry no information.
func (d *detection) massDays() map[int64]bool {
	count, sources := map[int64]int{}, 0
	for _, f := range d.list {
		if f.mass {
			sources++
		}
		for day := range f.days {
			count[day]++
		}
	}
	mass := map[int64]bool{}
	for day, n := range count {
		mass[day] = sources >= minMass && 5*n > sources
	}
	return mass
}
