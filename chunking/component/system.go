package component

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// isolated claims initial RAM disks and package databases before the packages do: they change at other times than those.
func (d *detection) isolated(context.Context, Options) error {
	for i := range d.entries {
		p := strings.TrimPrefix(d.entries[i].Path, "/usr/share/factory")
		switch {
		case d.entries[i].IsDir():
		case isInitramfs(p):
			d.claim(i, Initramfs, detectorSystem, "an initial RAM disk")
		case isPackageDatabase(p):
			d.claim(i, PackageDatabase, detectorSystem, "state of a package manager")
		}
	}
	return nil
}

var initramfsDirs = []string{"/boot/", "/usr/lib/modules/", "/lib/modules/", "/usr/lib/ostree-boot/"}

func isInitramfs(p string) bool {
	for _, dir := range initramfsDirs {
		if strings.HasPrefix(p, dir) {
			base := path.Base(p)
			return strings.HasPrefix(base, "initrd.img") || strings.HasPrefix(base, "initramfs") || base == "initrd"
		}
	}
	return false
}

// databaseDirs hold what package managers write about themselves.
var databaseDirs = []string{
	"/var/lib/dpkg/", "/var/lib/apt/", "/var/cache/apt/", "/var/cache/debconf/", "/var/lib/ucf/", "/var/lib/systemd/deb-systemd-helper-enabled/",
	"/usr/lib/sysimage/", "/usr/share/rpm/", "/var/lib/rpm/", "/var/lib/dnf/", "/var/cache/dnf/", "/var/lib/yum/", "/var/cache/libdnf5/",
	"/lib/apk/", "/usr/lib/apk/", "/var/cache/apk/", "/var/lib/pacman/", "/var/cache/pacman/",
	"/etc/alternatives/", "/usr/etc/alternatives/",
}

var databaseFiles = map[string]bool{
	"/etc/apk/world": true, "/usr/etc/apk/world": true, "/var/lib/alternatives": true,
	"/var/log/dpkg.log": true, "/var/log/alternatives.log": true, "/var/log/pacman.log": true,
}

func isPackageDatabase(p string) bool {
	if databaseFiles[p] {
		return true
	}
	for _, dir := range databaseDirs {
		if strings.HasPrefix(p, dir) {
			return true
		}
	}
	return false
}

// generatedBy says which source a generated file goes with, by the package that has the generator. The first package that is
// installed counts.
var generatedBy = []struct {
	pattern  *regexp.Regexp
	packages []string
}{
	{regexp.MustCompile(`^(/usr)?/etc/ld\.so\.cache$`), []string{"deb/libc-bin", "rpm/glibc", "alpm/glibc"}},
	{regexp.MustCompile(`^(/usr)?/(etc|lib)/udev/hwdb\.bin$`), []string{"deb/udev", "rpm/systemd-udev", "alpm/systemd"}},
	{regexp.MustCompile(`^/usr/share/mime/`), []string{"deb/shared-mime-info", "rpm/shared-mime-info", "alpm/shared-mime-info"}},
	{regexp.MustCompile(`^/usr/share/glib-2\.0/schemas/gschemas\.compiled$|/gio/modules/giomodule\.cache$`), []string{"deb/libglib2.0-0", "deb/libglib2.0-0t64", "rpm/glib2", "alpm/glib2"}},
	{regexp.MustCompile(`^/usr/share/icons/.*/icon-theme\.cache$`), []string{"deb/gtk-update-icon-cache", "rpm/gtk-update-icon-cache", "alpm/gtk-update-icon-cache"}},
	{regexp.MustCompile(`^/var/cache/fontconfig/|^/usr/lib/fontconfig/cache/`), []string{"deb/fontconfig", "rpm/fontconfig", "alpm/fontconfig"}},
	{regexp.MustCompile(`^(/usr)?/etc/(ssl|pki|ca-certificates)/`), []string{"deb/ca-certificates", "rpm/ca-certificates", "alpm/ca-certificates-utils", "apk/ca-certificates"}},
	{regexp.MustCompile(`^/usr/lib/locale/(locale-archive|C\.utf8/)`), []string{"deb/locales", "deb/libc-bin", "rpm/glibc-common", "rpm/glibc", "alpm/glibc"}},
	{regexp.MustCompile(`^/usr/share/info/dir$`), []string{"deb/install-info", "rpm/info", "alpm/texinfo"}},
	{regexp.MustCompile(`^/var/cache/man/`), []string{"deb/man-db", "rpm/man-db", "alpm/man-db"}},
	{regexp.MustCompile(`^/usr/share/applications/mimeinfo\.cache$`), []string{"deb/desktop-file-utils", "rpm/desktop-file-utils", "alpm/desktop-file-utils"}},
	{regexp.MustCompile(`/gdk-pixbuf-2\.0/.*/loaders\.cache$`), []string{"deb/libgdk-pixbuf-2.0-0", "rpm/gdk-pixbuf2", "alpm/gdk-pixbuf2"}},
	{regexp.MustCompile(`^/var/lib/systemd/catalog/`), []string{"deb/systemd", "rpm/systemd", "alpm/systemd"}},
	{regexp.MustCompile(`^/var/lib/(pam|shells\.state)`), []string{"deb/libpam-runtime"}},
}

