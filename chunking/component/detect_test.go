package component_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
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
)

// deb is a Debian package of a test. Its list has one path for each word.
type deb struct {
	name, source, list string
	changelog          string
}

// debian is a tree with a database of packages.
func debian(packages ...deb) tree.Files {
	files := tree.Files{}
	var status strings.Builder
	for _, p := range packages {
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\n", p.name)
		if p.source != "" {
			fmt.Fprintf(&status, "Source: %s (0.9-1)\n", p.source)
		}
		status.WriteString("\n")
		files["/var/lib/dpkg/info/"+p.name+".list"] = tree.Text("/.\n" + strings.Join(strings.Fields(p.list), "\n") + "\n")
		if p.changelog != "" {
			files["/usr/share/doc/"+p.name+"/changelog.Debian"] = tree.Text(p.changelog)
		}
	}
	files["/var/lib/dpkg/status"] = tree.Text(status.String())
	return files
}

func detect(t *testing.T, files tree.Files, opts component.Options) (*component.Set, map[string]string) {
	t.Helper()
	tr := tree.New(files)
	set, err := component.Detect(t.Context(), tr, opts)
	if err != nil {
		t.Fatal(err)
	}
	checkSet(t, tr, set)
	owners := map[string]string{}
	for i, c := range set.Claims {
		if c.Component >= 0 {
			owners[tr.Entries().At(i).Path()] = set.Components[c.Component].ID
		}
	}
	return set, owners
}

// checkSet checks the invariants of a set.
func checkSet(t *testing.T, tr *tree.Tree, set *component.Set) {
	t.Helper()
	files := make([]int, len(set.Components))
	for i, c := range set.Claims {
		if dir := tr.Entries().At(i).IsDir(); dir != (c.Component < 0) {
			t.Errorf("%s: component %d, is a directory: %v", tr.Entries().At(i).Path(), c.Component, dir)
		}
		if c.Component >= 0 {
			files[c.Component]++
			if why := set.Explain(tr.Entries(), i); why.Detector == "" || why.Text == "" {
				t.Errorf("%s: nothing says why", tr.Entries().At(i).Path())
			}
		}
	}
	for i, c := range set.Components {
		if files[i] == 0 || len(c.Packages) == 0 {
			t.Errorf("%s: %d files, packages %v", c.ID, files[i], c.Packages)
		}
		if i > 0 && set.Components[i-1].ID >= c.ID {
			t.Errorf("%s stands after %s", c.ID, set.Components[i-1].ID)
		}
		if !slices.IsSorted(c.Changes) || len(slices.Compact(slices.Clone(c.Changes))) != len(c.Changes) {
			t.Errorf("%s: changes %v", c.ID, c.Changes)
		}
	}
	if len(set.Claims) != tr.Entries().Len() {
		t.Errorf("%d claims for %d entries", len(set.Claims), tr.Entries().Len())
	}
}

func find(t *testing.T, set *component.Set, id string) component.Component {
	t.Helper()
	i := slices.IndexFunc(set.Components, func(c component.Component) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("there is no component %s", id)
	}
	return set.Components[i]
}

// ownership is a table of trees and the owners of their files, by path.
type ownership struct {
	name  string
	files tree.Files
	want  map[string]string
}

