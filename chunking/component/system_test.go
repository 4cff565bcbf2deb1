package component_test

import (
	"fmt"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
)

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
