// Package dpkg reads dpkg's database of installed packages from a tree: the file var/lib/dpkg/status and the lists of
// files in var/lib/dpkg/info. Images without a package manager have a file for each package in var/lib/dpkg/status.d
// instead. The formats are those of dpkg(1) and deb-changelog(5). The database of opkg has the same form.
package dpkg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// homes are the places of the database: that of dpkg, that of the initial content of /var in commits, that of images
// without a package manager and with a merged /usr, and those to which builders of Debian commits move it.
var homes = []string{
	"/var/lib/dpkg", "/usr/share/factory/var/lib/dpkg", "/usr/lib/dpkg",
	"/usr/share/dpkg/database", "/usr/lib/sysimage/dpkg", "/usr/lib/sysimage/lib/dpkg",
}

// Paths returns the paths at which [Read] and [ReadOpkg] look for databases.
func Paths() (paths []string) {
	for _, home := range slices.Concat(homes, opkgHomes) {
		for _, name := range []string{"status", "updates", "status.d", "info", "diversions"} {
			paths = append(paths, home+"/"+name)
		}
	}
	return paths
}

// Read returns the installed packages with their files, sorted by name and architecture. Diversions are applied to the
// paths. Change dates come from the changelogs below usr/share/doc, which many images lack.
//
// The error wraps [fs.ErrNotExist] if there is no database.
func Read(ctx context.Context, x *rootfs.Index) (*pkgdb.Database, error) {
	c := &changelogs{x: x, known: map[int]dates{}, budget: maxChangelogs}
	return read(ctx, x, "dpkg", homes, c)
}