// volatilePattern matches what should not be in an image.
var volatilePattern = regexp.MustCompile(`^(/usr)?/etc/(machine-id|ssh/ssh_host_.*_key(\.pub)?|ssl/private/ssl-cert-snakeoil\.key|ssl/certs/ssl-cert-snakeoil\.pem|resolv\.conf|hostname)$` +
	`|^/var/(log|tmp|spool|cache)/|^/var/lib/systemd/random-seed$|^/root/\.(cache|bash_history)|^(/usr)?/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$|\.dpkg-(old|new|dist)$|\.rpm(save|new)$`)

// generated claims unowned files that were made from something that is owned.
func (d *detection) generated(context.Context, Options) error {
	var volatile int
	var example string
	for i := range d.entries {
		if d.claims[i].Component >= 0 || d.entries[i].IsDir() {
			continue
		}
		p := strings.TrimPrefix(d.entries[i].Path, "/usr/share/factory")
		if d.bytecode(i) || d.moduleIndex(i, p) || d.linkOfTarget(i) || d.ofGenerator(i, p) {
			continue
		}
		if volatilePattern.MatchString(p) {
			d.claim(i, Volatile, detectorSystem, "it differs in every installation")
			if d.entries[i].Size > 0 {
				if volatile++; example == "" {
					example = p
				}
			}
		}
	}
	if volatile > 0 {
		d.warnf("%d files differ in every installation and should not be in an image, such as %s", volatile, example)
	}
	return nil
}

// bytecode gives Python's compiled files to the owner of their source, or of another file of the same directory.
func (d *detection) bytecode(i int) bool {
	p := d.entries[i].Path
	dir, base := path.Split(p)
	if !strings.HasSuffix(base, ".pyc") || !strings.HasSuffix(dir, "/__pycache__/") {
		return false
	}
	module, _, _ := strings.Cut(base, ".")
	source := path.Join(path.Dir(strings.TrimSuffix(dir, "/")), module+".py")
	j, ok := d.x.Find(source)
	if !ok || d.claims[j].Component < 0 {
		return false
	}
	d.claims[i] = Claim{Component: d.claims[j].Component, Detector: detectorSystem, Reason: "compiled from " + source}
	return true
}

// moduleIndex gives what depmod writes, and everything else below a kernel's modules, to the owner of that kernel's modules.
func (d *detection) moduleIndex(i int, p string) bool {
	rest, ok := strings.CutPrefix(p, "/usr/lib/modules/")
	if !ok {
		if rest, ok = strings.CutPrefix(p, "/lib/modules/"); !ok {
			return false
		}
	}
	release, _, ok := strings.Cut(rest, "/")
	if !ok {
		return false
	}
	dir := strings.TrimSuffix(p, rest) + release
	for j := range d.x.Below(dir) {
		if c := d.claims[j]; c.Component >= 0 && c.Detector != detectorSystem {
			d.claims[i] = Claim{Component: c.Component, Detector: detectorSystem, Reason: "part of the kernel " + release}
			return true
		}
	}
	d.claim(i, "sys/kernel", detectorSystem, "part of the kernel "+release)
	return true
}

// linkOfTarget gives an unowned symlink, such as one of the alternatives or an applet of busybox, to the owner of what it leads
// to.
func (d *detection) linkOfTarget(i int) bool {
	if !d.entries[i].IsSymlink() {
		return false
	}
	j, err := d.x.Resolve(d.entries[i].Path)
	if err != nil || d.entries[j].IsDir() || d.claims[j].Component < 0 {
		return false
	}
	d.claims[i] = Claim{Component: d.claims[j].Component, Detector: detectorSystem, Reason: "a link to " + d.entries[j].Path}
	return true
}

func (d *detection) ofGenerator(i int, p string) bool {
	for _, g := range generatedBy {
		if !g.pattern.MatchString(p) {
			continue
		}
		for _, name := range g.packages {
			if id, ok := d.packaged[name]; ok {
				d.claim(i, id, detectorSystem, fmt.Sprintf("generated by %s", path.Base(name)))
				return true
			}
		}
	}
	return false
}
