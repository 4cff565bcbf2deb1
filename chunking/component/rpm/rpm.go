// Package rpm reads rpm's database of installed packages from a tree, in each of its three forms: SQLite, ndb and
// Berkeley DB. All have the same content, a header for each package. The formats are defined by rpm's source code.
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
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// directories are the directories of the database; the first one with a database is used.
var directories = []string{"/usr/lib/sysimage/rpm", "/usr/share/rpm", "/var/lib/rpm"}

// Limits on the size of a database.
const (
	maxDatabase = 1 << 30
	maxPackages = 200_000
)

// form is one form of the database.
type form struct {
	file string
	// headers calls f with each header blob, which is valid only until f returns.
	headers func(ctx context.Context, x *rootfs.Index, name string, f func([]byte) error) error
}

var forms = []form{{"rpmdb.sqlite", sqliteHeaders}, {"Packages.db", ndbHeaders}, {"Packages", bdbHeaders}}

// Read returns the installed packages with their files, sorted by name, architecture and version.
//
// The error wraps [fs.ErrNotExist] if there is no database, and [pkgdb.ErrBroken] or [pkgdb.ErrTooLarge] if it cannot
// be read.
func Read(ctx context.Context, x *rootfs.Index) ([]pkgdb.Package, error) {
	for _, dir := range directories {
		for _, form := range forms {
			name := path.Join(dir, form.file)
			if i, err := x.Resolve(name); err != nil || !x.Entry(i).IsRegular() || x.Entry(i).Size == 0 {
				continue
			}
			pkgs, err := readForm(ctx, x, form, name)
			if errors.Is(err, repo.ErrTooLarge) {
				err = fmt.Errorf("%w: %w", pkgdb.ErrTooLarge, err)
			}
			if err != nil {
				return nil, fmt.Errorf("rpm: %s: %w", name, err)
			}
			return pkgs, nil
		}
	}
	return nil, fmt.Errorf("rpm: %w", fs.ErrNotExist)
}

func readForm(ctx context.Context, x *rootfs.Index, form form, name string) ([]pkgdb.Package, error) {
	var pkgs []pkgdb.Package
	err := form.headers(ctx, x, name, func(blob []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := readPackage(blob)
		if err != nil || p == nil {
			return err
		}
		if len(pkgs) == maxPackages {
			return fmt.Errorf("%w: more than %d packages", pkgdb.ErrTooLarge, maxPackages)
		}
		pkgs = append(pkgs, *p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(pkgs, func(a, b pkgdb.Package) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Version, b.Version))
	})
	return pkgs, nil
}