func (o ownership) run(t *testing.T) {
	t.Parallel()
	_, owners := detect(t, o.files, component.Options{})
	for p := range owners {
		if strings.HasPrefix(p, "/var/lib/dpkg/") || strings.HasPrefix(p, "/usr/share/doc/") {
			delete(owners, p)
		}
	}
	if diff := cmp.Diff(o.want, owners); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func runAll(t *testing.T, table []ownership) {
	t.Parallel()
	for _, o := range table {
		t.Run(o.name, o.run)
	}
}

var merged = tree.Files{"/bin": tree.Symlink("usr/bin"), "/lib": tree.Symlink("usr/lib"),
	"/sbin": tree.Symlink("/usr/sbin")}

func with(owners map[string]string, more map[string]string) map[string]string {
	all := maps.Clone(owners)
	maps.Copy(all, more)
	return all
}

// mergedOwners are the owners of the links with merged /usr, in trees where base-files does not own them.
var mergedOwners = map[string]string{"/bin": "unowned/root", "/lib": "unowned/root", "/sbin": "unowned/root"}

func TestPackagesOwnTheirFiles(t *testing.T) {
	runAll(t, []ownership{
		{
			"files of all packages of a source are one component",
			debian(deb{"libssl3", "openssl", "/usr /usr/lib /usr/lib/libssl.so.3", ""},
				deb{"openssl", "", "/usr/bin/openssl", ""}).And(
				tree.Empty("/usr/lib/libssl.so.3", "/usr/bin/openssl")),
			map[string]string{"/usr/lib/libssl.so.3": "deb/openssl", "/usr/bin/openssl": "deb/openssl"},
		},
		{
			"the list says /bin/ls, and /bin is a link to usr/bin",
			debian(deb{"coreutils", "", "/bin /bin/ls", ""},
				deb{"base-files", "", "/lib /lib64", ""}).And(merged).And(tree.Empty("/usr/bin/ls", "/usr/sbin/x", "/usr/lib/y")),
			map[string]string{
				"/usr/bin/ls": "deb/coreutils", "/bin": "unowned/root", "/sbin": "unowned/root", "/lib": "deb/base-files",
				"/usr/sbin/x": "unowned/usr/sbin", "/usr/lib/y": "unowned/usr/lib",
			},
		},
		{
			"the link belongs to the package that lists it, its target does not",
			debian(deb{"vi", "", "/usr/bin/vi", ""},
				deb{"vim", "", "/usr/bin/vim", ""}).And(tree.Files{"/usr/bin/vi": tree.Symlink("vim"), "/usr/bin/vim": {}}),
			map[string]string{"/usr/bin/vi": "deb/vi", "/usr/bin/vim": "deb/vim"},
		},
		{
			"a file of several packages belongs to the first by the component's name",
			debian(deb{"zsh", "", "/usr/share/common", ""},
				deb{"ash", "", "/usr/share/common", ""}).And(tree.Empty("/usr/share/common")),
			map[string]string{"/usr/share/common": "deb/ash"},
		},
		{
			"a listed file that is missing, or is a directory now, has no owner",
			debian(deb{"gone", "", "/usr/bin/gone /usr/share/gone", ""},
				deb{"here", "", "/usr/bin/here", ""}).And(tree.Empty("/usr/share/gone/own", "/usr/bin/here")),
			map[string]string{"/usr/share/gone/own": "unowned/usr/share", "/usr/bin/here": "deb/here"},
		},
		{
			"in a commit, what the list has in /etc is in /usr/etc, and initial content of /var is in the factory",
			debian(deb{"pam", "", "/etc/pam.conf /var/lib/pam/x", ""}).And(tree.Empty("/usr/etc/pam.conf",
				"/usr/share/factory/var/lib/pam/x", "/usr/etc/own")),
			map[string]string{"/usr/etc/pam.conf": "deb/pam", "/usr/share/factory/var/lib/pam/x": "deb/pam",
				"/usr/etc/own": "unowned/etc"},
		},
		{
			"a diverted file belongs to its package, the file in its place to the package that diverted it",
			debian(deb{"dash", "", "/bin/sh", ""}, deb{"bash", "", "/bin/sh", ""}).And(merged).And(tree.Files{
				"/var/lib/dpkg/diversions": tree.Text("/usr/bin/sh\n/usr/bin/sh.distrib\nbash\n"), "/usr/bin/sh": {},
				"/usr/bin/sh.distrib": {},
			}),
			with(mergedOwners, map[string]string{"/usr/bin/sh": "deb/bash", "/usr/bin/sh.distrib": "deb/dash"}),
		},
		{
			"a local diversion moves the file of every package",
			debian(deb{"tool", "", "/usr/bin/tool", ""}).And(tree.Files{
				"/var/lib/dpkg/diversions": tree.Text("/usr/bin/tool\n/usr/bin/tool.real\n:\n"), "/usr/bin/tool": {},
				"/usr/bin/tool.real": {},
			}),
			map[string]string{"/usr/bin/tool": "unowned/usr/bin", "/usr/bin/tool.real": "deb/tool"},
		},
	})
}

func TestUnownedFilesGoWithWhatTheyAreMadeFrom(t *testing.T) {
	nano := deb{"nano", "", "/usr/bin/nano /usr/share/man/man1/nano.1.gz", ""}
	alternative := tree.Files{
		"/usr/bin/editor": tree.Symlink("/etc/alternatives/editor"), "/usr/bin/nano": {}, "/usr/share/man/man1/nano.1.gz": {},
		"/usr/share/man/man1/editor.1.gz": tree.Symlink("/etc/alternatives/editor.1.gz"),
	}
	links := func(etc string) tree.Files {
		return tree.Files{
			etc + "/alternatives/editor":      tree.Symlink("/usr/bin/nano"),
			etc + "/alternatives/editor.1.gz": tree.Symlink("/usr/share/man/man1/nano.1.gz"),
		}
	}
	owners := map[string]string{
		"/usr/bin/nano": "deb/nano", "/usr/share/man/man1/nano.1.gz": "deb/nano", "/usr/bin/editor": "deb/nano",
		"/usr/share/man/man1/editor.1.gz": "deb/nano",
	}
	runAll(t, []ownership{
		{"alternatives", debian(nano).And(alternative).And(links("/etc")), with(owners, map[string]string{
			"/etc/alternatives/editor": "sys/pkgdb", "/etc/alternatives/editor.1.gz": "sys/pkgdb",
		})},
		{"alternatives of a commit", debian(nano).And(alternative).And(links("/usr/etc")), with(owners, map[string]string{
			"/usr/etc/alternatives/editor": "sys/pkgdb", "/usr/etc/alternatives/editor.1.gz": "sys/pkgdb",
		})},
		{
			"another name of the same file, but not another empty file",
			debian(deb{"perl", "", "/usr/bin/perl", ""}, deb{"empty", "", "/usr/share/empty", ""}).And(tree.Files{
				"/usr/bin/perl": tree.Text("#!"), "/usr/bin/perl5.36": tree.HardLink("/usr/bin/perl"), "/usr/share/empty": {},
				"/usr/bin/also": tree.HardLink("/usr/share/empty"),
			}),
			map[string]string{"/usr/bin/perl": "deb/perl", "/usr/bin/perl5.36": "deb/perl", "/usr/share/empty": "deb/empty",
				"/usr/bin/also": "unowned/usr/bin"},
		},
		{
			"compiled Python goes with its source",
			debian(deb{"python3-six", "six", "/usr/lib/python3/dist-packages/six.py", ""}).And(tree.Empty(
				"/usr/lib/python3/dist-packages/six.py", "/usr/lib/python3/dist-packages/__pycache__/six.cpython-311.pyc",
				"/usr/lib/python3/dist-packages/__pycache__/six.cpython-311.opt-1.pyc", "/usr/lib/python3/dist-packages/six.pyc",
				"/usr/lib/python3/dist-packages/__pycache__/lost.cpython-311.pyc", "/opt/own/x.y.py",
				"/opt/own/__pycache__/x.y.cpython-311.pyc")),
			map[string]string{
				"/usr/lib/python3/dist-packages/six.py":                                "deb/six",
				"/usr/lib/python3/dist-packages/six.pyc":                               "deb/six",
				"/usr/lib/python3/dist-packages/__pycache__/six.cpython-311.pyc":       "deb/six",
				"/usr/lib/python3/dist-packages/__pycache__/six.cpython-311.opt-1.pyc": "deb/six",
				"/usr/lib/python3/dist-packages/__pycache__/lost.cpython-311.pyc":      "unowned/usr/lib",
				"/opt/own/x.y.py":                          "unowned/opt",
				"/opt/own/__pycache__/x.y.cpython-311.pyc": "unowned/opt",
			},
		},
		{
			"caches go with their generator where it is installed",
			debian(deb{"libc-bin", "glibc", "/sbin/ldconfig", ""},
				deb{"ca-certificates", "", "/usr/sbin/update-ca-certificates", ""},
				deb{"man-db", "", "/usr/bin/man", ""}).And(merged).And(tree.Empty(
				"/usr/sbin/ldconfig", "/usr/sbin/update-ca-certificates", "/usr/bin/man", "/etc/ld.so.cache",
				"/var/cache/ldconfig/aux-cache", "/etc/ssl/certs/ca-certificates.crt",
				"/etc/ssl/private/my.key", "/var/cache/man/index.db", "/usr/share/mime/mime.cache", "/usr/lib/udev/hwdb.bin")),
			with(mergedOwners, map[string]string{
				"/usr/sbin/ldconfig": "deb/glibc", "/usr/sbin/update-ca-certificates": "deb/ca-certificates",
				"/usr/bin/man":     "deb/man-db",
				"/etc/ld.so.cache": "deb/glibc", "/var/cache/ldconfig/aux-cache": "deb/glibc",
				"/etc/ssl/certs/ca-certificates.crt": "deb/ca-certificates",
				"/etc/ssl/private/my.key":            "unowned/etc", "/var/cache/man/index.db": "deb/man-db",
				"/usr/share/mime/mime.cache": "unowned/usr/share", "/usr/lib/udev/hwdb.bin": "unowned/usr/lib",
			}),
		},
		{
			"links that lead nowhere, out of the tree, in a circle or to a directory are the directory's",
			tree.Files{
				"/opt/a": tree.Symlink("nothing"), "/opt/b": tree.Symlink("../../../../../../x"), "/opt/c": tree.Symlink("c"),
				"/opt/d": tree.Symlink("/usr"), "/usr/bin/x": {},
			},
			map[string]string{"/opt/a": "unowned/opt", "/opt/b": "unowned/opt", "/opt/c": "unowned/opt", "/opt/d": "unowned/opt",
				"/usr/bin/x": "unowned/usr/bin"},
		},
	})
}

func TestSystemPartsAreOnTheirOwn(t *testing.T) {
	const release, old = "6.1.0-21-amd64", "6.1.0-9-amd64"
	linux := func(release string) deb {
		return deb{"linux-image-" + release, "linux-signed-amd64",
			"/boot/vmlinuz-" + release + " /lib/modules/" + release + "/kernel/ext4.ko", ""}
	}
	runAll(t, []ownership{
		{
			"kernel with modules, initial RAM disk and database",
			debian(linux(release)).And(merged).And(tree.Empty(
				"/boot/vmlinuz-"+release, "/boot/System.map-"+release, "/boot/initrd.img-"+release,
				"/usr/lib/modules/"+release+"/kernel/ext4.ko",
				"/usr/lib/modules/"+release+"/modules.dep", "/var/lib/apt/extended_states", "/boot/grub/grub.cfg",
				"/usr/lib/modules/"+release+"/extra/dkms.ko")).And(
				tree.Files{"/initrd.img": tree.Symlink("boot/initrd.img-" + release),
					"/vmlinuz": tree.Symlink("boot/vmlinuz-" + release)}),
			with(mergedOwners, map[string]string{
				"/boot/vmlinuz-" + release: "deb/linux-signed-amd64", "/boot/System.map-" + release: "deb/linux-signed-amd64",
				"/vmlinuz": "deb/linux-signed-amd64",
				"/usr/lib/modules/" + release + "/kernel/ext4.ko": "deb/linux-signed-amd64",
				"/usr/lib/modules/" + release + "/modules.dep":    "deb/linux-signed-amd64",
				"/usr/lib/modules/" + release + "/extra/dkms.ko":  "deb/linux-signed-amd64",
				"/boot/initrd.img-" + release:                     "sys/initramfs", "/initrd.img": "sys/initramfs",
				"/var/lib/apt/extended_states": "sys/pkgdb", "/boot/grub/grub.cfg": "unowned/boot",
			}),
		},
		{
			"two kernels are told apart by rank, not by version",
			debian(linux(old), linux(release)).And(tree.Empty(
				"/boot/vmlinuz-"+release, "/lib/modules/"+release+"/kernel/ext4.ko", "/lib/modules/"+release+"/modules.dep",
				"/boot/vmlinuz-"+old, "/lib/modules/"+old+"/kernel/ext4.ko", "/lib/modules/"+old+"/modules.dep",
				"/boot/config-"+old)),
			map[string]string{
				"/boot/vmlinuz-" + release:                    "deb/linux-signed-amd64",
				"/lib/modules/" + release + "/kernel/ext4.ko": "deb/linux-signed-amd64",
				"/lib/modules/" + release + "/modules.dep":    "deb/linux-signed-amd64",
				"/boot/vmlinuz-" + old:                        "deb/linux-signed-amd64#2",
				"/lib/modules/" + old + "/kernel/ext4.ko":     "deb/linux-signed-amd64#2",
				"/lib/modules/" + old + "/modules.dep":        "deb/linux-signed-amd64#2",
				"/boot/config-" + old:                         "deb/linux-signed-amd64#2",
			},
		},
		{
			"the kernel of a commit",
			debian(linux(release)).And(tree.Empty("/usr/lib/modules/"+release+"/vmlinuz",
				"/usr/lib/modules/"+release+"/initramfs.img", "/lib/modules/"+release+"/kernel/ext4.ko")),
			map[string]string{
				"/usr/lib/modules/" + release + "/vmlinuz":       "deb/linux-signed-amd64",
				"/usr/lib/modules/" + release + "/initramfs.img": "sys/initramfs",
				"/lib/modules/" + release + "/kernel/ext4.ko":    "deb/linux-signed-amd64",
			},
		},
		{
			"the modules of another package do not decide the owner of the kernel",
			debian(deb{"linux", "", "/lib/modules/1/kernel/a.ko /lib/modules/1/kernel/b.ko", ""},
				deb{"extra", "", "/lib/modules/1/a/extra.ko", ""}).And(
				tree.Empty("/lib/modules/1/kernel/a.ko", "/lib/modules/1/kernel/b.ko", "/lib/modules/1/a/extra.ko",
					"/lib/modules/1/modules.dep")),
			map[string]string{
				"/lib/modules/1/kernel/a.ko": "deb/linux", "/lib/modules/1/kernel/b.ko": "deb/linux",
				"/lib/modules/1/a/extra.ko": "deb/extra", "/lib/modules/1/modules.dep": "deb/linux",
			},
		},
		{
			"a kernel that no package owns, with the names of several distributions",
			tree.Empty("/usr/lib/modules/6.9/kernel/a.ko", "/usr/lib/modules/6.9/modules.dep", "/boot/vmlinuz-linux",
				"/boot/initramfs-linux.img", "/boot/initramfs-linux-fallback.img", "/boot/initrd-6.9-default"),
			map[string]string{
				"/usr/lib/modules/6.9/kernel/a.ko": "sys/kernel", "/usr/lib/modules/6.9/modules.dep": "sys/kernel",
				"/boot/vmlinuz-linux":       "sys/kernel",
				"/boot/initramfs-linux.img": "sys/initramfs", "/boot/initramfs-linux-fallback.img": "sys/initramfs",
				"/boot/initrd-6.9-default": "sys/initramfs",
			},
		},
		{
			"databases wherever a package manager keeps them",
			tree.Empty("/usr/lib/sysimage/rpm-ostree-base-db/rpmdb.sqlite-shm", "/var/lib/alternatives/java",
				"/usr/etc/apk/world", "/usr/share/factory/var/lib/dnf/history.sqlite", "/var/cache/debconf/config.dat",
				"/opt/db/local/x/desc", "/opt/db/sync/core.db", "/opt/db/other").And(
				tree.Files{"/etc/pacman.conf": tree.Text("[options]\nDBPath = /opt/db/\n"),
					"/opt/db/local/x/desc": tree.Text("%NAME%\nx\n")}),
			map[string]string{
				"/usr/lib/sysimage/rpm-ostree-base-db/rpmdb.sqlite-shm": "sys/pkgdb", "/var/lib/alternatives/java": "sys/pkgdb",
				"/usr/etc/apk/world":                            "sys/pkgdb",
				"/usr/share/factory/var/lib/dnf/history.sqlite": "sys/pkgdb", "/var/cache/debconf/config.dat": "sys/pkgdb",
				"/opt/db/local/x/desc": "sys/pkgdb", "/opt/db/sync/core.db": "sys/pkgdb",
				"/etc/pacman.conf": "unowned/etc", "/opt/db/other": "unowned/opt",
			},
		},
		{
			"what differs in every installation",
			tree.Empty("/etc/machine-id", "/usr/etc/ssh/ssh_host_rsa_key", "/etc/ssl/private/ssl-cert-snakeoil.key",
				"/etc/passwd-", "/etc/x.conf.dpkg-old", "/var/log/syslog", "/var/cache/x/y", "/etc/passwd", "/.dockerenv"),
			map[string]string{
				"/etc/machine-id": "sys/volatile", "/usr/etc/ssh/ssh_host_rsa_key": "sys/volatile",
				"/etc/ssl/private/ssl-cert-snakeoil.key": "sys/volatile",
				"/etc/passwd-":                           "sys/volatile", "/etc/x.conf.dpkg-old": "sys/volatile",
				"/var/log/syslog": "sys/volatile",
				"/var/cache/x/y":  "sys/volatile", "/etc/passwd": "unowned/etc", "/.dockerenv": "sys/volatile",
			},
		},
	})
}

func TestWhatNobodyOwnsIsDividedByDirectory(t *testing.T) {
	const kib, mib = 1 << 10, 1 << 20
	runAll(t, []ownership{
		{
			"big files alone, without version; all names of a file together",
			tree.Files{"/opt/model-1.2.3.bin": {Size: 2 * mib}, "/opt/x/again.bin": tree.HardLink("/opt/model-1.2.3.bin"),
				"/opt/x/a b,c": {Size: mib}},
			map[string]string{"/opt/model-1.2.3.bin": "file/opt/model.bin", "/opt/x/again.bin": "file/opt/model.bin",
				"/opt/x/a b,c": "file/opt/x/a_b_c"},
		},
		{
			"a little is counted to the top directory, below /usr and /var to the second",
			tree.Empty("/opt/a/b/c", "/usr/local/bin/x", "/usr/x", "/var/lib/y/z", "/x", "/srv/s"),
			map[string]string{
				"/opt/a/b/c": "unowned/opt", "/usr/local/bin/x": "unowned/usr/local", "/usr/x": "unowned/usr",
				"/var/lib/y/z": "unowned/var/lib", "/x": "unowned/root", "/srv/s": "unowned/srv",
			},
		},
		{
			"much is divided, but for what is too little to have a layer",
			tree.Files{
				"/opt/a-1.0/1": {Size: 900 * kib}, "/opt/a-1.0/2": {Size: 900 * kib}, "/opt/b/1": {Size: 900 * kib},
				"/opt/b/2": {Size: 900 * kib}, "/opt/b/3": {Size: 900 * kib},
				"/opt/c/tiny": {Size: kib}, "/opt/own": {},
			},
			map[string]string{
				"/opt/a-1.0/1": "unowned/opt/a", "/opt/a-1.0/2": "unowned/opt/a", "/opt/b/1": "unowned/opt/b",
				"/opt/b/2": "unowned/opt/b", "/opt/b/3": "unowned/opt/b",
				"/opt/c/tiny": "unowned/opt", "/opt/own": "unowned/opt",
			},
		},
	})
}

func TestAHugeRemainderHasManyComponentsButNotTooMany(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]func(i int) (string, int64){
		"small directories": func(i int) (string, int64) { return fmt.Sprintf("/srv/data/%05d/blob", i), 100 << 10 },
		"files":             func(i int) (string, int64) { return fmt.Sprintf("/srv/data/%05d", i), 100 << 10 },
		"big files":         func(i int) (string, int64) { return fmt.Sprintf("/srv/data/%05d/blob", i), 1 << 20 },
		"directories":       func(i int) (string, int64) { return fmt.Sprintf("/srv/%05d/%d", i/4, i%4), 900 << 10 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := tree.Files{}
			for i := range 10_000 {
				p, size := file(i)
				files[p] = tree.File{Size: size}
			}
			set, _ := detect(t, files, component.Options{})
			sizes := map[int32]int64{}
			var all, largest int64
			for i, e := range tree.New(files).Entries().All() {
				sizes[set.Claims[i].Component] += e.Size
				all, largest = all+e.Size, max(largest, sizes[set.Claims[i].Component])
			}
			if n := len(set.Components); n < 8 || n > 2000 || largest > all/4 {
				t.Errorf("%d components, the largest has %d of %d bytes", n, largest, all)
			}
		})
	}
}

