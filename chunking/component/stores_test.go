package component_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
)

func TestNamesOfStoredPackagesStayTheSameWithTheNextVersion(t *testing.T) {
	t.Parallel()
	const hash = "1wpnr8q9wz7wmyb6b1j7lkj1vsc3n9qp"
	for p, want := range map[string]string{
		"/nix/store/" + hash + "-bash-5.1-p16/bin/bash":                                 "nix/bash",
		"/nix/store/" + hash + "-glibc-2.34-210-bin/bin/ldd":                            "nix/glibc",
		"/nix/store/" + hash + "-python3.11-requests-2.31.0/lib/x.py":                   "nix/python3.11-requests",
		"/nix/store/" + hash + "-system-path/etc/x":                                     "nix/system-path",
		"/nix/store/" + hash + "-hook.sh":                                               "nix/hook.sh",
		"/nix/store/.links/" + hash:                                                     "unowned/nix",
		"/nix/store/tooshort-bash-5.1/bin/bash":                                         "unowned/nix",
		"/nix/var/nix/db/db.sqlite":                                                     component.PackageDatabase,
		"/gnu/store/" + hash + "-guile-json-4.7.3/share/x":                              "guix/guile-json",
		"/home/linuxbrew/.linuxbrew/Cellar/openssl@3/3.3.1/bin/openssl":                 "brew/openssl@3",
		"/home/linuxbrew/.linuxbrew/Caskroom/font-hack/3.003/Hack-Regular.ttf":          "brew/font-hack",
		"/home/linuxbrew/.linuxbrew/Caskroom/font-hack/.metadata/config.json":           "brew/font-hack",
		"/etc/systemd/system/var-lib-snapd-snap-core22-1380.mount":                      "snap/core22",
		"/snap/core22/1380/meta/snap.yaml":                                              "snap/core22",
		"/var/lib/snapd/snap/hello/x1/bin/hello":                                        "snap/hello",
		"/var/lib/snapd/seed/snaps/snapd_21759.snap":                                    "snap/snapd",
		"/var/lib/flatpak/app/org.gnome.Maps/x86_64/stable/0f3c/files/bin/x":            "flatpak/org.gnome.Maps",
		"/usr/share/factory/var/lib/flatpak/runtime/org.gnome.Sdk/x86_64/46/0f3c/lib/x": "flatpak/org.gnome.Sdk",
		"/root/.nuget/packages/newtonsoft.json/13.0.3/lib/net6.0/Newtonsoft.Json.dll":   "nuget/newtonsoft.json",
		"/srv/store/" + hash + "-bash-5.1-p16/bin/bash":                                 "unowned/srv",
	} {
		_, owners := detect(t, tree.Empty(p), component.Options{Strict: true})
		if got := owners[p]; got != want && !strings.HasPrefix(got, want+"/") {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
}

// condaRecord has the fields of the records that conda 24 writes.
const condaRecord = `{"build": "h5eee18b_1", "build_number": 1, "depends": ["libgcc-ng >=11.2.0"],
	"files": ["include/zlib.h", "lib/libz.so", "lib/libz.so.1.2.13"],
	"fn": "zlib-1.2.13-h5eee18b_1.conda",
	"name": "zlib",
	"paths_data": {"paths": [{"_path": "include/zlib.h", "path_type": "hardlink"}], "paths_version": 1},
	"subdir": "linux-64",
	"timestamp": 1714512812000, "version": "1.2.13"}`

func TestCondaPackagesOwnWhatTheCacheHasOfThem(t *testing.T) {
	t.Parallel()
	const pkgs, zlib = "/opt/conda/pkgs/", "/opt/conda/pkgs/zlib-1.2.13-h5eee18b_1"
	files := tree.Files{
		"/opt/conda/conda-meta/zlib-1.2.13-h5eee18b_1.json": tree.Text(condaRecord),
		zlib + "/info/index.json":                           tree.Text(condaRecord),
		// These are of other programs.
		"/srv/info/index.json":           tree.Text("{"),
		pkgs + "other-1/info/index.json": tree.Text(`{"name": "else"}`),
	}.And(tree.Empty(zlib+"/info/test/run_test.sh", zlib+"/lib/libz.so", zlib+".conda", zlib+".tar.bz2", pkgs+"urls.txt"))
	_, owners := detect(t, files, component.Options{Strict: true})
	for p, want := range map[string]string{
		zlib + "/info/index.json": "conda/zlib", zlib + "/info/test/run_test.sh": "conda/zlib",
		zlib + "/lib/libz.so": "conda/zlib", zlib + ".conda": "conda/zlib", zlib + ".tar.bz2": "conda/zlib",
		pkgs + "urls.txt": "unowned/opt", pkgs + "other-1/info/index.json": "unowned/opt",
		"/srv/info/index.json": "unowned/srv",
	} {
		if owners[p] != want {
			t.Errorf("%s: %s, want %s", p, owners[p], want)
		}
	}
}

func TestCondaPackagesOwnWhatTheirRecordHas(t *testing.T) {
	t.Parallel()
	const env = "/opt/conda/envs/a/"
	files := tree.Files{
		env + "conda-meta/zlib-1.2.13-h5eee18b_1.json": tree.Text(condaRecord),
		env + "conda-meta/history":                     tree.Text("==> 2024 <==\n"),
		env + "include/zlib.h":                         {},
		env + "lib/libz.so":                            tree.Symlink("libz.so.1.2.13"),
		env + "lib/libz.so.1.2.13":                     {},
		env + "own":                                    {},
	}
	_, owners := detect(t, files, component.Options{Strict: true})
	for p, want := range map[string]string{
		env + "include/zlib.h":                         "conda/zlib",
		env + "lib/libz.so":                            "conda/zlib",
		env + "lib/libz.so.1.2.13":                     "conda/zlib",
		env + "conda-meta/zlib-1.2.13-h5eee18b_1.json": "conda/zlib",
		env + "own":                                    "unowned/opt",
	} {
		if owners[p] != want {
			t.Errorf("%s: %s, want %s", p, owners[p], want)
		}
	}
	for what, text := range map[string]string{"cut": condaRecord[:100], "without a name": "{}", "empty": ""} {
		broken := tree.Files{env + "conda-meta/x.json": tree.Text(text)}
		set, _ := detect(t, broken, component.Options{})
		if len(set.Warnings) != 1 || !strings.Contains(set.Warnings[0], "conda-meta/x.json") {
			t.Errorf("%s: %q", what, set.Warnings)
		}
		_, err := component.Detect(t.Context(), tree.New(broken), component.Options{Strict: true})
		if !errors.Is(err, pkgdb.ErrBroken) {
			t.Errorf("%s, strict: %v", what, err)
		}
	}
}

func TestOpkgPackagesOwnTheirFiles(t *testing.T) {
	t.Parallel()
	const status = "Package: busybox\nVersion: 1.36.1-r0\nStatus: install user installed\nArchitecture: core2-64\n" +
		"Source: busybox_1.36.1.bb\nInstalled-Time: 1714512812\n\n" +
		"Package: busybox-syslog\nVersion: 1.36.1-r0\nStatus: install ok installed\nSource: busybox_1.36.1.bb\n\n" +
		"Package: meta\nVersion: 1\nStatus: install user installed\n\n"
	for _, home := range []string{"/usr/lib/opkg", "/var/lib/opkg", "/opt/lib/opkg"} {
		files := tree.Files{
			home + "/status":                   tree.Text(status),
			home + "/info/busybox.list":        tree.Text("/bin/busybox\t0100755\n/bin/sh\t0120777\tbusybox\n"),
			home + "/info/busybox-syslog.list": tree.Text("/etc/init.d/syslog\n"),
			home + "/info/meta.list":           {},
			home + "/info/busybox.control":     {},
			"/bin/busybox":                     {},
			"/bin/sh":                          tree.Symlink("busybox"),
			"/etc/init.d/syslog":               {},
		}
		set, owners := detect(t, files, component.Options{Strict: true})
		for p, want := range map[string]string{
			"/bin/busybox":       "opkg/busybox",
			"/bin/sh":            "opkg/busybox",
			"/etc/init.d/syslog": "opkg/busybox",
			home + "/status":     component.PackageDatabase,
		} {
			if owners[p] != want {
				t.Errorf("%s: %s, want %s", p, owners[p], want)
			}
		}
		if built := find(t, set, "opkg/busybox").Built.Unix(); built != 1714512812 {
			t.Errorf("installed %d", built)
		}
	}
}
