package component

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// composerState is the component of the files that Composer makes for all packages together.
const composerState = "composer/autoload"

// composerPackages claims the packages that Composer, PHP's package manager, installed for a program. Its list is
// installed.json in a directory "composer" beside the packages. Newer versions also write it as a PHP program,
// installed.php, which is read if the other one is missing. The error wraps [pkgdb.ErrBroken] if entries of the list
// are not valid. The packages of the valid entries are claimed in any case.
func (d *detection) composerPackages(ctx context.Context, _ int, e rootfs.Entry) error {
	vendor, ok := strings.CutSuffix(e.Dir, "/composer")
	if !ok || e.Name != "installed.json" && e.Name != "installed.php" || d.inPackage(vendor) {
		return nil
	}
	parse := parseInstalledJSON
	if e.Name == "installed.php" {
		if i, ok := d.x.Find(e.Dir + "/installed.json"); ok && d.entries.At(i).IsRegular() {
			return nil
		}
		parse = parseInstalledPHP
	}
	data, err := d.readList(ctx, "composer", e.Path(), maxRecordFile)
	if err != nil {
		return err
	}
	broken := parse(e.Path(), data, func(p composerPackage) error { return d.composerPackage(vendor, p) })
	const reason = "made by Composer for all packages"
	for i := range d.x.Children(e.Dir) {
		d.claim(i, composerState, "composer", reason)
	}
	d.claimPath(vendor+"/autoload.php", composerState, "composer", reason)
	if broken != nil {
		return fmt.Errorf("composer: %w", broken)
	}
	return nil
}

// inPackage reports whether a directory of packages is inside a package of another one.
func (d *detection) inPackage(vendor string) bool {
	for rest := vendor; ; {
		i := strings.LastIndex(rest, "/vendor/")
		if i < 0 {
			return false
		}
		if _, ok := d.x.Find(rest[:i] + "/vendor/composer/installed.json"); ok {
			return true
		}
		rest = rest[:i]
	}
}

// composerPackage is an installed package of Composer.
type composerPackage struct {
	Name, Type string
	// Path is relative to the directory of the list, or nil if the package has no files.
	Path *string  `json:"install-path"`
	Bin  []string // programs
}

// composerCost is the number of bytes that a package counts for besides its part of the list.
const composerCost = 1 << 10

// composerPackage claims the files of a package, and the proxies of its programs. The error wraps [pkgdb.ErrBroken] if
// the package is not valid.
func (d *detection) composerPackage(vendor string, p composerPackage) error {
	if err := d.listed(composerCost); err != nil {
		return err
	}
	id, ok := languageID("composer", p.Name)
	author, name, _ := strings.Cut(p.Name, "/")
	if !ok || author == "" || name == "" || strings.Contains(name, "/") {
		return pkgdb.Broken("the package name %.100q is not valid", p.Name)
	}
	if p.Path == nil {
		return nil
	}
	home := *p.Path
	if !strings.HasPrefix(home, "/") {
		home = vendor + "/composer/" + home
	}
	reason := "Composer package " + p.Name
	d.claimPath(home, id, "composer", reason) // a link to a package elsewhere
	i, err := d.x.Resolve(home)
	if err != nil {
		return nil // such as a package that was removed from the image
	}
	// The program itself may be in the list. Its directory has the other packages below it.
	if home = d.entries.At(i).Path(); home == "/" || vendor == home || isWithin(vendor, home) {
		return nil
	}
	d.claimBelow(home, id, "composer", reason)
	for _, program := range p.Bin {
		d.claimPath(vendor+"/bin/"+path.Base(program), id, "composer", reason)
	}
	return nil
}

