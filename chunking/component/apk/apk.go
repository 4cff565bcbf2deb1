// Package apk reads the database of installed packages of apk, Alpine's package manager: records of lines "X:value" in
// lib/apk/db/installed, as described in apk(5).
package apk

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
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// databases are the paths of the database, the newer first.
var databases = []string{"/usr/lib/apk/db/installed", "/lib/apk/db/installed"}

// Limits on the size of a database.
const (
	maxDatabase = 256 << 20
	maxPackages = 200_000
)

// Read returns the installed packages with their files, sorted by name. Apk keeps no changelogs.
//
// The error wraps [fs.ErrNotExist] if there is no database, and [pkgdb.ErrBroken] or [pkgdb.ErrTooLarge] if it cannot
// be read.
func Read(ctx context.Context, x *rootfs.Index) ([]pkgdb.Package, error) {
	for _, name := range databases {
		data, err := x.ReadFile(ctx, name, maxDatabase)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if errors.Is(err, repo.ErrTooLarge) {
			err = fmt.Errorf("%w: %w", pkgdb.ErrTooLarge, err)
		}
		if err != nil {
			return nil, fmt.Errorf("apk: %w", err)
		}
		pkgs, err := Parse(string(data))
		if err != nil {
			return nil, fmt.Errorf("apk: %s: %w", name, err)
		}
		return pkgs, nil
	}
	return nil, fmt.Errorf("apk: %w", fs.ErrNotExist)
}

// Parse parses the content of a database. The error is as for [Read].
func Parse(data string) ([]pkgdb.Package, error) {
	p := parser{}
	for line := range strings.Lines(data) {
		if err := p.line(strings.TrimSuffix(line, "\n")); err != nil {
			return nil, err
		}
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(p.packages, func(a, b pkgdb.Package) int { return cmp.Compare(a.Name, b.Name) })
	return p.packages, nil
}

type parser struct {
	packages []pkgdb.Package
	pkg      pkgdb.Package
	any      bool   // a record has begun
	dir      string // directory of the files that follow
}

// end ends a record.
func (p *parser) end() error {
	if !p.any {
		return nil
	}
	if p.pkg.Name == "" {
		return fmt.Errorf("%w: a record without a name", pkgdb.ErrBroken)
	}
	if len(p.packages) == maxPackages {
		return fmt.Errorf("%w: more than %d packages", pkgdb.ErrTooLarge, maxPackages)
	}
	p.pkg.Source = cmp.Or(p.pkg.Source, p.pkg.Name)
	p.packages = append(p.packages, p.pkg)
	p.pkg, p.any, p.dir = pkgdb.Package{}, false, ""
	return nil
}

func (p *parser) line(line string) error {
	if line == "" {
		return p.end()
	}
	if len(line) < 2 || line[1] != ':' {
		return fmt.Errorf("%w: the line %.100q", pkgdb.ErrBroken, line)
	}
	p.any = true
	switch value := line[2:]; line[0] {
	case 'P':
		if value == "" || strings.ContainsAny(value, "/\x00 ,") {
			return fmt.Errorf("%w: the package name %.100q", pkgdb.ErrBroken, value)
		}
		p.pkg.Name = value
	case 'V':
		p.pkg.Version = value
	case 'A':
		p.pkg.Arch = value
	case 'o':
		if strings.ContainsAny(value, "/\x00 ,") {
			return fmt.Errorf("%w: the origin %.100q", pkgdb.ErrBroken, value)
		}
		p.pkg.Source = value
	case 't':
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds < 0 || seconds > 1<<34 {
			return fmt.Errorf("%w: the build time %.100q", pkgdb.ErrBroken, value)
		}
		p.pkg.Built = time.Unix(seconds, 0).UTC()
	case 'F':
		p.dir = value
	case 'R':
		p.pkg.Files.Add(pkgdb.File{Path: path.Join("/", p.dir, value)})
	}
	return nil
}
