package component

import (
	"context"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/alpm"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// isolated claims initial RAM disks and package databases before the packages do, since they change at other times.
func (d *detection) isolated(ctx context.Context, _ Options) error {
	dirs := databaseDirs
	// The detector of the packages reports the error.
	homes, _, err := alpm.Homes(ctx, d.x)
	for _, home := range homes {
		if i, rerr := d.x.Resolve(home); err == nil && rerr == nil {
			home = shipped(d.entries.At(i).Path())
			dirs = append(slices.Clip(dirs), path.Join(home, "local")+"/", path.Join(home, "sync")+"/")
		}
	}
	for i, e := range d.entries.All() {
		if e.IsDir() {
			continue
		}
		p := shipped(e.Path())
		switch {
		case isInitramfs(p):
			d.claim(i, Initramfs, detectorSystem, "an initial RAM disk")
		case isPackageDatabase(p, dirs):
			d.claim(i, PackageDatabase, detectorSystem, "state of a package manager")
		}
	}
	return nil
}

// shipped returns the path in the system of a file of a commit. Commits have /etc in /usr/etc, and may have /var in
// /usr/share/factory/var.
func shipped(p string) string {
	p = strings.TrimPrefix(p, "/usr/share/factory")
	if strings.HasPrefix(p, "/usr/etc/") {
		return p[len("/usr"):]
	}
	return p
}

// bootDirs hold kernels and the files that are loaded with them.
var bootDirs = []string{"/boot/", "/usr/lib/modules/", "/lib/modules/", "/usr/lib/ostree-boot/"}

func isInitramfs(p string) bool {
	base := path.Base(p)
	named := strings.HasPrefix(base, "initrd") || strings.HasPrefix(base, "initramfs")
	return named && startsWithAny(p, bootDirs) && path.Ext(base) != ".ko"
}

func startsWithAny(p string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(p, prefix) })
}

// databaseDirs hold the state of package managers.
var databaseDirs = []string{
	"/var/lib/dpkg/", "/usr/lib/dpkg/status.d/", "/usr/share/dpkg/database/", "/var/lib/apt/", "/var/cache/apt/",
	"/var/cache/debconf/", "/var/lib/ucf/",
	"/var/lib/systemd/deb-systemd-helper-enabled/", "/var/lib/systemd/deb-systemd-user-helper-enabled/",
	"/usr/lib/sysimage/", "/usr/share/rpm/", "/var/lib/rpm/", "/var/lib/rpm-state/", "/var/lib/dnf/",
	"/var/cache/dnf/", "/var/lib/yum/", "/var/cache/yum/", "/var/cache/libdnf5/", "/var/lib/zypp/", "/var/cache/zypp/",
	"/lib/apk/", "/usr/lib/apk/", "/var/cache/apk/", "/var/lib/pacman/", "/var/cache/pacman/",
	"/usr/lib/opkg/", "/opt/lib/opkg/", "/var/lib/opkg/", "/var/opkg-lists/", "/var/lib/chisel/", "/usr/share/chisel/",
	"/nix/var/nix/db/", "/var/guix/db/",
	"/var/db/pkg/", "/usr/var-db-pkg/", "/var/db/repos/", "/var/lib/portage/", "/var/cache/edb/", "/var/cache/distfiles/",
	"/var/cache/binpkgs/",
	"/var/lib/flatpak/repo/refs/", "/var/lib/flatpak/appstream/", "/var/lib/snapd/assertions/", "/var/lib/snapd/sequence/",
	"/var/lib/snapd/seed/assertions/",
	"/etc/alternatives/", "/var/lib/alternatives/",
}

var databaseFiles = map[string]bool{
	"/var/lib/flatpak/repo/config": true, "/var/lib/flatpak/repo/.lock": true, "/var/lib/flatpak/.changed": true,
	"/var/lib/snapd/state.json": true, "/var/lib/snapd/seed/seed.yaml": true, "/var/lib/snapd/system-key": true,
	"/etc/apk/world": true, "/var/lib/rpm": true, "/var/log/dpkg.log": true, "/var/log/alternatives.log": true,
	"/var/log/pacman.log": true, "/var/log/apk.log": true, "/var/log/dnf.rpm.log": true,
}

func isPackageDatabase(p string, dirs []string) bool {
	return databaseFiles[p] || startsWithAny(p, dirs) || strings.HasSuffix(p, "/conda-meta/history") ||
		strings.HasPrefix(p, "/var/lib/flatpak/repo/objects/") && path.Ext(p) != ".file"
}

// maker assigns a generated file to the package of the program that makes it. The first installed package is used.
type maker struct {
	file     *regexp.Regexp
	packages []string
}

func by(file string, packages ...string) maker { return maker{regexp.MustCompile(file), packages} }

