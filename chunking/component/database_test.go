package component_test

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/apk"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/rpm"
	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
)

func TestASourcesChangesAreThoseOfAllItsPackagesByDay(t *testing.T) {
	t.Parallel()
	const one = "x (1) stable; urgency=low\n\n  * y\n\n -- A <a@b.c>  Mon, 02 Jan 2023 23:00:00 +0000\n\n" +
		"x (0) stable; urgency=low\n\n  * y\n\n -- A <a@b.c>  Mon, 02 Jan 2023 01:00:00 +0000\n"
	const two = "x (1) stable; urgency=low\n\n  * y\n\n -- A <a@b.c>  Wed, 04 Jan 2023 01:00:00 +0200\n"
	set, _ := detect(t, debian(deb{"libx1", "x", "/usr/lib/libx.so.1", one},
		deb{"x-bin", "x", "/usr/bin/x", two}).And(tree.Empty("/usr/lib/libx.so.1", "/usr/bin/x")), component.Options{})
	x := find(t, set, "deb/x")
	if diff := cmp.Diff([]int64{19359, 19360}, x.Changes); diff != "" { // 2 and 3 January in UTC
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"libx1", "x-bin"}, x.Packages); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if got := set.Reference.Format("2006-01-02"); got != "2023-01-03" {
		t.Errorf("the reference is %s", got)
	}
}

