package component

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/alpm"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/apk"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/chisel"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/dpkg"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/rpm"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Installed is a package that the database of a package manager lists. The texts are as in the database.
type Installed struct {
	// System is the kind of package manager: "rpm", "deb", "apk", "alpm", "opkg" or "chisel".
	System string
	// Name is the name of the binary package.
	Name string
	// Arch and Version are empty if the database does not have them.
	Arch, Version string
}

// Packages returns the packages that are installed in a tree, sorted by system, name, architecture and version. A
// package may be installed in several versions. The warnings are about broken databases, whose packages may be missing.
func Packages(ctx context.Context, tree rootfs.Tree) (list []Installed, warnings []string, err error) {
	x := rootfs.NewIndex(tree)
	for _, e := range ecosystems {
		db, err := e.read(ctx, x)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("reading the installed packages: %w", err)
		}
		for _, fault := range db.Faults {
			warnings = append(warnings, fmt.Sprintf("%v: installed packages may be missing", fault))
		}
		list = appendInstalled(list, e.name, db.Packages)
	}
	return list, warnings, nil
}

// CommitPackages is [Packages] of a commit. It reads only the directories with databases.
func CommitPackages(
	ctx context.Context, src repo.Source, commit object.Checksum,
) (list []Installed, warnings []string, err error) {
	part, err := rootfs.Part(ctx, src, commit, alpm.ConfigPaths())
	if err != nil {
		return nil, nil, err
	}
	// A fault of pacman's configuration is reported by its reader.
	homes, _, err := alpm.Homes(ctx, rootfs.NewIndex(part))
	if err != nil {
		return nil, nil, err
	}
	paths := slices.Concat(rpm.Paths(), dpkg.Paths(), apk.Paths(), chisel.Paths(), alpm.Paths(homes))
	if part, err = rootfs.Part(ctx, src, commit, paths); err != nil {
		return nil, nil, err
	}
	return Packages(ctx, part)
}

// appendInstalled appends the packages of a database. Systems are appended in any order; the list is sorted again.
func appendInstalled(list []Installed, system string, packages []pkgdb.Package) []Installed {
	for i := range packages {
		p := &packages[i]
		list = append(list, Installed{System: system, Name: p.Name, Arch: p.Arch, Version: p.Version})
	}
	slices.SortFunc(list, func(a, b Installed) int {
		return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch),
			cmp.Compare(a.Version, b.Version))
	})
	return list
}