var makers = []maker{
	by(`^/etc/ld\.so\.cache$|^/var/cache/ldconfig/|/gconv/gconv-modules\.cache$`,
		"deb/libc-bin", "rpm/glibc", "alpm/glibc", "portage/sys-libs/glibc"),
	by(`^/etc/(profile\.env|csh\.env|environment\.d/10-gentoo-env\.conf)$`, "portage/sys-apps/portage"),
	by(`/udev/hwdb\.bin$`, "deb/udev", "rpm/systemd-udev", "alpm/systemd", "apk/eudev",
		"portage/sys-apps/systemd", "portage/sys-apps/systemd-utils"),
	by(`^/usr/share/mime/`,
		"deb/shared-mime-info", "rpm/shared-mime-info", "alpm/shared-mime-info", "apk/shared-mime-info",
		"portage/x11-misc/shared-mime-info"),
	by(`^/usr/share/glib-2\.0/schemas/gschemas\.compiled$|/gio/modules/giomodule\.cache$`,
		"deb/libglib2.0-0", "deb/libglib2.0-0t64", "rpm/glib2", "alpm/glib2", "apk/glib", "portage/dev-libs/glib"),
	by(`^/usr/share/icons/.*/icon-theme\.cache$`,
		"deb/gtk-update-icon-cache", "rpm/gtk-update-icon-cache", "alpm/gtk-update-icon-cache",
		"apk/gtk-update-icon-cache", "portage/dev-util/gtk-update-icon-cache"),
	by(`/gtk-3\.0/.*/immodules\.cache$`, "deb/libgtk-3-0", "deb/libgtk-3-0t64", "rpm/gtk3", "alpm/gtk3", "apk/gtk+3.0"),
	by(`/gtk-2\.0/.*/immodules\.cache$`,
		"deb/libgtk2.0-0", "deb/libgtk2.0-0t64", "rpm/gtk2", "alpm/gtk2", "apk/gtk+2.0"),
	by(`^/var/cache/fontconfig/|^/usr/lib/fontconfig/cache/`,
		"deb/fontconfig", "rpm/fontconfig", "alpm/fontconfig", "apk/fontconfig", "portage/media-libs/fontconfig"),
	by(`^/etc/ssl/certs/java/`, "deb/ca-certificates-java"),
	by(`^/etc/ssl/(certs/|cert\.pem$)|^/etc/pki/(ca-trust/extracted|tls/certs)/|^/etc/ca-certificates/`,
		"deb/ca-certificates", "rpm/ca-certificates", "alpm/ca-certificates-utils", "apk/ca-certificates",
		"portage/app-misc/ca-certificates"),
	by(`^/etc/ca-certificates\.conf$`, "deb/ca-certificates", "portage/app-misc/ca-certificates"),
	by(`^/usr/lib/locale/(locale-archive|C\.utf8/)`,
		"deb/locales", "deb/libc-bin", "rpm/glibc-common", "rpm/glibc", "alpm/glibc", "portage/sys-libs/glibc"),
	by(`^/usr/share/info/dir$`, "deb/install-info", "rpm/info", "alpm/texinfo", "apk/texinfo", "portage/sys-apps/texinfo"),
	by(`^/var/cache/man/`, "deb/man-db", "rpm/man-db", "alpm/man-db", "apk/man-db", "portage/sys-apps/man-db"),
	by(`^/usr/share/applications/mimeinfo\.cache$`,
		"deb/desktop-file-utils", "rpm/desktop-file-utils", "alpm/desktop-file-utils", "apk/desktop-file-utils",
		"portage/dev-util/desktop-file-utils"),
	by(`/gdk-pixbuf-2\.0/.*/loaders\.cache$`,
		"deb/libgdk-pixbuf-2.0-0", "rpm/gdk-pixbuf2", "alpm/gdk-pixbuf2", "apk/gdk-pixbuf", "portage/x11-libs/gdk-pixbuf"),
	by(`^/var/lib/systemd/catalog/`, "deb/systemd", "rpm/systemd", "alpm/systemd", "portage/sys-apps/systemd"),
	by(`^/var/lib/pam/|^/etc/pam\.d/common-`, "deb/libpam-runtime"),
	by(`^/var/lib/shells\.state$|^/etc/shells$`, "deb/debianutils"),
	by(`^/usr/share/perl/[^/]+/perllocal\.pod$`, "deb/perl"),
	by(`^/usr/share/vim/[^/]+/doc/tags$`, "deb/vim-runtime", "rpm/vim-common", "alpm/vim-runtime"),
}

// volatileFile and volatileDirs match files that each installation makes anew. They should not be in an image.
var (
	volatileFile = regexp.MustCompile(`^/etc/(machine-id|ssh/ssh_host_.*_key(\.pub)?|resolv\.conf|hostname)$` +
		`|^/etc/ssl/(private/ssl-cert-snakeoil\.key|certs/ssl-cert-snakeoil\.pem)$` +
		`|^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$` +
		`|^/var/lib/(dbus/machine-id|systemd/(random-seed|credential\.secret))$` +
		`|^/root/\.(cache/|bash_history$|python_history$)|^/\.dockerenv$` +
		`|\.(dpkg-(old|new|dist|bak)|rpm(save|new|orig)|pac(new|save)|apk-new)$|/\._cfg[0-9]{4}_[^/]*$`)
	volatileDirs = []string{"/var/log/", "/var/tmp/", "/var/spool/", "/var/cache/", "/tmp/", "/run/"}
)