func TestDaysOfMassRebuildsAreLeftOut(t *testing.T) {
	t.Parallel()
	var packages []deb
	for i := range 30 {
		log := fmt.Sprintf(" -- A <a@b.c>  Mon, 02 Jan 2023 01:00:00 +0000\n -- A <a@b.c>  %s\n",
			[]string{"Tue, 03 Jan 2023", "Wed, 04 Jan 2023", "Thu, 05 Jan 2023", "Fri, 06 Jan 2023", "Sat, 07 Jan 2023",
				"Sun, 08 Jan 2023"}[i%6]+" 01:00:00 +0000")
		packages = append(packages, deb{fmt.Sprintf("p%02d", i), "", fmt.Sprintf("/usr/bin/p%02d", i), log})
	}
	files := debian(packages...)
	for _, p := range packages {
		files[p.list] = tree.File{}
	}
	set, _ := detect(t, files, component.Options{})
	if diff := cmp.Diff([]int64{19360}, find(t, set, "deb/p00").Changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestSeveralPackageManagersEachOwnTheirFiles(t *testing.T) {
	t.Parallel()
	files := debian(deb{"both", "", "/usr/bin/both", ""}).And(tree.Empty("/usr/bin/both", "/usr/bin/busybox",
		"/usr/bin/pacman")).And(tree.Files{
		"/lib/apk/db/installed":                tree.Text("P:busybox\nV:1\no:busybox\nF:usr/bin\nR:busybox\nR:both\n\n"),
		"/var/lib/pacman/local/pacman-6/desc":  tree.Text("%NAME%\npacman\n\n%VERSION%\n6\n"),
		"/var/lib/pacman/local/pacman-6/files": tree.Text("%FILES%\nusr/\nusr/bin/\nusr/bin/pacman\nusr/bin/busybox\n"),
	})
	_, owners := detect(t, files, component.Options{})
	for p, want := range map[string]string{"/usr/bin/both": "deb/both", "/usr/bin/busybox": "apk/busybox",
		"/usr/bin/pacman": "alpm/pacman"} {
		if owners[p] != want {
			t.Errorf("%s: %s, want %s", p, owners[p], want)
		}
	}
}

func TestADatabaseThatWasRemovedIsAWarning(t *testing.T) {
	t.Parallel()
	const sum = "0123456789abcdef0123456789abcdef  usr/bin/x\n"
	for _, test := range []struct{ left, missing string }{
		{"/usr/lib/sysimage/rpm/rpmdb.sqlite-wal", "/usr/lib/sysimage/rpm/rpmdb.sqlite"},
		{"/var/lib/rpm/Index.db", "/var/lib/rpm/Packages.db"},
		{"/var/lib/rpm/Basenames", "/var/lib/rpm/Packages"},
		{"/usr/share/rpm/Name", "/usr/share/rpm/Packages"},
		{"/var/lib/dpkg/status-old", "/var/lib/dpkg/status"},
		{"/var/lib/dpkg/info/x.md5sums", "/var/lib/dpkg/status"},
		{"/etc/apk/world", "/lib/apk/db/installed"},
	} {
		files := tree.Files{test.left: tree.Text(sum), "/usr/bin/x": {}}
		set, _ := detect(t, files, component.Options{})
		want := test.missing + " is missing, but there is " + test.left
		if len(set.Warnings) != 1 || !strings.Contains(set.Warnings[0], want) {
			t.Errorf("%s: warnings %q, want %q", test.left, set.Warnings, want)
		}
		_, err := component.Detect(t.Context(), tree.New(files), component.Options{Strict: true})
		if !errors.Is(err, pkgdb.ErrBroken) {
			t.Errorf("%s: strict: %v", test.left, err)
		}
	}
}

func TestABrokenDatabaseIsAWarningAndItsFilesAreUnowned(t *testing.T) {
	t.Parallel()
	apk := tree.Files{"/lib/apk/db/installed": tree.Text("P:fine\nF:usr/bin\nR:fine\n\n"), "/usr/bin/fine": {},
		"/usr/bin/lost": {}}
	for name, broken := range map[string]tree.Files{
		"dpkg's status":               {"/var/lib/dpkg/status": tree.Text("Package: x\nno colon here\n")},
		"a package without a name":    {"/var/lib/dpkg/status": tree.Text("Package: \nStatus: install ok installed\n")},
		"a status that is too large":  {"/var/lib/dpkg/status": {Size: 1 << 40}},
		"a status that leads nowhere": {"/var/lib/dpkg/status": tree.Symlink("status")},
		"rpm's database":              {"/usr/lib/sysimage/rpm/rpmdb.sqlite": tree.Text("not SQLite")},
		"Portage's database":          {"/var/db/pkg/a/x-1/CONTENTS": tree.Text("odd\n")},
		"pacman's database":           {"/var/lib/pacman/local/x-1/desc": tree.Text("%VERSION%\n1\n")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, owners := detect(t, apk.And(broken), component.Options{})
			if owners["/usr/bin/lost"] != "unowned/usr/bin" || owners["/usr/bin/fine"] != "apk/fine" {
				t.Errorf("owners: %v", owners)
			}
			if len(set.Warnings) != 1 || !strings.Contains(set.Warnings[0], "are taken for unowned") {
				t.Errorf("warnings: %q", set.Warnings)
			}
			for p := range broken {
				if owners[p] != component.PackageDatabase {
					t.Errorf("%s: %s", p, owners[p])
				}
			}
			_, err := component.Detect(t.Context(), tree.New(apk.And(broken)), component.Options{Strict: true})
			if !errors.Is(err, pkgdb.ErrBroken) && !errors.Is(err, pkgdb.ErrTooLarge) {
				t.Errorf("strict: %v", err)
			}
		})
	}
}

func TestABrokenRecordIsAWarningAndTheOthersCount(t *testing.T) {
	t.Parallel()
	fine := tree.Empty("/usr/bin/fine", "/usr/bin/lost")
	for name, test := range map[string]struct {
		files tree.Files
		where string
	}{
		"deb": {
			debian(deb{"fine", "", "/usr/bin/fine", ""}).And(
				tree.Files{"/var/lib/dpkg/status.d/lost": tree.Text("Package: lost\nrubbish\n")},
			),
			"/var/lib/dpkg/status.d/lost:2: ",
		},
		"apk": {
			tree.Files{
				"/lib/apk/db/installed": tree.Text("P:fine\nF:usr/bin\nR:fine\n\nP:lost\nrubbish\nF:usr/bin\nR:lost\n\n"),
			},
			"/lib/apk/db/installed:6: ",
		},
		"alpm": {tree.Files{
			"/var/lib/pacman/local/fine-1/desc":  tree.Text("%NAME%\nfine\n"),
			"/var/lib/pacman/local/fine-1/files": tree.Text("%FILES%\nusr/bin/fine\n"),
			"/var/lib/pacman/local/lost-1/files": tree.Text("%FILES%\nusr/bin/lost\n"),
		}, "/var/lib/pacman/local/lost-1/desc "},
		"python": {tree.Files{
			"/usr/lib/python3/fine-1.dist-info/RECORD": tree.Text("../../bin/fine,,\n"),
			"/usr/lib/python3/lost-1.dist-info/RECORD": tree.Text("../../bin/lo\n"),
		}, "/usr/lib/python3/lost-1.dist-info/RECORD:1: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, owners := detect(t, fine.And(test.files), component.Options{})
			if owners["/usr/bin/fine"] != name+"/fine" || owners["/usr/bin/lost"] != "unowned/usr/bin" {
				t.Errorf("owners: %v", owners)
			}
			if len(set.Warnings) != 1 || !strings.Contains(set.Warnings[0], test.where) {
				t.Errorf("warnings: %q, want %s", set.Warnings, test.where)
			}
			_, err := component.Detect(t.Context(), tree.New(fine.And(test.files)), component.Options{Strict: true})
			if !errors.Is(err, pkgdb.ErrBroken) {
				t.Errorf("strict: %v", err)
			}
		})
	}
}