// parseInstalledJSON calls f with the packages of an installed.json. Composer 1 wrote an array of packages, and
// Composer 2 an object with such an array. The error is about the first entry that is not valid, and wraps
// [pkgdb.ErrBroken], or is the first other error of f.
func parseInstalledJSON(name string, data []byte, f func(composerPackage) error) (broken error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	fault := func(err error) error { return jsonFault(name, data, dec.InputOffset(), err) }
	start, err := dec.Token()
	if err != nil {
		return fault(err)
	}
	switch start {
	case json.Delim('['):
		return composerEntries(dec, true, fault, f)
	case json.Delim('{'):
	default:
		return fault(errNoPackages)
	}
	err = errNoPackages
	for dec.More() {
		key, kerr := dec.Token()
		if kerr != nil {
			return fault(kerr)
		}
		if key != "packages" {
			var skip json.RawMessage
			if err := dec.Decode(&skip); err != nil {
				return cmp.Or(broken, fault(err))
			}
			continue
		}
		if t, terr := dec.Token(); terr != nil || t != json.Delim('[') {
			return fault(cmp.Or(terr, errNoPackages))
		}
		err = nil
		bad := composerEntries(dec, false, fault, f)
		if bad != nil && !errors.Is(bad, pkgdb.ErrBroken) {
			return bad
		}
		broken = cmp.Or(broken, bad)
	}
	if _, terr := dec.Token(); terr != nil {
		err = cmp.Or(err, terr)
	}
	if broken == nil && err != nil {
		return fault(err)
	}
	return broken
}

var errNoPackages = errors.New("it has no list of packages")

// maxBadEntries is the number of entries that are not valid at which the rest of a list is left alone.
const maxBadEntries = 1000

// composerEntries reads the packages of an array, behind its bracket, and the bracket at its end.
func composerEntries(
	dec *json.Decoder, old bool, fault func(error) error, f func(composerPackage) error,
) (broken error) {
	bad := 0
	for dec.More() {
		var p composerPackage
		err := dec.Decode(&p)
		var typ *json.UnmarshalTypeError
		if err != nil && !errors.As(err, &typ) {
			return cmp.Or(broken, fault(err)) // the rest cannot be read
		}
		switch {
		case err != nil:
		case p.Type == "metapackage":
			p.Path = nil
		case old:
			home := "../" + p.Name
			p.Path = &home
		case p.Path == nil:
			err = pkgdb.Broken("the package %.100q has no path", p.Name)
		}
		if err == nil {
			if err = f(p); err != nil && !errors.Is(err, pkgdb.ErrBroken) {
				return err
			}
		}
		if err != nil {
			if broken == nil {
				broken = fault(err)
			}
			if bad++; bad == maxBadEntries {
				return broken // this is another file
			}
		}
	}
	if _, err := dec.Token(); err != nil && broken == nil {
		broken = fault(err)
	}
	return broken
}

var (
	phpPackage = regexp.MustCompile(`^\s*'([^'/\\]+/[^'/\\]+)' => array\($`)
	phpPath    = regexp.MustCompile(`^\s*'install_path' => __DIR__ \. '/([^'\\]*)',$`)
)

// parseInstalledPHP calls f with the packages of an installed.php, as parseInstalledJSON does. Composer writes it with
// one value in each line.
func parseInstalledPHP(name string, data []byte, f func(composerPackage) error) (broken error) {
	pkg, n := "", 0
	text := strings.TrimRight(string(data), "\n")
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSuffix(line, "\n")
		if m := phpPackage.FindStringSubmatch(line); m != nil {
			pkg = m[1]
		} else if m := phpPath.FindStringSubmatch(line); m != nil && pkg != "" {
			err := f(composerPackage{Name: pkg, Path: &m[1]})
			if err != nil && !errors.Is(err, pkgdb.ErrBroken) {
				return err
			}
			if err != nil {
				broken = cmp.Or(broken, fmt.Errorf("%s:%d: %w", name, n, err))
			}
		}
	}
	if !strings.HasSuffix(text, ");") {
		broken = cmp.Or(broken, pkgdb.Broken("%s:%d: the file is truncated", name, max(n, 1)))
	}
	return broken
}
