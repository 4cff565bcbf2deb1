// Package rpm reads rpm's database of installed packages from a tree, in each of its three forms: SQLite, ndb and
// Berkeley DB. Each form has the same headers, one for each package. The formats are those of rpm's own sources.
package rpm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// directories are the places of the database.
var directories = []string{"/usr/lib/sysimage/rpm", "/usr/share/rpm", "/var/lib/rpm", "/usr/share/factory/var/lib/rpm"}

// maxDatabase is the limit on the size of a database in bytes. A database is read in pieces.
const maxDatabase = 1 << 30

// recordWork is the number of bytes of work that a record counts for besides its length. A page of SQLite may be in a
// tree under any number of others, so the number of its rows has no limit.
const recordWork = 1 << 10

// form is one form of the database.
type form struct {
	file string
	// others are files that rpm writes beside it, where they show that the database is missing.
	others []string
	// headers calls [headers.add] with each header blob and the name of its record. The blob is valid until add returns. A
	// broken record is a fault, and the others are read.
	headers func(ctx context.Context, r *headers, name string) error
}

var forms = []form{
	{"rpmdb.sqlite", []string{"rpmdb.sqlite" + walSuffix}, sqliteHeaders},
	{"Packages.db", []string{"Index.db"}, ndbHeaders},
	{"Packages", []string{"Name", "Basenames"}, bdbHeaders},
}

// Paths returns the paths at which [Read] looks.
func Paths() (paths []string) {
	for _, dir := range directories {
		for _, form := range forms {
			paths = append(paths, path.Join(dir, form.file))
		}
		paths = append(paths, path.Join(dir, forms[0].file+walSuffix))
	}
	return paths
}

// Read returns the installed packages with their files, sorted by name, architecture and version.
//
// The error wraps [fs.ErrNotExist] if there is no database.
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

// read reads a database. The file name determines the form.
func read(ctx context.Context, r *pkgdb.Reader, name string) error {
	i := slices.IndexFunc(forms, func(f form) bool { return path.Base(name) == f.file })
	e, ok := r.File(name)
	if !ok {
		for _, other := range forms[i].others {
			if other = path.Join(path.Dir(name), other); r.Has(other) {
				r.Missing(name, other)
			}
		}
		return fs.ErrNotExist
	}
	if e.Size == 0 {
		r.Empty(name)
		return fs.ErrNotExist
	}
	if e.Size > maxDatabase {
		return fmt.Errorf("%w: %s has %s", pkgdb.ErrTooLarge, name, sizes.Format(e.Size))
	}
	h := &headers{r: r, name: name, left: 2*e.Size + maxHeader}
	if err := forms[i].headers(ctx, h, name); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// headers takes the headers of a database.
type headers struct {
	r    *pkgdb.Reader
	name string
	// left is the number of bytes that further blobs may have. In a valid database each byte belongs to one blob.
	left int64
}

// add adds the package of a blob. A broken blob is a fault. The error wraps [pkgdb.ErrTooLarge], or is that of the
// context.
func (h *headers) add(ctx context.Context, record string, blob []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if h.left -= int64(len(blob)); h.left < 0 {
		return fmt.Errorf("%w: its records are larger than the database", pkgdb.ErrTooLarge)
	}
	if err := h.r.Work(int64(len(blob)) + recordWork); err != nil {
		return err
	}
	err := addPackage(h.r, blob)
	if errors.Is(err, pkgdb.ErrBroken) {
		h.broken(record, err)
		return nil
	}
	return err
}

// broken adds the fault of a record that is left out.
func (h *headers) broken(record string, err error) {
	h.r.Fault(fmt.Errorf("%s: %s: %w", h.name, record, err))
}