func TestPartsOfAHugeDirectoryStayTheSameWhenFilesAreAdded(t *testing.T) {
	t.Parallel()
	files := tree.Files{}
	for i := range 2000 {
		files[fmt.Sprintf("/srv/%04d", i)] = tree.File{Size: 100 << 10}
	}
	_, before := detect(t, files, component.Options{})
	for i := range 200 {
		files[fmt.Sprintf("/srv/new%04d", i)] = tree.File{Size: 100 << 10}
	}
	_, after := detect(t, files, component.Options{})
	for p, id := range before {
		if after[p] != id {
			t.Fatalf("%s: %s, before %s", p, after[p], id)
		}
	}
}

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

func TestDaysOfMassRebuildsTellNothing(t *testing.T) {
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

func TestSeveralPackageManagersEachOwnTheirs(t *testing.T) {
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
			debian(deb{"fine", "", "/usr/bin/fine", ""}).And(tree.Files{"/var/lib/dpkg/status.d/lost": tree.Text("Package: lost\nrubbish\n")}),
			"/var/lib/dpkg/status.d/lost:2: ",
		},
		"apk": {tree.Files{"/lib/apk/db/installed": tree.Text("P:fine\nF:usr/bin\nR:fine\n\nP:lost\nrubbish\nF:usr/bin\nR:lost\n\n")}, "/lib/apk/db/installed:6: "},
		"alpm": {tree.Files{
			"/var/lib/pacman/local/fine-1/desc": tree.Text("%NAME%\nfine\n"), "/var/lib/pacman/local/fine-1/files": tree.Text("%FILES%\nusr/bin/fine\n"),
			"/var/lib/pacman/local/lost-1/files": tree.Text("%FILES%\nusr/bin/lost\n"),
		}, "/var/lib/pacman/local/lost-1/desc "},
		"python": {tree.Files{
			"/usr/lib/python3/fine-1.dist-info/RECORD": tree.Text("../../bin/fine,,\n"), "/usr/lib/python3/lost-1.dist-info/RECORD": tree.Text("../../bin/lo\n"),
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

func TestADatabaseOfAnyPlaceIsStateOfThePackageManager(t *testing.T) {
	t.Parallel()
	const dpkg, alpm = "/usr/share/dpkg/database/", "/opt/pacman/local/x-1/"
	_, owners := detect(t, tree.Files{
		dpkg + "status": tree.Text("Package: bash\nStatus: install ok installed\nVersion: 1\n\n"), dpkg + "info/bash.list": tree.Text("/usr/bin/bash\n"), "/usr/bin/bash": {},
		"/usr/etc/pacman.conf": tree.Text("[options]\nInclude = /etc/pacman.d/*\n"), "/usr/etc/pacman.d/db": tree.Text("DBPath = /opt/pacman/\n"),
		alpm + "desc": tree.Text("%NAME%\nx\n"), alpm + "files": tree.Text("%FILES%\nusr/bin/x\n"), "/usr/bin/x": {},
	}, component.Options{Strict: true})
	for p, want := range map[string]string{
		"/usr/bin/bash": "deb/bash", "/usr/bin/x": "alpm/x", dpkg + "status": component.PackageDatabase, dpkg + "info/bash.list": component.PackageDatabase, alpm + "desc": component.PackageDatabase,
	} {
		if owners[p] != want {
			t.Errorf("%s: %s, want %s", p, owners[p], want)
		}
	}
}

func TestAnErrorOfReadingIsNoBrokenDatabase(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"/var/lib/dpkg/status", "/lib/apk/db/installed", "/etc/pacman.conf", "/usr/lib/python3/x-1.dist-info/RECORD"} {
		_, err := component.Detect(t.Context(), tree.New(tree.Files{p: {Err: os.ErrPermission, Size: 1}}), component.Options{})
		if !errors.Is(err, os.ErrPermission) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestNamesThatCannotStandInAListAreMadeWords(t *testing.T) {
	t.Parallel()
	set, _ := detect(t,
		debian(deb{"x", "a,b", "/usr/bin/x", ""}).And(tree.Files{"/usr/bin/x": {}, "/opt/\xff \x01": {Size: 1 << 20}}),
		component.Options{})
	for _, c := range set.Components {
		for _, s := range append(c.Packages, c.ID) {
			if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == ',' || r == '\uFFFD' }) {
				t.Errorf("%q", s)
			}
		}
		if len(c.Packages) == 1 && c.Packages[0] == "" || path.Base(c.ID) == "" {
			t.Errorf("%+v", c)
		}
	}
}

func TestAnEmptyTreeHasNoComponents(t *testing.T) {
	t.Parallel()
	set, _ := detect(t, tree.Files{}, component.Options{Strict: true})
	if len(set.Components) != 0 || len(set.Warnings) != 0 || !set.Reference.IsZero() {
		t.Errorf("%+v", set)
	}
}

// alpine is a tree with a part of the database of a real Alpine Linux, and the files that it lists.
func alpine(t *testing.T) tree.Files {
	t.Helper()
	data, err := os.ReadFile("apk/testdata/installed")
	if err != nil {
		t.Fatal(err)
	}
	files := tree.Files{"/lib/apk/db/installed": tree.Text(string(data)), "/lib/apk/db/scripts.tar": {}, "/etc/apk/world": {}}
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
	f, err := os.Open("rpm/testdata/sle15-bci.ndb.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	files := tree.Files{"/usr/lib/sysimage/rpm/Packages.db": tree.Text(string(data)), "/var/lib/rpm": tree.Symlink("../../usr/lib/sysimage/rpm")}
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

func TestACommitsOwnersAreThoseOfTheTreeItWasMadeOf(t *testing.T) {
	t.Parallel()
	const release = "6.1.0-21-amd64"
	content := tree.Empty("/usr/bin/tool", "/lib/modules/"+release+"/kernel/ext4.ko", "/opt/app/x",
		"/srv/y").And(tree.Files{"/usr/bin/also": tree.Symlink("/etc/alternatives/also")})
	origin := debian(deb{"tool", "", "/usr/bin/tool /etc/tool.conf", ""},
		deb{"linux", "", "/boot/vmlinuz-" + release + " /lib/modules/" + release + "/kernel/ext4.ko",
			""}).And(content).And(tree.Empty(
		"/etc/tool.conf", "/boot/vmlinuz-"+release, "/boot/initrd.img-"+release)).And(tree.Files{
		"/opt/app":               {Dir: true, Xattrs: map[string]string{"user.component": "app"}},
		"/etc/alternatives/also": tree.Symlink("/usr/bin/tool"),
	})
	// The xattr and the database are missing, and /etc and the kernel have moved.
	prepared := content.And(tree.Empty("/usr/etc/tool.conf", "/lib/modules/"+release+"/vmlinuz",
		"/lib/modules/"+release+"/initramfs.img")).And(tree.Files{
		"/usr/etc/alternatives/also": tree.Symlink("/usr/bin/tool"), "/ostree": tree.Symlink("sysroot/ostree"),
	})
	set, owners := detect(t, prepared, component.Options{Origin: tree.New(origin),
		Rules: parse(t, "- {name: own, paths: [/srv]}")})
	if diff := cmp.Diff(map[string]string{
		"/usr/bin/tool": "deb/tool", "/usr/etc/tool.conf": "deb/tool", "/usr/bin/also": "deb/tool",
		"/usr/etc/alternatives/also": "sys/pkgdb", "/opt/app/x": "user/app", "/srv/y": "user/own",
		"/lib/modules/" + release + "/kernel/ext4.ko": "deb/linux", "/lib/modules/" + release + "/vmlinuz": "deb/linux",
		"/lib/modules/" + release + "/initramfs.img": "sys/initramfs",
		"/ostree": "unowned/root",
	}, owners); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(set.Warnings) > 0 || !find(t, set, "user/app").Exclusive {
		t.Errorf("warnings: %q", set.Warnings)
	}
}

func TestTheSameTreeGivesTheSameSet(t *testing.T) {
	t.Parallel()
	const a, b = "6.1-a", "6.1-b"
	files := suse(t).And(alpine(t)).And(debian(deb{"x", "",
		"/lib/modules/" + a + "/1 /lib/modules/" + b + "/1 /usr/bin/bash", ""}, deb{"y", "",
		"/lib/modules/" + a + "/2 /lib/modules/" + b + "/2", ""})).And(
		tree.Empty("/lib/modules/"+a+"/1", "/lib/modules/"+a+"/2", "/lib/modules/"+b+"/1", "/lib/modules/"+b+"/2",
			"/lib/modules/"+a+"/m", "/lib/modules/"+b+"/m", "/boot/config-"+a+b))
	first, _ := detect(t, files, component.Options{})
	for range 10 {
		again, _ := detect(t, files, component.Options{})
		if diff := cmp.Diff(first, again); diff != "" {
			t.Fatalf("(-first +again):\n%s", diff)
		}
	}
}

func TestAContextThatIsDoneEndsIt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := component.Detect(ctx, tree.New(alpine(t)), component.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
