package component

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// rBase is the component of R with the packages that are a part of it.
const rBase = "r/base"

// rPackage claims a package of the language R. An installed package is a directory with its description and an index of
// it in another format. The error wraps [pkgdb.ErrBroken] if the description is not valid.
func (d *detection) rPackage(ctx context.Context, _ int, e rootfs.Entry) error {
	if e.Name != "DESCRIPTION" {
		return nil
	}
	if _, ok := d.x.Find(e.Dir + "/Meta/package.rds"); !ok {
		return nil
	}
	data, err := d.readList(ctx, "r", e.Path(), maxManifest)
	if err != nil {
		return err
	}
	name, base, broken := parseDescription(e.Path(), data)
	id, ok := languageID("r", name)
	if !ok {
		return fmt.Errorf("r: %w", broken)
	}
	reason := "R package " + name
	if base {
		id = rBase
	}
	d.claimBelow(e.Dir, id, "r", reason)
	if base && name == "base" {
		d.rItself(path.Dir(e.Dir))
	}
	if broken != nil {
		return fmt.Errorf("r: %w", broken)
	}
	return nil
}

// rItself claims the other files of R. The library with its packages is a directory in its home.
func (d *detection) rItself(library string) {
	const reason = "a part of R"
	d.claimBelow(library+"/translations", rBase, "r", reason)
	home := path.Dir(library)
	if _, ok := d.x.Find(home + "/bin/exec/R"); !ok {
		return
	}
	for i := range d.x.Children(home) {
		d.claim(i, rBase, "r", reason)
		switch e := d.entries.At(i); {
		case e.IsDir() && e.Path() != library && e.Name != "site-library":
			d.claimBelow(e.Path(), rBase, "r", reason)
		}
	}
}

// parseDescription returns the name of a package, and whether it is a part of R. The file has a field in each line;
// lines that begin with a space continue it. R adds the last field, Built, when it installs a package. The error is nil
// or wraps [pkgdb.ErrBroken]; the name is valid in any case, or empty.
func parseDescription(file string, data []byte) (name string, base bool, broken error) {
	n, built := 0, false
	for line := range strings.Lines(string(data)) {
		n++
		if line[0] == ' ' || line[0] == '\t' || strings.TrimSpace(line) == "" {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case !ok && broken == nil:
			broken = pkgdb.Broken("%s:%d: the line %s has no colon", file, n, pkgdb.Quote([]byte(line)))
		case key == "Package" && validName(value) && !strings.Contains(value, "/"):
			name = value
		case key == "Package":
			return "", false, pkgdb.Broken("%s:%d: the package name %.100q is not valid", file, n, value)
		case key == "Priority":
			base = value == "base"
		case key == "Built":
			built = true
		}
	}
	switch {
	case broken != nil:
	case name == "":
		broken = pkgdb.Broken("%s has no name of a package", file)
	case !built:
		broken = pkgdb.Broken("%s:%d: the file is truncated: it has no field Built", file, n)
	}
	return name, base, broken
}
