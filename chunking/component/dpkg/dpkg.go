// Package dpkg reads dpkg's database of installed packages from a tree: var/lib/dpkg/status with the lists of files in
// info. Images without a package manager instead have a paragraph for each package in var/lib/dpkg/status.d. The
// formats are those of dpkg(1) and deb-changelog(5).
package dpkg

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// homes are the directories of the database; the first one that exists is used. The second is that of commits which
// keep the initial content of /var there, the third that of images without a package manager and with merged /usr.
var homes = []string{"/var/lib/dpkg", "/usr/share/factory/var/lib/dpkg", "/usr/lib/dpkg"}

// Limits on the size of a database.
const (
	maxStatus   = 128 << 20
	maxList     = 64 << 20
	maxPackages = 200_000
	maxPaths    = 20_000_000
)

// Read returns the installed packages with their files, sorted by name and architecture. Paths are those to which dpkg
// installed the files, after diversions. Change dates come from the changelogs below usr/share/doc, if they exist.
//
// The error wraps [fs.ErrNotExist] if there is no database, and [pkgdb.ErrBroken] or [pkgdb.ErrTooLarge] if it cannot
// be read.
func Read(ctx context.Context, x *rootfs.Index) ([]pkgdb.Package, error) {
	r := &reader{x: x}
	err := fs.ErrNotExist
	for _, r.home = range homes {
		if err = r.read(ctx); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, repo.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", pkgdb.ErrTooLarge, err)
	}
	if err != nil {
		return nil, fmt.Errorf("dpkg: %w", err)
	}
	for i := range r.packages {
		if err := r.changelog(ctx, &r.packages[i]); err != nil {
			return nil, fmt.Errorf("dpkg: %w", err)
		}
	}
	slices.SortStableFunc(r.packages, func(a, b pkgdb.Package) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch))
	})
	return r.packages, nil
}

type reader struct {
	x        *rootfs.Index
	home     string
	packages []pkgdb.Package
	diverted map[string]diversion
	moved    map[string]bool // the base names of diverted
	paths    int
}

// diversion says to which path a file of other packages is diverted.
type diversion struct{ to, by string }

// read reads the database in a home. The error is [fs.ErrNotExist] if it has neither form.
func (r *reader) read(ctx context.Context) error {
	data, err := r.x.ReadFile(ctx, r.home+"/status", maxStatus)
	none := errors.Is(err, fs.ErrNotExist)
	if err == nil {
		err = r.installed(ctx, data)
	}
	if err != nil && !none {
		return err
	}
	dir, err := r.x.Resolve(r.home + "/status.d")
	if err != nil || !r.x.Entry(dir).IsDir() {
		if none {
			return fs.ErrNotExist
		}
		return nil
	}
	return r.distroless(ctx, r.x.Entry(dir).Path())
}

// unpacked are the states of packages whose files are installed.
var unpacked = []string{"installed", "triggers-awaited", "triggers-pending", "half-configured", "unpacked"}

// installed reads the status file and the lists that it names.
func (r *reader) installed(ctx context.Context, data []byte) error {
	if err := r.diversions(ctx); err != nil {
		return err
	}
	return paragraphs(data, func(p map[string]string) error {
		words := strings.Fields(p["Status"])
		if len(words) != 3 || !slices.Contains(unpacked, words[2]) {
			return nil
		}
		pkg, err := r.add(p)
		if err != nil {
			return err
		}
		list, err := r.list(ctx, pkg)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(list)) {
			p := strings.TrimSuffix(line, "\n")
			if p == "" || p == "/." || p[0] != '/' {
				continue
			}
			if err := r.addFile(pkg, p); err != nil {
				return err
			}
		}
		return nil
	})
}

// add adds the package of a paragraph.
func (r *reader) add(p map[string]string) (*pkgdb.Package, error) {
	name := p["Package"]
	if name == "" || strings.ContainsAny(name, "/\x00 ,") {
		return nil, fmt.Errorf("%w: a paragraph with the package name %.100q", pkgdb.ErrBroken, name)
	}
	if len(r.packages) >= maxPackages {
		return nil, fmt.Errorf("%w: more than %d packages", pkgdb.ErrTooLarge, maxPackages)
	}
	source, _, _ := strings.Cut(p["Source"], " ")
	r.packages = append(r.packages, pkgdb.Package{
		Name: name, Source: cmp.Or(source, name), Version: p["Version"], Arch: p["Architecture"],
	})
	return &r.packages[len(r.packages)-1], nil
}