// read reads the database of a package manager. The changelogs are nil if the system has none.
func read(ctx context.Context, x *rootfs.Index, system string, homes []string, c *changelogs) (*pkgdb.Database, error) {
	db, err := pkgdb.ReadFirst(ctx, x, homes, func(ctx context.Context, p *pkgdb.Reader, home string) error {
		r := &reader{Reader: p, home: home, opkg: system == "opkg", removed: map[string]bool{}}
		if err := r.read(ctx); err != nil || c == nil {
			return err
		}
		for i := range r.Packages {
			if err := c.add(ctx, r.Reader, &r.Packages[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", system, err)
	}
	for i, fault := range db.Faults {
		db.Faults[i] = fmt.Errorf("%s: %w", system, fault)
	}
	slices.SortStableFunc(db.Packages, func(a, b pkgdb.Package) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch))
	})
	return db, nil
}

// reader is the state of reading the database in a directory.
type reader struct {
	*pkgdb.Reader
	home     string
	opkg     bool
	diverted map[string]diversion // by path
	moved    map[string]bool      // the base names of diverted paths
	removed  map[string]bool      // packages that are not installed according to the status
	listed   map[string]bool      // names of lists that belong to a package
	unlisted missing              // packages without a list
	summed   missing              // packages whose md5sums are used as the list
}

// diversion is the path to which a file is diverted, and the package that keeps the original path.
type diversion struct{ to, by string }

// missing counts packages with something missing, and keeps the name of one.
type missing struct {
	n       int
	example string
}

func (m *missing) add(name string) {
	if m.n++; m.n == 1 {
		m.example = name
	}
}

func (m *missing) String() string {
	if m.n == 1 {
		return m.example
	}
	return fmt.Sprintf("%s and %d more", m.example, m.n-1)
}

// read reads both forms of the database. The error is [fs.ErrNotExist] if there is neither.
func (r *reader) read(ctx context.Context) error {
	status, any := r.home+"/status", false
	if e, ok := r.File(status); ok {
		any = true
		if e.Size == 0 {
			r.Empty(status)
		}
		if err := r.installed(ctx, status); err != nil {
			return err
		}
	}
	if dir, err := r.X.Resolve(r.home + "/status.d"); err == nil && r.X.Entry(dir).IsDir() {
		any = true
		if err := r.distroless(ctx, r.X.Entry(dir).Path()); err != nil {
			return err
		}
	}
	r.strayLists(any)
	if r.unlisted.n > 0 {
		r.Faultf("%s: there is no list of files of %v", r.home, &r.unlisted)
	}
	if r.summed.n > 0 {
		r.Faultf("%s: there is no list of files of %v: the paths in md5sums are used instead", r.home, &r.summed)
	}
	if !any {
		r.noStatus(status)
		return fs.ErrNotExist
	}
	return nil
}

// noStatus looks for what else shows that packages were installed.
func (r *reader) noStatus(status string) {
	if old := status + "-old"; r.Has(old) {
		r.Missing(status, old)
	}
	dir, err := r.X.Resolve(r.home + "/info")
	if err != nil {
		return
	}
	for i := range r.X.Children(r.X.Entry(dir).Path()) {
		if e := r.X.Entry(i); path.Ext(e.Name) == ".md5sums" {
			r.Missing(status, e.Path())
			return
		}
	}
}

// strayLists looks for lists of packages that are not in the status. They show that the status is truncated or missing.
func (r *reader) strayLists(any bool) {
	dir, err := r.X.Resolve(r.home + "/info")
	if err != nil {
		return
	}
	var stray missing
	for i := range r.X.Children(r.X.Entry(dir).Path()) {
		name, ok := strings.CutSuffix(r.X.Entry(i).Name, ".list")
		if !ok || r.listed[name] {
			continue
		}
		if name, _, _ := strings.Cut(name, ":"); !r.removed[name] {
			stray.add(name)
		}
	}
	switch {
	case stray.n == 0:
	case !any:
		r.Faultf("%s: there are lists of files of %v, but no status", r.home, &stray)
	default:
		r.Faultf("%s/status: there are lists of files of packages that it lacks, %v", r.home, &stray)
	}
}

// unpacked are the states of packages whose files are installed.
var unpacked = []string{"installed", "triggers-awaited", "triggers-pending", "half-configured", "unpacked"}

// installed reads the status file and the lists that it names.
func (r *reader) installed(ctx context.Context, status string) error {
	if err := r.diversions(ctx); err != nil {
		return err
	}
	r.listed = map[string]bool{}
	updated := map[string]bool{}
	names := r.journal()
	for _, name := range append(names, status) {
		if err := r.states(ctx, name, updated, name != status); err != nil {
			return err
		}
	}
	return nil
}

// journal returns the files in which dpkg writes the new state of a package before it is in the status, the last one
// first. They are there if dpkg was interrupted, and count more than the status. opkg has none.
func (r *reader) journal() (names []string) {
	dir, err := r.X.Resolve(r.home + "/updates")
	if err != nil || r.opkg {
		return nil
	}
	for i := range r.X.Children(r.X.Entry(dir).Path()) {
		if e := r.X.Entry(i); e.IsRegular() && strings.Trim(e.Name, "0123456789") == "" {
			names = append(names, e.Path())
		}
	}
	slices.Reverse(names)
	return names
}

// states reads a file with the states of packages, without those that were updated since. If update is set, those of
// this file are updates.
func (r *reader) states(ctx context.Context, name string, updated map[string]bool, update bool) error {
	return r.paragraphs(ctx, name, true, func(p map[string]string) error {
		id := p["Package"] + ":" + p["Architecture"]
		if updated[id] {
			return nil
		}
		if update && pkgdb.ValidName(p["Package"]) && pkgdb.ValidName(p["Architecture"]) {
			updated[id] = true
		}
		words := strings.Fields(p["Status"])
		if len(words) != 3 || !slices.Contains(unpacked, words[2]) {
			r.removed[strings.Clone(p["Package"])] = true
			return nil
		}
		pkg, err := r.add(ctx, p)
		if err != nil {
			return err
		}
		return r.list(ctx, pkg)
	})
}

// add adds the package of a paragraph.
func (r *reader) add(ctx context.Context, p map[string]string) (*pkgdb.Package, error) {
	source, _, _ := strings.Cut(p["Source"], " ")
	var built time.Time
	if r.opkg {
		var err error
		if source, err = r.recipe(ctx, p); err != nil {
			return nil, err
		}
		if n, err := strconv.ParseInt(p["Installed-Time"], 10, 64); err == nil && n > 0 && n < 1<<34 {
			built = time.Unix(n, 0).UTC()
		}
	}
	return r.Add(pkgdb.Package{
		Name: p["Package"], Source: cmp.Or(source, p["Package"]), Version: p["Version"], Arch: p["Architecture"],
		Built: built,
	})
}

// list reads the list of a package's files. Each package has one. If it is missing, the paths in md5sums are used.
func (r *reader) list(ctx context.Context, pkg *pkgdb.Package) error {
	names := []string{pkg.Name, pkg.Name + ":" + pkg.Arch}
	for _, name := range names {
		p := path.Join(r.home, "info", name+".list")
		r.listed[name] = true
		e, ok := r.File(p)
		if !ok {
			continue
		}
		if e.Size == 0 && !r.opkg {
			break // a list of dpkg has at least "/."
		}
		return r.paths(ctx, pkg, p, true, func(line string) (string, bool) {
			if r.opkg {
				line = opkgPath(line)
			}
			return line, strings.HasPrefix(line, "/")
		})
	}
	for _, name := range names {
		p := path.Join(r.home, "info", name)
		if _, ok := r.File(p + ".md5sums"); !ok {
			continue
		}
		r.summed.add(pkg.Name)
		if err := r.md5sums(ctx, pkg, p+".md5sums"); err != nil {
			return err
		}
		err := r.paths(ctx, pkg, p+".conffiles", false, func(line string) (string, bool) {
			i := strings.IndexByte(line, '/') // after a flag
			return line[max(i, 0):], i >= 0
		})
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	r.unlisted.add(pkg.Name)
	return nil
}

// paths adds the files of a list with one path per line. Lines that are not paths are a fault. If ended is set, so is a
// last line without a newline.
func (r *reader) paths(
	ctx context.Context, pkg *pkgdb.Package, list string, ended bool, parse func(line string) (string, bool),
) error {
	bad, first, example := 0, 0, ""
	cut, err := r.Lines(ctx, list, func(n int, line []byte) error {
		p, ok := parse(string(line))
		if ok && p != "/." {
			err := r.addFile(pkg, p)
			if !errors.Is(err, pkgdb.ErrBroken) {
				return err
			}
			ok = err == nil
		}
		if !ok {
			if bad++; bad == 1 {
				first, example = n, pkgdb.Quote(line)
			}
		}
		return nil
	})
	if bad > 0 {
		r.Faultf("%s:%d: %s is not a path (%d such lines)", list, first, example, bad)
	} else if cut && ended {
		r.Faultf("%s: the list is truncated: the last line has no newline", list)
	}
	return err
}

// addFile adds a file to a package, with the path to which it is diverted.
func (r *reader) addFile(pkg *pkgdb.Package, p string) error {
	p = path.Clean(p)
	if r.moved[path.Base(p)] {
		if d, ok := r.diverted[r.canonical(p)]; ok && d.by != pkg.Name {
			p = d.to
		}
	}
	return r.AddFile(&pkg.Files, pkgdb.File{Path: p})
}

// maxDiversions is the limit on the number of diverted files.
const maxDiversions = 20_000

// diversions reads the file of that name. It has three lines for each diversion: the path, the new path, and the
// package that keeps the original path.
func (r *reader) diversions(ctx context.Context) error {
	name := r.home + "/diversions"
	var lines []string
	r.diverted, r.moved = map[string]diversion{}, map[string]bool{}
	_, err := r.Lines(ctx, name, func(n int, line []byte) error {
		if lines = append(lines, string(line)); len(lines) < 3 {
			return nil
		}
		if len(r.diverted) == maxDiversions {
			return fmt.Errorf("%w: %s:%d: more than %d diversions", pkgdb.ErrTooLarge, name, n, maxDiversions)
		}
		if len(lines[0]+lines[1]+lines[2]) < 8192 {
			from := r.canonical(lines[0])
			r.diverted[from] = diversion{to: path.Clean("/" + lines[1]), by: lines[2]}
			r.moved[path.Base(from)] = true
		}
		lines = lines[:0]
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(lines) > 0 {
		r.Faultf("%s: the file is truncated within a diversion", name)
	}
	return err
}

// canonical resolves the symlinks in the parent directories of a path, since a list may have /bin/sh and a diversion
// /usr/bin/sh.
func (r *reader) canonical(p string) string {
	p = path.Clean("/" + p)
	if c, ok := r.X.Canonical(p); ok {
		return c
	}
	return p
}

// notParagraphs are the suffixes of the other files in status.d.
var notParagraphs = []string{
	".md5sums", ".conffiles", ".list", ".preinst", ".postinst", ".prerm", ".postrm", ".triggers", ".shlibs", ".symbols",
	".config", ".templates",
}

// distroless reads status.d. It has a file with a paragraph for each package, and the md5sums of its files as the only
// list. A package that the status says was removed is left out.
func (r *reader) distroless(ctx context.Context, dir string) error {
	for i := range r.X.Children(dir) {
		p := r.X.Entry(i).Path()
		if !r.X.Entry(i).IsRegular() || slices.Contains(notParagraphs, path.Ext(p)) {
			continue
		}
		err := r.paragraphs(ctx, p, false, func(fields map[string]string) error {
			words := strings.Fields(fields["Status"])
			gone := len(words) == 3 && !slices.Contains(unpacked, words[2])
			if gone || r.removed[fields["Package"]] {
				return nil
			}
			pkg, err := r.add(ctx, fields)
			if err != nil {
				return err
			}
			err = r.md5sums(ctx, pkg, p+".md5sums")
			if errors.Is(err, fs.ErrNotExist) {
				r.unlisted.add(pkg.Name)
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// md5sums reads the paths of a package's files from their checksums. The paths there are relative to the root.
func (r *reader) md5sums(ctx context.Context, pkg *pkgdb.Package, name string) error {
	return r.paths(ctx, pkg, name, true, func(line string) (string, bool) {
		_, p, ok := strings.Cut(line, "  ")
		return "/" + strings.TrimPrefix(p, "./"), ok && p != ""
	})
}
