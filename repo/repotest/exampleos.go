package repotest

import (
	"encoding/hex"
	"maps"
	"slices"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// These are the commits of upstream's own tests: the first, the same without being bootable, and an update of the first
// with another bash.
const (
	ExampleCommit     = "616069c200463abca9c1d3adc65b948f1f1d3ddd42bc2c8ea3308535a0e44c24"
	ExampleUnbootable = "606f5c538a10302610eb2428d318f9cfcb1d662051a59cb6c1ac8efc25e977f0"
	ExampleUpdate     = "6e6afc49d902daa2456c858818e0ad8bf9afe79cdcca738c5676c0e175c1def1"
)

// ExampleRef is the ref that upstream's tests give their commits.
const ExampleRef = "exampleos/x86_64/stable"

// ExampleFile is a file of upstream's tests and the package that it belongs to.
type ExampleFile struct {
	Path, Package string
	exec          bool
	content       string
	target        string
}

// ExampleFiles returns the files and symlinks of upstream's tests.
func ExampleFiles() []ExampleFile {
	const modules = "usr/lib/modules/5.10.18-200.x86_64/"
	return []ExampleFile{
		{Path: modules + "vmlinuz", Package: "kernel", content: "this-is-a-kernel"},
		{Path: modules + "initramfs", Package: "initramfs", content: "this-is-an-initramfs"},
		{Path: "usr/bin/bash", Package: "bash", exec: true, content: "the-bash-shell"},
		{Path: "usr/bin/sh", Package: "bash", target: "bash"},
		{Path: "usr/bin/arping", Package: "arping", exec: true, content: "arping-binary"},
		{Path: "usr/lib/emptyfile", Package: "bash"},
		{Path: "usr/lib64/emptyfile2", Package: "bash"},
		{Path: "usr/bin/hardlink-a", Package: "testlink", content: "testlink"},
		{Path: "usr/bin/hardlink-b", Package: "testlink", content: "testlink"},
		{Path: "usr/etc/someconfig.conf", Package: "someconfig", content: "someconfig"},
		{Path: "usr/etc/polkit.conf", Package: "a-polkit-config", content: "a-polkit-config"},
		{Path: "usr/lib/sysimage/pkgdb", Package: "pkgdb", content: "some-package-database"},
		{Path: "usr/lib/pkgdb/pkgdb", Package: "pkgdb", content: "some-package-database"},
		{Path: "opt", Package: "filesystem", target: "var/opt"},
	}
}

// ExampleTree returns the tree of upstream's tests.
func ExampleTree() []Entry {
	b := builder{byPath: map[string]*Entry{}}
	for _, f := range ExampleFiles() {
		content := hex.EncodeToString([]byte(f.content))
		e := listEntry{Type: "file", Path: f.Path, Mode: 0o644, Content: listContent{Hex: &content}}
		if f.exec {
			e.Mode = 0o755
		}
		if f.target != "" {
			e.Type, e.Target = "symlink", f.target
		}
		b.add(e)
	}
	for _, d := range []string{"boot", "run", "tmp"} {
		b.add(listEntry{Type: "dir", Path: d, Mode: 0o755})
	}
	for e := range maps.Values(b.byPath) {
		kind := "usr_t"
		if e.Path == "boot" {
			kind = "boot_t"
		}
		e.Xattrs = object.Xattrs{{Name: "security.selinux", Value: []byte("system_u:object_r:" + kind + ":s0")}}
	}
	// Upstream's tests do not decode the value either.
	arping := b.byPath["usr/bin/arping"]
	arping.Xattrs = append(object.Xattrs{{Name: "security.capability", Value: []byte("0sAAAAAgAgAAAAAAAAAAAAAAAAAAA=")}},
		arping.Xattrs...)
	return b.sorted()
}

// CommitExample stores one of the commits of upstream's tests, given its id, without detached metadata, and sets
// [ExampleRef]. The parent of an update is not stored.
func CommitExample(t testing.TB, r *repo.Repo, want string) object.Checksum {
	t.Helper()
	c := &object.Commit{
		Timestamp: 872879442,
		Metadata: gvariant.Dict{
			{Key: "buildsys.checksum", Value: gvariant.String(buildsysChecksum)},
			{Key: "ostree.container-cmd", Value: gvariant.Strings([]string{"/usr/bin/bash"})},
			{Key: "version", Value: gvariant.String("42.0")},
			{Key: "ostree.bootable", Value: gvariant.Bool(true)},
		},
	}
	tree := ExampleTree()
	switch want {
	case ExampleUnbootable:
		c.Metadata = c.Metadata[:3]
	case ExampleUpdate:
		parent, err := object.ParseChecksum(ExampleCommit)
		if err != nil {
			t.Fatal(err)
		}
		c.Parent = parent
		c.Timestamp += 24 * 60 * 60
		bash := &tree[slices.IndexFunc(tree, func(e Entry) bool { return e.Path == "usr/bin/bash" })]
		bash.Mode, bash.Content = object.ModeRegular|0o644, []byte("bash-v0")
	}
	id := commit(t, r, tree, ExampleRef, c, nil)
	if id.String() != want {
		t.Fatalf("the commit of upstream's tests is %s, want %s", id, want)
	}
	return id
}
