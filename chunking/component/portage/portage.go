// Package portage reads the database of installed packages of Portage, Gentoo's package manager. The directory
// var/db/pkg/CATEGORY/NAME-VERSION has small files about each package: CONTENTS is the list of its files, SLOT says
// which versions replace each other, BUILD_TIME is when it was built.
package portage

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// homes are the places of the database: that of Portage, that of the initial content of /var in commits, and the one
// where matrixOS, a Gentoo that is delivered as commits, keeps it.
var homes = []string{"/var/db/pkg", "/usr/share/factory/var/db/pkg", "/usr/var-db-pkg"}

// Read returns the installed packages with their files, sorted by name and version. The name of a package is
// CATEGORY/NAME. The source has the slot after a colon if it is neither 0 nor the version, so that versions that are
// installed side by side are different sources and keep their names. Portage keeps no changelogs.
//
// The error wraps [fs.ErrNotExist] if there is no database.
func Read(ctx context.Context, x *rootfs.Index) (*pkgdb.Database, error) {
	db, err := pkgdb.ReadFirst(ctx, x, homes, read)
	if err != nil {
		return nil, fmt.Errorf("portage: %w", err)
	}
	for i, fault := range db.Faults {
		db.Faults[i] = fmt.Errorf("portage: %w", fault)
	}
	slices.SortStableFunc(db.Packages, func(a, b pkgdb.Package) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	return db, nil
}

// read reads the database in a directory.
func read(ctx context.Context, r *pkgdb.Reader, home string) error {
	r.Categories = true
	i, err := r.X.Resolve(home)
	if err != nil {
		return err
	}
	if !r.X.Entry(i).IsDir() {
		return pkgdb.Broken("%s is not a directory", home)
	}
	some := false
	for _, category := range directories(r, r.X.Entry(i).Path()) {
		for _, dir := range directories(r, category) {
			some = true
			if err := ctx.Err(); err != nil {
				return err
			}
			err := readPackage(ctx, r, dir)
			switch {
			case err == nil:
			case pkgdb.IsFault(err) && !errors.Is(err, pkgdb.ErrTooLarge):
				r.Fault(err)
			default:
				return err
			}
		}
	}
	if !some {
		return fs.ErrNotExist // the directory may belong to another system, such as FreeBSD
	}
	return nil
}

// directories returns the directories in a directory, without hidden ones. A symlink is a fault, since Portage would
// follow it.
func directories(r *pkgdb.Reader, dir string) (list []string) {
	for i := range r.X.Children(dir) {
		e := r.X.Entry(i)
		switch {
		case e.Name[0] == '.':
		case e.IsDir():
			list = append(list, e.Path())
		case e.IsSymlink():
			r.Faultf("%s is a symlink instead of a directory", e.Path())
		}
	}
	return list
}

// versioned matches the name of a package's directory as the Package Manager Specification defines it: the name, and
// the version with the revision.
var versioned = regexp.MustCompile(
	`^([A-Za-z0-9_][A-Za-z0-9+_-]*?)-(\d+(?:\.\d+)*[a-z]?(?:_(?:alpha|beta|pre|rc|p)\d*)*(?:-r\d+)?)$`)

// readPackage adds the package of a directory. The error wraps [pkgdb.ErrBroken] if the directory has no valid package.
func readPackage(ctx context.Context, r *pkgdb.Reader, dir string) error {
	category, base := path.Split(dir)
	if strings.HasPrefix(base, "-MERGING-") {
		return pkgdb.Broken("%s: the installation of the package was interrupted", dir)
	}
	m := versioned.FindStringSubmatch(base)
	if m == nil {
		return pkgdb.Broken("%s: the name of the directory is not a name and a version", dir)
	}
	p := pkgdb.Package{Name: path.Base(category) + "/" + m[1], Version: m[2]}
	slot, err := readValue(ctx, r, dir+"/SLOT")
	if errors.Is(err, fs.ErrNotExist) {
		err = pkgdb.Broken("%s has no slot", dir)
	}
	if err != nil {
		return err
	}
	p.Source = p.Name
	slot, _, _ = strings.Cut(slot, "/") // the rest names the ABI
	version, _, _ := strings.Cut(p.Version, "-r")
	if slot != "0" && slot != version && slot != p.Version {
		p.Source += ":" + slot
	}
	if p.Built, err = readDate(ctx, r, dir+"/BUILD_TIME"); err != nil {
		return err
	}
	pkg, err := r.Add(p)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	err = readContents(ctx, r, dir, pkg)
	if errors.Is(err, fs.ErrNotExist) {
		r.Faultf("%s has no list of files", dir)
		return nil
	}
	return err
}

// readValue returns the content of a file with one line. The error wraps [pkgdb.ErrBroken] if there is no value.
func readValue(ctx context.Context, r *pkgdb.Reader, name string) (value string, err error) {
	_, err = r.Lines(ctx, name, func(n int, line []byte) error {
		if n > 1 {
			return pkgdb.Broken("%s:%d: the file has more than one line", name, n)
		}
		value = string(bytes.TrimSpace(line))
		return nil
	})
	if err == nil && value == "" {
		err = pkgdb.Broken("%s is empty", name)
	}
	return value, err
}

// readDate returns the number of seconds since 1970 in a file. It is zero if there is no such file, as in databases of
// Portage before 2.2.
func readDate(ctx context.Context, r *pkgdb.Reader, name string) (time.Time, error) {
	value, err := readValue(ctx, r, name)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 || n > 1<<34 {
		return time.Time{}, pkgdb.Broken("%s:1: the date %.100q is not valid", name, value)
	}
	return time.Unix(n, 0).UTC(), nil
}

// readContents reads the list of a package's files. Lines that are not entries are a fault, and so is a truncated list.
// The list of a package without files is empty.
func readContents(ctx context.Context, r *pkgdb.Reader, dir string, pkg *pkgdb.Package) error {
	name := dir + "/CONTENTS"
	lines, bad, first, example := 0, 0, 0, ""
	cut, err := r.Lines(ctx, name, func(n int, line []byte) error {
		lines = n
		p, ok := entry(string(line))
		if ok && p != "" {
			err := r.AddFile(&pkg.Files, pkgdb.File{Path: path.Clean(p)})
			if errors.Is(err, pkgdb.ErrTooLarge) {
				return fmt.Errorf("%s:%d: %w", name, n, err)
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
	if err != nil {
		return err
	}
	switch {
	case bad > 0:
		r.Faultf("%s:%d: %s is not an entry (%d such lines)", name, first, example, bad)
	case cut:
		r.Faultf("%s: the list is truncated: the last line has no newline", name)
	case lines == 0:
		size, err := readValue(ctx, r, dir+"/SIZE")
		if err == nil && size != "0" {
			r.Faultf("%s is empty, but the package has %.100q bytes", name, size)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// entry returns the path of a line of CONTENTS. It is empty for directories. Paths may have spaces. The lines are
//
//	dir PATH
//	dev PATH
//	fif PATH
//	obj PATH MD5 MTIME
//	sym PATH -> TARGET MTIME
//
// Old versions of Portage wrote a tuple in parentheses as the mtime of a link.
func entry(line string) (p string, ok bool) {
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case "dir", "dev", "fif":
		p, ok = rest, true
	case "obj":
		i := strings.LastIndexByte(rest, ' ')
		if i < 0 || !isNumber(rest[i+1:]) {
			return "", false
		}
		sum := strings.LastIndexByte(rest[:i], ' ')
		if sum < 0 || i-sum-1 != 32 {
			return "", false
		}
		p, ok = rest[:sum], true
	case "sym":
		// As in Portage, the last arrow counts.
		i := strings.LastIndex(rest, " -> ")
		if i < 0 {
			return "", false
		}
		target := rest[i+len(" -> "):]
		mtime := target[strings.LastIndexByte(target, ' ')+1:]
		p, ok = rest[:i], len(mtime) < len(target) && (isNumber(mtime) || strings.HasSuffix(mtime, ")"))
	}
	if !ok || !strings.HasPrefix(p, "/") {
		return "", false
	}
	if kind == "dir" {
		return "", true
	}
	return p, true
}

// isNumber reports whether a string consists of digits.
func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