func TestADatabaseInAnyPlaceIsStateOfThePackageManager(t *testing.T) {
	t.Parallel()
	const dpkg, alpm = "/usr/share/dpkg/database/", "/opt/pacman/local/x-1/"
	_, owners := detect(t, tree.Files{
		dpkg + "status":         tree.Text("Package: bash\nStatus: install ok installed\nVersion: 1\n\n"),
		dpkg + "info/bash.list": tree.Text("/usr/bin/bash\n"),
		"/usr/bin/bash":         {},
		"/usr/etc/pacman.conf":  tree.Text("[options]\nInclude = /etc/pacman.d/*\n"),
		"/usr/etc/pacman.d/db":  tree.Text("DBPath = /opt/pacman/\n"),
		alpm + "desc":           tree.Text("%NAME%\nx\n"),
		alpm + "files":          tree.Text("%FILES%\nusr/bin/x\n"),
		"/usr/bin/x":            {},
	}, component.Options{Strict: true})
	for p, want := range map[string]string{
		"/usr/bin/bash":         "deb/bash",
		"/usr/bin/x":            "alpm/x",
		dpkg + "status":         component.PackageDatabase,
		dpkg + "info/bash.list": component.PackageDatabase,
		alpm + "desc":           component.PackageDatabase,
	} {
		if owners[p] != want {
			t.Errorf("%s: %s, want %s", p, owners[p], want)
		}
	}
}

