// Package apk reads the database of installed packages of apk, Alpine's package manager. The file lib/apk/db/installed
// has a record of lines "X:value" for each package, as apk(5) describes.
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
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// homes are the places of the database: the newer one, the older one, and those in commits.
var homes = []string{"/usr/lib/apk/db", "/lib/apk/db", "/usr/lib/sysimage/apk/db", "/usr/lib/sysimage/lib/apk/db"}

// worlds are the places of the list of packages that were asked for.
var worlds = []string{"/etc/apk/world", "/usr/etc/apk/world"}

// Paths returns the paths at which [Read] looks.
func Paths() []string {
	paths := slices.Clone(worlds)
	for _, home := range homes {
		paths = append(paths, home+"/installed")
	}
	return paths
}

// Read returns the installed packages with their files, sorted by name. Apk keeps no changelogs.
//
// The error wraps [fs.ErrNotExist] if there is no database.
func Read(ctx context.Context, x *rootfs.Index) (*pkgdb.Database, error) {
	db, err := pkgdb.ReadFirst(ctx, x, homes, read)
	if err != nil {
		return nil, fmt.Errorf("apk: %w", err)
	}
	for i, fault := range db.Faults {
		db.Faults[i] = fmt.Errorf("apk: %w", fault)
	}
	slices.SortStableFunc(db.Packages, func(a, b pkgdb.Package) int { return cmp.Compare(a.Name, b.Name) })
	return db, nil
}

// read reads the database in a directory.
func read(ctx context.Context, r *pkgdb.Reader, home string) error {
	p := &parser{r: r, name: home + "/installed"}
	e, ok := r.File(p.name)
	// A new system has no packages, too. That is a fault only if packages were asked for.
	i := slices.IndexFunc(worlds, r.Has)
	switch {
	case !ok && i >= 0:
		r.Missing(p.name, worlds[i])
		return fs.ErrNotExist
	case !ok:
		return fs.ErrNotExist
	case e.Size == 0 && i >= 0:
		r.Empty(p.name)
		return nil
	case e.Size == 0:
		return nil
	}
	cut, err := r.Lines(ctx, p.name, p.line)
	if err != nil || p.start == 0 {
		return err
	}
	switch {
	case cut:
		p.broken(p.last, pkgdb.Broken("the file is truncated within this line"))
	case p.err == nil:
		// apk ends each record with an empty line. The lines of this record are valid, so its package is kept.
		r.Faultf("%s:%d: the file is truncated within the record of %s", p.name, p.last, p.pkg.Name)
	}
	return p.end()
}

// parser is the state of reading a database.
type parser struct {
	r    *pkgdb.Reader
	name string // of the file

	pkg         pkgdb.Package // of the record
	start, last int           // the first and the last line of the record; 0 before the first
	dir         string        // the directory of the files that follow
	inDir       bool
	bad         int // the line of err
	err         error
}

// broken marks the record as broken. Its package is left out.
func (p *parser) broken(line int, err error) {
	if p.err == nil {
		p.bad, p.err = line, err
	}
}

// end ends a record. It adds the package, or a fault if the record is broken.
func (p *parser) end() error {
	if p.start == 0 {
		return nil
	}
	if p.err == nil {
		p.pkg.Source = cmp.Or(p.pkg.Source, p.pkg.Name)
		p.bad = p.start
		_, p.err = p.r.Add(p.pkg)
	}
	if p.err != nil {
		err := fmt.Errorf("%s:%d: %w", p.name, p.bad, p.err)
		if !errors.Is(p.err, pkgdb.ErrBroken) {
			return err
		}
		p.r.Fault(fmt.Errorf("%w in the record of %.100q", err, p.pkg.Name))
	}
	*p = parser{r: p.r, name: p.name}
	return nil
}

// line takes a line of the file.
func (p *parser) line(n int, line []byte) error {
	if len(line) == 0 {
		return p.end()
	}
	if p.last = n; p.start == 0 {
		p.start = n
	}
	if p.err != nil {
		return nil
	}
	if len(line) < 2 || line[1] != ':' {
		p.broken(n, pkgdb.Broken("the line %s is not a field", pkgdb.Quote(line)))
		return nil
	}
	err := p.field(line[0], string(line[2:]))
	if errors.Is(err, pkgdb.ErrBroken) {
		p.broken(n, err)
		return nil
	}
	return err
}

// unused are the known upper-case fields that are not needed here. apk refuses databases with unknown ones.
const unused = "CTULDMZSI"

// field takes a line of a record. The error wraps [pkgdb.ErrBroken] or [pkgdb.ErrTooLarge].
func (p *parser) field(key byte, value string) error {
	switch key {
	case 'P':
		if p.pkg.Name != "" {
			return pkgdb.Broken("the record of %s has a second package name", p.pkg.Name)
		}
		if !pkgdb.ValidName(value) {
			return pkgdb.Broken("the package name %.100q is not valid", value)
		}
		p.pkg.Name = value
	case 'V':
		p.pkg.Version = value
	case 'A':
		p.pkg.Arch = value
	case 'o':
		p.pkg.Source = value
	case 't':
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds < 0 || seconds > 1<<34 {
			return pkgdb.Broken("the build time %.100q is not valid", value)
		}
		p.pkg.Built = time.Unix(seconds, 0).UTC()
	case 'F':
		p.dir, p.inDir = value, true
		return p.r.Work(int64(len(value)) * pkgdb.PathWork)
	case 'R':
		if !p.inDir {
			return pkgdb.Broken("the file %.100q is in no directory", value)
		}
		return p.r.AddFile(&p.pkg.Files, pkgdb.File{Path: path.Join("/", p.dir, value)})
	default:
		if 'A' <= key && key <= 'Z' && !strings.Contains(unused, string(key)) {
			return pkgdb.Broken("the field %c is not known", key)
		}
	}
	return nil
}
