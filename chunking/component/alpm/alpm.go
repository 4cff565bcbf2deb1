// Package alpm reads the database of installed packages of pacman, Arch Linux's package manager. It has a directory for
// each package with the text files desc and files, which consist of sections "%NAME%".
package alpm

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

// Read returns the installed packages with their files, sorted by name. pacman keeps no changelogs.
//
// The error wraps [fs.ErrNotExist] if there is no database.
func Read(ctx context.Context, x *rootfs.Index) (*pkgdb.Database, error) {
	homes, faults, err := Homes(ctx, x)
	if err != nil {
		return nil, fmt.Errorf("alpm: %w", err)
	}
	db, err := pkgdb.ReadFirst(ctx, x, homes, read)
	if errors.Is(err, fs.ErrNotExist) && len(faults) > 0 {
		db, err = &pkgdb.Database{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("alpm: %w", err)
	}
	for _, fault := range faults {
		db.Faults = append(db.Faults, fmt.Errorf("%w: %w", pkgdb.ErrBroken, fault))
	}
	for i, fault := range db.Faults {
		db.Faults[i] = fmt.Errorf("alpm: %w", fault)
	}
	slices.SortStableFunc(db.Packages, func(a, b pkgdb.Package) int { return cmp.Compare(a.Name, b.Name) })
	return db, nil
}

// read reads the packages of the database in a directory.
func read(ctx context.Context, r *pkgdb.Reader, home string) error {
	local, err := r.X.Resolve(path.Join(home, "local"))
	if err != nil {
		return err
	}
	if !r.X.Entry(local).IsDir() {
		return pkgdb.Broken("%s/local is not a directory", home)
	}
	some := false
	for i := range r.X.Children(r.X.Entry(local).Path()) {
		e := r.X.Entry(i)
		if !e.IsDir() {
			continue // ALPM_DB_VERSION
		}
		some = true
		if err := ctx.Err(); err != nil {
			return err
		}
		err := readPackage(ctx, r, e.Path())
		if errors.Is(err, pkgdb.ErrBroken) {
			r.Fault(err)
		} else if err != nil {
			return err
		}
	}
	if !some {
		return fs.ErrNotExist
	}
	return nil
}

// readPackage adds the package of a directory. The error wraps [pkgdb.ErrBroken] if the directory has no valid package.
func readPackage(ctx context.Context, r *pkgdb.Reader, dir string) error {
	p, err := readDesc(ctx, r, dir+"/desc")
	if err != nil {
		return err
	}
	pkg, err := r.Add(p)
	if err != nil {
		return fmt.Errorf("%s/desc: %w", dir, err)
	}
	err = readFiles(ctx, r, dir+"/files", pkg)
	if errors.Is(err, fs.ErrNotExist) {
		r.Faultf("%s has no list of files", dir)
		return nil
	}
	return err
}

// sections calls f with each line of each section of a file. The error wraps [pkgdb.ErrBroken] if a line is in no
// section or the file is truncated.
func sections(ctx context.Context, r *pkgdb.Reader, name string, f func(section, line string) error) error {
	section := ""
	cut, err := r.Lines(ctx, name, func(n int, line []byte) error {
		switch {
		case len(line) == 0:
			section = ""
		case section == "" && len(line) > 2 && line[0] == '%' && line[len(line)-1] == '%':
			section = string(line[1 : len(line)-1])
		case section == "":
			return pkgdb.Broken("%s:%d: the line %s is in no section", name, n, pkgdb.Quote(line))
		default:
			if err := f(section, string(line)); err != nil {
				return fmt.Errorf("%s:%d: %w", name, n, err)
			}
		}
		return nil
	})
	if err == nil && cut {
		return pkgdb.Broken("%s: the file is truncated: the last line has no newline", name)
	}
	return err
}

// readDesc reads the file desc of a package. The error wraps [pkgdb.ErrBroken] if it is missing or not valid.
func readDesc(ctx context.Context, r *pkgdb.Reader, name string) (p pkgdb.Package, err error) {
	if _, ok := r.File(name); !ok {
		return p, pkgdb.Broken("%s is missing", name)
	}
	var installed time.Time
	err = sections(ctx, r, name, func(section, line string) error {
		var err error
		switch section {
		case "NAME":
			p.Name = line
		case "BASE":
			p.Source = line
		case "VERSION":
			p.Version = line
		case "ARCH":
			p.Arch = line
		case "BUILDDATE":
			p.Built, err = date(line)
		case "INSTALLDATE":
			installed, err = date(line)
		}
		return err
	})
	if err == nil && p.Name == "" {
		err = pkgdb.Broken("%s has no name of a package", name)
	}
	p.Source = cmp.Or(p.Source, p.Name)
	if p.Built.IsZero() {
		p.Built = installed
	}
	return p, err
}

// date parses a number of seconds since 1970. The error wraps [pkgdb.ErrBroken].
func date(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<34 {
		return time.Time{}, pkgdb.Broken("the date %.100q is not valid", s)
	}
	return time.Unix(n, 0).UTC(), nil
}

// readFiles reads the list of a package's files.
func readFiles(ctx context.Context, r *pkgdb.Reader, name string, pkg *pkgdb.Package) error {
	return sections(ctx, r, name, func(section, line string) error {
		if section != "FILES" || strings.HasSuffix(line, "/") {
			return nil
		}
		return r.AddFile(&pkg.Files, pkgdb.File{Path: path.Join("/", line)})
	})
}