// generated claims unowned files that were made from owned files. Symlinks come last, since they may lead to such
// files.
func (d *detection) generated(context.Context, Options) error {
	g := &generator{detection: d, kernels: d.kernels(), names: d.ownedNames()}
	for i, e := range d.entries.All() {
		if d.claims[i].Component < 0 && !e.IsDir() && !e.IsSymlink() {
			g.file(i, e)
		}
	}
	for i, e := range d.entries.All() {
		if d.claims[i].Component < 0 && e.IsSymlink() && !d.linkOfTarget(i) {
			g.file(i, e)
		}
	}
	return nil
}

// generator is the state of a search for generated files.
type generator struct {
	*detection
	kernels map[string]int32 // release → component
	names   map[int]int      // hard links: first name → an owned name
}

// file claims one file.
func (g *generator) file(i int, e rootfs.Entry) {
	p := shipped(e.Path())
	switch {
	case g.bytecode(i, e), g.kernelPart(i, p), g.otherName(i, e):
	case volatileFile.MatchString(p):
		g.claimVolatile(i)
	case g.ofGenerator(i, p):
	case startsWithAny(p, volatileDirs):
		g.claimVolatile(i)
	}
}

func (g *generator) claimVolatile(i int) {
	g.claim(i, Volatile, detectorSystem, "it differs in every installation")
}

// with assigns an entry to the owner of another.
func (d *detection) with(i, owned int, reason string) {
	d.claims[i] = Claim{Component: d.claims[owned].Component, Reason: d.reason(detectorSystem, reason), With: int32(owned)}
}

// bytecode assigns Python's compiled files to the owner of their source. The source is beside the cache directory or,
// in the older form, beside the file.
func (d *detection) bytecode(i int, e rootfs.Entry) bool {
	module, ok := strings.CutSuffix(e.Path(), ".pyc")
	if !ok {
		return false
	}
	dir, base := path.Split(module)
	if home, ok := strings.CutSuffix(dir, "/__pycache__/"); ok {
		base = strings.TrimSuffix(strings.TrimSuffix(base, ".opt-1"), ".opt-2")
		module = home + "/" + strings.TrimSuffix(base, path.Ext(base)) // the interpreter
	}
	j, ok := d.x.Find(module + ".py")
	if !ok || d.claims[j].Component < 0 {
		return false
	}
	d.with(i, j, "compiled from ")
	return true
}

// ownedNames finds an owned name of each file that has several names.
func (d *detection) ownedNames() map[int]int {
	names := map[int]int{}
	for i, e := range d.entries.All() {
		if e.Link != i {
			names[e.Link] = -1
		}
	}
	for i, e := range d.entries.All() {
		if d.claims[i].Component < 0 || !e.IsRegular() || e.Size == 0 {
			continue
		}
		if name, ok := names[e.Link]; ok && name < 0 {
			names[e.Link] = i
		}
	}
	return names
}

// otherName assigns a hard link to the owner of the file's other name. It ignores empty files, since all empty files of
// a commit are one object.
func (g *generator) otherName(i int, e rootfs.Entry) bool {
	j, ok := g.names[e.Link]
	if !ok || j < 0 || !e.IsRegular() || e.Size == 0 {
		return false
	}
	g.with(i, j, "the same file as ")
	return true
}

// linkOfTarget assigns an unowned symlink, such as an alternative or an applet of busybox, to the owner of its target.
func (d *detection) linkOfTarget(i int) bool {
	j, ok := d.follow(i)
	if !ok || d.claims[j].Component < 0 {
		return false
	}
	d.with(i, j, "a link to ")
	return true
}

// follow returns the file that a symlink leads to. In a commit /etc is below /usr.
func (d *detection) follow(i int) (int, bool) {
	for range maxLinks {
		e := d.entries.At(i)
		if !e.IsSymlink() {
			return i, !e.IsDir()
		}
		target := e.Target
		if !strings.HasPrefix(target, "/") {
			target = e.Dir + "/" + target
		}
		p, ok := d.x.Canonical(target)
		if !ok {
			return 0, false
		}
		if i, ok = d.x.Find(p); !ok && strings.HasPrefix(p, "/etc/") {
			i, ok = d.x.Find("/usr" + p)
		}
		if !ok {
			return 0, false
		}
	}
	return 0, false
}

// maxLinks is how many symlinks are followed for one path, as in Linux.
const maxLinks = 40

func (d *detection) ofGenerator(i int, p string) bool {
	for _, m := range makers {
		if !m.file.MatchString(p) {
			continue
		}
		for _, name := range m.packages {
			if id, ok := d.packaged[name]; ok {
				d.claim(i, id, detectorSystem, "generated by "+path.Base(name))
				return true
			}
		}
	}
	return false
}
