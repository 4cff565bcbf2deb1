package tarfmt_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// These are the commit of upstream's own tests and its checksum.
const exampleCommit = "616069c200463abca9c1d3adc65b948f1f1d3ddd42bc2c8ea3308535a0e44c24"

func sortedKeys[M ~map[string]V, V any](m M) []string { return slices.Sorted(maps.Keys(m)) }

func label(kind string) object.Xattrs {
	return object.Xattrs{{Name: "security.selinux", Value: []byte("system_u:object_r:" + kind + ":s0")}}
}

// exampleOS builds the fixture of upstream's tests.
func exampleOS(tb testing.TB) (*memSource, object.Checksum) {
	tb.Helper()
	file := func(path, data string) node { return node{path: path, mode: 0o644, data: data, xattrs: label("usr_t")} }
	exec := func(path, data string) node { n := file(path, data); n.mode = 0o755; return n }
	dir := func(path, kind string) node {
		return node{path: path, mode: object.ModeDir | 0o755, xattrs: label(kind)}
	}
	link := func(path, target string) node { return node{path: path, target: target, xattrs: label("usr_t")} }
	arping := exec("usr/bin/arping", "arping-binary")
	arping.xattrs = object.NewXattrs(append(slices.Clone(arping.xattrs),
		object.Xattr{Name: "security.capability", Value: []byte("0sAAAAAgAgAAAAAAAAAAAAAAAAAAA=")}))
	nodes := []node{
		file("usr/lib/modules/5.10.18-200.x86_64/vmlinuz", "this-is-a-kernel"),
		file("usr/lib/modules/5.10.18-200.x86_64/initramfs", "this-is-an-initramfs"),
		exec("usr/bin/bash", "the-bash-shell"), link("usr/bin/sh", "bash"), arping,
		file("usr/lib/emptyfile", ""), file("usr/lib64/emptyfile2", ""),
		file("usr/bin/hardlink-a", "testlink"), file("usr/bin/hardlink-b", "testlink"),
		file("usr/etc/someconfig.conf", "someconfig"), file("usr/etc/polkit.conf", "a-polkit-config"),
		file("usr/lib/sysimage/pkgdb", "some-package-database"), file("usr/lib/pkgdb/pkgdb", "some-package-database"),
		link("opt", "var/opt"), dir("boot", "boot_t"), dir("run", "usr_t"), dir("tmp", "usr_t"),
	}
	m := newMemSource()
	commit := m.addCommit(tb, object.Commit{
		Timestamp: 872879442,
		Metadata: gvariant.Dict{
			{Key: "buildsys.checksum",
				Value: gvariant.String("41af286dc0b172ed2f1ca934fd2278de4a1192302ffa07087cea2682e7d372e3")},
			{Key: "ostree.container-cmd", Value: gvariant.Strings([]string{"/usr/bin/bash"})},
			{Key: "version", Value: gvariant.String("42.0")},
			{Key: "ostree.bootable", Value: gvariant.Bool(true)},
		},
	}, object.DirMeta{Mode: object.ModeDir | 0o755, Xattrs: label("usr_t")}, nodes)
	if got := commit.String(); got != exampleCommit {
		tb.Fatalf("the fixture's commit is %s, want %s", got, exampleCommit)
	}
	return m, commit
}

// attachNote adds the detached metadata of the vectors to the commit.
func attachNote(m *memSource, commit object.Checksum) {
	d := gvariant.Dict{{Key: "my-detached-key", Value: gvariant.String("my-detached-value")}}
	m.metadata[object.Name{Checksum: commit, Type: object.TypeCommitMeta}] = d.Encode()
}
