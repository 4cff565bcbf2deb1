package dpkg

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// opkgHomes are the places of opkg's database in OpenWrt, Entware, Yocto and commits.
var opkgHomes = []string{"/usr/lib/opkg", "/opt/lib/opkg", "/var/lib/opkg", "/usr/share/factory/var/lib/opkg"}

// ReadOpkg returns the packages that opkg installed, as [Read] does. There are no changelogs.
func ReadOpkg(ctx context.Context, x *rootfs.Index) (*pkgdb.Database, error) {
	return read(ctx, x, "opkg", opkgHomes, nil)
}

// recipe returns the name of the recipe that a package was built with, or an empty string. The status lacks it, so it
// comes from the file control of the package.
func (r *reader) recipe(ctx context.Context, p map[string]string) (recipe string, err error) {
	if !pkgdb.ValidName(p["Package"]) {
		return "", nil // the package will be refused
	}
	recipe = recipeName(p)
	control := path.Join(r.home, "info", p["Package"]+".control")
	err = r.paragraphs(ctx, control, false, func(fields map[string]string) error {
		recipe = cmp.Or(recipeName(fields), recipe)
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return recipe, err
}

// recipeName returns the name of the recipe in the fields of a package, or an empty string. Yocto has it in the field
// OE, and in the field Source the file of the recipe, such as "busybox_1.35.0.bb", or in older versions a list of URLs.
// OpenWrt has in the field Source the directory of the recipe, such as "package/utils/busybox".
func recipeName(fields map[string]string) string {
	source := strings.TrimSuffix(fields["Source"], "/")
	if strings.Contains(source, "://") || strings.Contains(source, " ") {
		source = ""
	}
	name := source[strings.LastIndexByte(source, '/')+1:]
	if recipe, ok := strings.CutSuffix(name, ".bb"); ok {
		name, _, _ = strings.Cut(recipe, "_")
	}
	return cmp.Or(fields["OE"], name)
}

// opkgPath returns the path in a line of a list. The mode and the target of a link may follow it. The path of the root
// is empty then.
func opkgPath(line string) string {
	p, _, more := strings.Cut(line, "\t")
	if p == "" && more {
		return "/."
	}
	return p
}
