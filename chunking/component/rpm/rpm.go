// Package rpm reads rpm's database of installed packages from a tree, in each of its three forms: SQLite, ndb and
// Berkeley DB. What they hold is the same, a header for each package; the formats are those of rpm's own sources.
package rpm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// directories are the places of the database.
var directories = []string{"/usr/lib/sysimage/rpm", "/usr/share/rpm", "/var/lib/rpm", "/usr/share/factory/var/lib/rpm"}

// maxDatabase is how many bytes a database may have. What is in it is read piece by piece.
const maxDatabase = 1 << 30

// form is one form of the database.
type form struct {
	file string
	// headers calls add with each header blob, which is good only until add returns, and what tells it from others.
	// What is wrong with one blob is a fault of the reader, and the others are read nevertheless.
	headers func(ctx context.Context, r *headers, name string) error
}

var forms = []form{{"rpmdb.sqlite", sqliteHeaders}, {"Packages.db", ndbHeaders}, {"Packages", bdbHeaders}}

// Read returns the installed packages with their files, sorted by name, architecture and version.
//
// The error wraps [fs.ErrNotExist] where there is no database.
func Read(ctx context.Context, x *rootfs.Index) (*pkgdb.Database, error) {
	var places []string
	for _, dir := range directories {
		for _, form := range forms {
			places = append(places, path.Join(dir, form.file))
		}
	}
	db, err := pkgdb.ReadFirst(ctx, x, places, read)
	if err != nil {
		return nil, fmt.Errorf("rpm: %w", err)
	}
	for i, fault := range db.Faults {
		db.Faults[i] = fmt.Errorf("rpm: %w", fault)
	}
	slices.SortStableFunc(db.Packages, func(a, b pkgdb.Package) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Version, b.Version))
	})
	return db, nil
}

// read reads a database of the form that its name says.
func read(ctx context.Context, r *pkgdb.Reader, name string) error {
	e, ok := r.File(name)
	if !ok {
		return fs.ErrNotExist
	}
	if e.Size == 0 {
		r.Empty(name)
		return fs.ErrNotExist
	}
	if e.Size > maxDatabase {
		return fmt.Errorf("%w: %s has %d bytes", pkgdb.ErrTooLarge, name, e.Size)
	}
	h := &headers{r: r, name: name, left: 2*e.Size + maxHeader}
	i := slices.IndexFunc(forms, func(f form) bool { return strings.HasSuffix(name, "/"+f.file) })
	if err := forms[i].headers(ctx, h, name); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// headers takes the headers of a database.
type headers struct {
	r    *pkgdb.Reader
	name string
	// left bounds the bytes of blobs: a database has each once.
	left int64
}

// add adds the package of a blob. The error wraps [pkgdb.ErrTooLarge], or is that of a context.
func (h *headers) add(ctx context.Context, record string, blob []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if h.left -= int64(len(blob)); h.left < 0 {
		return fmt.Errorf("%w: its records are larger than the database", pkgdb.ErrTooLarge)
	}
	if err := h.r.Work(int64(len(blob))); err != nil {
		return err
	}
	err := addPackage(h.r, blob)
	if errors.Is(err, pkgdb.ErrBroken) {
		h.broken(record, err)
		return nil
	}
	return err
}

// broken says that a record is left out.
func (h *headers) broken(record string, err error) {
	h.r.Fault(fmt.Errorf("%s: %s: %w", h.name, record, err))
}