func TestAnErrorOfReadingIsNotABrokenDatabase(t *testing.T) {
	t.Parallel()
	for _, p := range []string{
		"/var/lib/dpkg/status", "/lib/apk/db/installed", "/etc/pacman.conf", "/usr/lib/python3/x-1.dist-info/RECORD",
	} {
		_, err := component.Detect(
			t.Context(),
			tree.New(tree.Files{p: {Err: os.ErrPermission, Size: 1}}),
			component.Options{},
		)
		if !errors.Is(err, os.ErrPermission) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// alpine is a tree with a part of the database of a real Alpine Linux, and the files that it lists.
func alpine(t *testing.T) tree.Files {
	t.Helper()
	data, err := os.ReadFile("apk/testdata/installed")
	if err != nil {
		t.Fatal(err)
	}
	files := tree.Files{
		"/lib/apk/db/installed":   tree.Text(string(data)),
		"/lib/apk/db/scripts.tar": {},
		"/etc/apk/world":          {},
	}
	db, err := apk.Read(t.Context(), tree.Index(files))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range db.Packages {
		for f := range p.Files.All() {
			files[f.Path] = tree.Text("of " + p.Name)
		}
	}
	return files
}

func TestARealAlpine(t *testing.T) {
	t.Parallel()
	files := alpine(t).And(tree.Files{
		"/bin/ls": tree.Symlink("/bin/busybox"), "/usr/bin/awk": tree.Symlink("../../bin/busybox"), "/boot/initramfs-lts": {},
		"/var/cache/apk/APKINDEX.tar.gz": {}, "/etc/passwd-": {}, "/opt/own": {},
		"/etc/ssl/certs/own.pem": {},
	})
	set, owners := detect(t, files, component.Options{Strict: true})
	for p, want := range map[string]string{
		"/bin/busybox": "apk/busybox", "/bin/sh": "apk/busybox", "/bin/ls": "apk/busybox", "/usr/bin/awk": "apk/busybox",
		"/usr/bin/ssl_client": "apk/busybox", "/lib/ld-musl-x86_64.so.1": "apk/musl",
		"/etc/passwd": "apk/alpine-baselayout", "/etc/ssl/certs/ca-certificates.crt": "apk/ca-certificates",
		"/usr/bin/getconf":      "apk/musl",
		"/lib/apk/db/installed": "sys/pkgdb", "/lib/apk/db/scripts.tar": "sys/pkgdb", "/etc/apk/world": "sys/pkgdb",
		"/var/cache/apk/APKINDEX.tar.gz": "sys/pkgdb", "/boot/initramfs-lts": "sys/initramfs",
		"/etc/passwd-": "sys/volatile", "/opt/own": "unowned/opt", "/etc/ssl/certs/own.pem": "unowned/etc",
	} {
		if owners[p] != want {
			t.Errorf("%s: %q, want %s", p, owners[p], want)
		}
	}
	musl := find(t, set, "apk/musl")
	if !slices.Equal(musl.Packages, []string{"musl", "musl-utils"}) || musl.Built.Unix() != 1649396308 {
		t.Errorf("%+v", musl)
	}
	if got := set.Reference.Format("2006-01-02"); got != "2022-08-01" {
		t.Errorf("the reference is %s", got)
	}
}

// suse is a tree with the database of a real SUSE Linux Enterprise 15 and the files that it lists, with the same merged
// directories.
func suse(t *testing.T) tree.Files {
	t.Helper()
	data := testfiles.Read(t, "rpm/testdata/sle15-bci.ndb.gz")[0].Data
	files := tree.Files{
		"/usr/lib/sysimage/rpm/Packages.db": tree.Text(string(data)),
		"/var/lib/rpm":                      tree.Symlink("../../usr/lib/sysimage/rpm"),
	}
	db, err := rpm.Read(t.Context(), tree.Index(files))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range db.Packages {
		for f := range p.Files.All() {
			if files[f.Path].Target == "" {
				files[f.Path] = tree.Text("of " + p.Name)
			}
		}
	}
	// A path with other paths below it is a directory.
	for p := range files {
		for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
			files[dir] = tree.File{Dir: true}
		}
	}
	return files
}

func TestARealSUSE(t *testing.T) {
	t.Parallel()
	set, owners := detect(t, suse(t), component.Options{Strict: true})
	var ids []string
	for _, c := range set.Components {
		ids = append(ids, c.ID)
	}
	if diff := cmp.Diff([]string{
		"rpm/acl", "rpm/attr", "rpm/bash", "rpm/bzip2", "rpm/ca-certificates-mozilla-prebuilt", "rpm/coreutils",
		"rpm/elfutils", "rpm/file", "rpm/filesystem", "rpm/gcc11",
		"rpm/glibc", "rpm/gmp", "rpm/libcap", "rpm/libgcrypt", "rpm/libgpg-error", "rpm/libselinux", "rpm/libxcrypt",
		"rpm/lua53", "rpm/ncurses", "rpm/pcre", "rpm/perl", "rpm/popt",
		"rpm/rpm-config-SUSE", "rpm/rpm-ndb", "rpm/sles-release", "rpm/system-user-root", "rpm/xz", "rpm/zlib", "rpm/zstd",
		"sys/pkgdb",
	}, ids); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
	for p, want := range map[string]string{
		"/usr/bin/bash": "rpm/bash", "/lib64/libc.so.6": "rpm/glibc", "/usr/lib/sysimage/rpm/Packages.db": "sys/pkgdb",
		"/var/lib/rpm": "sys/pkgdb",
	} {
		if owners[p] != want {
			t.Errorf("%s: %q, want %s", p, owners[p], want)
		}
	}
	if n := len(find(t, set, "rpm/bash").Changes); n != 50 {
		t.Errorf("bash changed on %d days, want 50", n)
	}
}

func TestARealGentoo(t *testing.T) {
	t.Parallel()
	files := tree.Archive(t, "portage/testdata/gentoo.txtar").And(tree.Files{
		"/etc/._cfg0000_tool.conf":            tree.Text("new"),
		"/etc/profile.env":                    {},
		"/var/db/pkg/sys-apps/portage-3/SLOT": tree.Text("0\n"),
		"/var/db/pkg/sys-apps/portage-3/PF":   tree.Text("portage-3\n"),
		"/var/db/repos/gentoo/a/a/a.ebuild":   {},
		"/usr/bin/tool-link":                  tree.Symlink("tool"),
		"/var/db/pkg/sys-apps/portage-3/CONTENTS": tree.Text(
			"dir /usr\nobj /usr/bin/emerge d41d8cd98f00b204e9800998ecf8427e 1\n"),
	})
	set, owners := detect(t, files, component.Options{Strict: true})
	for p, want := range map[string]string{
		"/usr/bin/tool":                        "portage/app-misc/tool",
		"/usr/bin/alias":                       "portage/app-misc/tool",
		"/usr/bin/tool-link":                   "portage/app-misc/tool",
		"/usr/share/tool/größe":                "portage/app-misc/tool",
		"/usr/share/tool/with space/a file 12": "portage/app-misc/tool",
		"/usr/share/tool/a link":               "portage/app-misc/tool",
		"/usr/share/tool/sym -> sub/link":      "portage/app-misc/tool",
		"/var/lib/tool/.keep_app-misc_tool-0":  "portage/app-misc/tool",
		"/usr/lib/tool3.11/lib.py":             "portage/dev-lang/tool-lang:3.11",
		"/usr/lib/tool3.12/lib.py":             "portage/dev-lang/tool-lang:3.12",
		"/etc/profile.env":                     "portage/sys-apps/portage",
		"/etc/._cfg0000_tool.conf":             component.Volatile,
		"/var/db/pkg/virtual/tool-0/SLOT":      component.PackageDatabase,
		"/var/db/repos/gentoo/a/a/a.ebuild":    component.PackageDatabase,
		"/var/cache/edb/counter":               component.PackageDatabase,
	} {
		if owners[p] != want {
			t.Errorf("%s: %q, want %s", p, owners[p], want)
		}
	}
	lang := find(t, set, "portage/dev-lang/tool-lang:3.12")
	if !slices.Equal(lang.Packages, []string{"dev-lang/tool-lang"}) || lang.Built.Unix() != 1795955925 {
		t.Errorf("%+v", lang)
	}
	rules, err := component.ParseRules([]byte("- name: languages\n  packages: [\"dev-lang/*\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, owners = detect(t, files, component.Options{Strict: true, Rules: rules})
	if got := owners["/usr/lib/tool3.12/lib.py"]; got != "user/languages" {
		t.Errorf("by a rule: %s", got)
	}
}

func TestARealOpenWrtAndARealYocto(t *testing.T) {
	t.Parallel()
	for name, kernel := range map[string]string{"openwrt": "opkg/linux", "yocto": "opkg/linux-yocto"} {
		files := tree.Archive(t, "dpkg/testdata/"+name+".txtar")
		set, owners := detect(t, files, component.Options{Strict: true})
		for p, want := range map[string]string{
			"/bin/tool":                         "opkg/tool",
			"/bin/alias":                        "opkg/tool",
			"/etc/tool.conf":                    "opkg/tool",
			"/usr/share/tool/with space/a file": "opkg/tool",
			"/usr/lib/libtool1.so.1":            "opkg/tool",
			"/lib/modules/5.15.137/tool.ko":     kernel,
		} {
			if owners[p] != want {
				t.Errorf("%s: %s: %q, want %s", name, p, owners[p], want)
			}
		}
		if got := find(t, set, "opkg/tool").Packages; !slices.Equal(got, []string{"libtool1", "tool"}) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