// list returns the list of a package's files. A missing list means that the package has no files.
func (r *reader) list(ctx context.Context, pkg *pkgdb.Package) ([]byte, error) {
	for _, name := range []string{pkg.Name + ".list", pkg.Name + ":" + pkg.Arch + ".list"} {
		data, err := r.x.ReadFile(ctx, path.Join(r.home, "info", name), maxList)
		if !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	return nil, nil
}

func (r *reader) addFile(pkg *pkgdb.Package, p string) error {
	if r.paths++; r.paths > maxPaths {
		return fmt.Errorf("%w: more than %d paths", pkgdb.ErrTooLarge, maxPaths)
	}
	p = path.Clean(p)
	if r.moved[path.Base(p)] {
		if d, ok := r.diverted[r.canonical(p)]; ok && d.by != pkg.Name {
			p = d.to
		}
	}
	pkg.Files.Add(pkgdb.File{Path: p})
	return nil
}

// diversions reads the file diversions. It has three lines for each diversion: the path, the new path, and the package
// that the path belongs to now.
func (r *reader) diversions(ctx context.Context) error {
	data, err := r.x.ReadFile(ctx, r.home+"/diversions", maxList)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	r.diverted, r.moved = make(map[string]diversion, len(lines)/3), make(map[string]bool, len(lines)/3)
	for i := 0; i+2 < len(lines); i += 3 {
		from := r.canonical(lines[i])
		r.diverted[from] = diversion{to: path.Clean("/" + lines[i+1]), by: lines[i+2]}
		r.moved[path.Base(from)] = true
	}
	return nil
}

// canonical resolves the symlinks in the parent directories of a path: a list may have /bin/sh and a diversion
// /usr/bin/sh.
func (r *reader) canonical(p string) string {
	p = path.Clean("/" + p)
	if c, ok := r.x.Canonical(p); ok {
		return c
	}
	return p
}

// notParagraphs are the suffixes of files beside the paragraphs.
var notParagraphs = []string{
	".md5sums", ".conffiles", ".list", ".preinst", ".postinst", ".prerm", ".postrm", ".triggers", ".shlibs", ".symbols",
	".config", ".templates",
}

// distroless reads status.d. It has a file with a paragraph for each package, and md5sums, which are the only list of
// files.
func (r *reader) distroless(ctx context.Context, dir string) error {
	for i := range r.x.Children(dir) {
		p := r.x.Entry(i).Path()
		if !r.x.Entry(i).IsRegular() || slices.Contains(notParagraphs, path.Ext(p)) {
			continue
		}
		data, err := r.x.ReadFile(ctx, p, maxStatus)
		if err != nil {
			return err
		}
		err = paragraphs(data, func(fields map[string]string) error {
			pkg, err := r.add(fields)
			if err != nil {
				return err
			}
			return r.md5sums(ctx, pkg, p+".md5sums")
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) md5sums(ctx context.Context, pkg *pkgdb.Package, name string) error {
	sums, err := r.x.ReadFile(ctx, name, maxList)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(sums)) {
		_, p, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || p == "" {
			continue
		}
		if err := r.addFile(pkg, "/"+strings.TrimPrefix(p, "./")); err != nil {
			return err
		}
	}
	return nil
}

// paragraphs calls f with the fields of each paragraph that this package uses. It skips continuation lines.
func paragraphs(data []byte, f func(map[string]string) error) error {
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(make([]byte, 0, 64<<10), 16<<20)
	fields := map[string]string{}
	end := func() error {
		if len(fields) == 0 {
			return nil
		}
		err := f(fields)
		clear(fields)
		return err
	}
	for s.Scan() {
		line := s.Text()
		if strings.TrimSpace(line) == "" {
			if err := end(); err != nil {
				return err
			}
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("%w: the line %.100q has no colon", pkgdb.ErrBroken, line)
		}
		switch key {
		case "Package", "Status", "Version", "Architecture", "Source":
			fields[key] = strings.TrimSpace(value)
		default:
			fields[""] = "" // so that a paragraph of other fields counts as one
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("%w: %w", pkgdb.ErrBroken, err)
	}
	return end()
}
