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
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// DefaultDBPath is where pacman keeps its state unless its configuration says otherwise.
const DefaultDBPath = "/var/lib/pacman"

// Limits on the size of a database.
const (
	maxFile     = 64 << 20
	maxConfig   = 1 << 20
	maxPackages = 100_000
)

// Read returns the installed packages with their files, sorted by name. Pacman keeps no changelogs.
//
// The error wraps [fs.ErrNotExist] if there is no database, and [pkgdb.ErrBroken] or [pkgdb.ErrTooLarge] if it cannot
// be read.
func Read(ctx context.Context, x *rootfs.Index) ([]pkgdb.Package, error) {
	pkgs, err := read(ctx, x)
	if errors.Is(err, repo.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", pkgdb.ErrTooLarge, err)
	}
	if err != nil {
		return nil, fmt.Errorf("alpm: %w", err)
	}
	return pkgs, nil
}

func read(ctx context.Context, x *rootfs.Index) ([]pkgdb.Package, error) {
	home, err := DBPath(ctx, x)
	if err != nil {
		return nil, err
	}
	local, err := x.Resolve(path.Join(home, "local"))
	if errors.Is(err, fs.ErrNotExist) {
		// Commits may keep the initial content of /var here.
		local, err = x.Resolve(path.Join("/usr/share/factory", home, "local"))
	}
	if err != nil {
		return nil, err
	}
	var pkgs []pkgdb.Package
	for i := range x.Children(x.Entry(local).Path()) {
		e := x.Entry(i)
		if !e.IsDir() {
			continue // ALPM_DB_VERSION
		}
		if len(pkgs) == maxPackages {
			return nil, fmt.Errorf("%w: more than %d packages", pkgdb.ErrTooLarge, maxPackages)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p, err := readPackage(ctx, x, e.Path())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Path(), err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) == 0 {
		return nil, fs.ErrNotExist
	}
	slices.SortStableFunc(pkgs, func(a, b pkgdb.Package) int { return cmp.Compare(a.Name, b.Name) })
	return pkgs, nil
}

// DBPath returns the directory of pacman's state: the last DBPath in the section "options" of its configuration, or
// [DefaultDBPath].
func DBPath(ctx context.Context, x *rootfs.Index) (string, error) {
	found := DefaultDBPath
	for _, name := range []string{"/etc/pacman.conf", "/usr/etc/pacman.conf"} {
		data, err := x.ReadFile(ctx, name, maxConfig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		section := ""
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "[") {
				section = line
			}
			key, value, ok := strings.Cut(line, "=")
			if ok && section == "[options]" && strings.TrimSpace(key) == "DBPath" {
				found = path.Join("/", strings.TrimSpace(value))
			}
		}
		break
	}
	return found, nil
}

func readPackage(ctx context.Context, x *rootfs.Index, dir string) (pkgdb.Package, error) {
	desc, err := x.ReadFile(ctx, dir+"/desc", maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: the file desc is missing", pkgdb.ErrBroken)
	}
	if err != nil {
		return pkgdb.Package{}, err
	}
	p, err := ParseDesc(string(desc))
	if err != nil {
		return p, err
	}
	list, err := x.ReadFile(ctx, dir+"/files", maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	p.Files = ParseFiles(string(list))
	return p, nil
}

// sections calls f with each line of each section.
func sections(text string, f func(section, line string) error) error {
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "":
			section = ""
		case section == "" && len(line) > 2 && line[0] == '%' && line[len(line)-1] == '%':
			section = line[1 : len(line)-1]
		case section != "":
			if err := f(section, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// ParseDesc parses the file desc of a package. The error wraps [pkgdb.ErrBroken].
func ParseDesc(text string) (p pkgdb.Package, err error) {
	var installed time.Time
	err = sections(text, func(section, line string) error {
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
	if err != nil {
		return p, err
	}
	p.Source = cmp.Or(p.Source, p.Name)
	if p.Name == "" || strings.ContainsAny(p.Name+p.Source, "/\x00 ,") {
		return p, fmt.Errorf("%w: the package name %.100q of %.100q", pkgdb.ErrBroken, p.Name, p.Source)
	}
	if p.Built.IsZero() {
		p.Built = installed
	}
	return p, nil
}

func date(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<34 {
		return time.Time{}, fmt.Errorf("%w: the date %.100q", pkgdb.ErrBroken, s)
	}
	return time.Unix(n, 0).UTC(), nil
}

// ParseFiles parses the list of a package's files.
func ParseFiles(text string) (files pkgdb.Files) {
	_ = sections(text, func(section, line string) error {
		if section == "FILES" && !strings.HasSuffix(line, "/") {
			files.Add(pkgdb.File{Path: path.Join("/", line)})
		}
		return nil
	})
	return files
}
