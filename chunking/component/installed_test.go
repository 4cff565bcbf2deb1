package component_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// systems is a tree with a database of each kind of package manager, in places that commits use, behind symlinks, and
// with much else besides.
func systems(t *testing.T) tree.Files {
	t.Helper()
	rpm, err := os.ReadFile("rpm/testdata/sle15-bci.ndb.gz")
	if err != nil {
		t.Fatal(err)
	}
	files := tree.Empty("/usr/bin/a", "/usr/lib/dpkg/methods/x", "/usr/share/doc/a/README")
	for p, f := range map[string]tree.File{
		"/lib": tree.Symlink("usr/lib"), "/var": tree.Symlink("usr/share/factory/var"),
		"/usr/share/factory/var/lib/dpkg":     tree.Symlink("/usr/share/dpkg/../dpkg/database"),
		"/usr/share/dpkg/database/status":     tree.Symlink("status.real"),
		"/usr/share/dpkg/database/status.old": tree.Text("Package: old\n"),
		"/usr/share/dpkg/database/status.real": tree.Text(
			"Package: hello\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.10-3\n\n" +
				"Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n"),
		"/usr/share/dpkg/database/info/hello.list": tree.Text("/usr/bin/hello\n"),
		"/usr/lib/apk/db/installed":                tree.Text("P:busybox\nV:1.36-r1\nA:x86_64\nF:bin\nR:busybox\n\n"),
		"/usr/etc/pacman.conf":                     tree.Text("[options]\nDBPath = /usr/db\n"),
		"/usr/db/local/pacman-6/desc":              tree.Text("%NAME%\npacman\n\n%VERSION%\n6-1\n\n%ARCH%\nany\n"),
		"/usr/db/local/pacman-6/files":             tree.Text("%FILES%\nusr/\nusr/bin/pacman\n"),
		"/usr/lib/opkg/status": tree.Text(
			"Package: uci\nStatus: install user installed\nArchitecture: mips\nVersion: 3\n\n"),
		"/usr/lib/opkg/info/uci.list":           tree.Text("/sbin/uci\n"),
		"/usr/lib/sysimage/rpm/Packages.db.rel": tree.Text(string(rpm[:10])),
		"/loop":                                 tree.Symlink("loop"), "/opt": tree.Symlink("/loop"),
	} {
		files[p] = f
	}
	return files
}

var wantInstalled = []component.Installed{
	{System: "alpm", Name: "pacman", Arch: "any", Version: "6-1"},
	{System: "apk", Name: "busybox", Arch: "x86_64", Version: "1.36-r1"},
	{System: "deb", Name: "hello", Arch: "amd64", Version: "2.10-3"},
	{System: "opkg", Name: "uci", Arch: "mips", Version: "3"},
}

func TestPackagesAreReadFromEachDatabase(t *testing.T) {
	t.Parallel()
	files := tree.New(systems(t))
	got, warnings, err := component.Packages(t.Context(), files)
	if diff := cmp.Diff(wantInstalled, got); diff != "" || err != nil || len(warnings) > 0 {
		t.Errorf("%v, warnings %q (-want +got):\n%s", err, warnings, diff)
	}
	set, err := component.Detect(t.Context(), files, component.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantInstalled, set.Installed); diff != "" {
		t.Errorf("found with the components (-want +got):\n%s", diff)
	}
}

// committed returns a commit of a tree.
func committed(t *testing.T, files rootfs.Tree) (*rootfs.Source, object.Checksum) {
	t.Helper()
	hashed, err := rootfs.Hash(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	src, err := rootfs.NewSource(hashed)
	if err != nil {
		t.Fatal(err)
	}
	commit, err := src.AddCommit(object.Commit{})
	if err != nil {
		t.Fatal(err)
	}
	return src, commit
}

func TestPackagesOfACommitAreReadFromItsDatabasesAlone(t *testing.T) {
	t.Parallel()
	src, commit := committed(t, tree.New(systems(t)))
	got, warnings, err := component.CommitPackages(t.Context(), src, commit)
	if diff := cmp.Diff(wantInstalled, got); diff != "" || err != nil || len(warnings) > 0 {
		t.Errorf("%v, warnings %q (-want +got):\n%s", err, warnings, diff)
	}
}

func TestABrokenDatabaseGivesItsPackagesAndAWarning(t *testing.T) {
	t.Parallel()
	src, commit := committed(t, tree.New(tree.Files{
		"/usr/lib/apk/db/installed": tree.Text("P:fine\nV:1\nF:bin\nR:fine\n\nP:bad\nV:2\nnonsense\n\n")}))
	got, warnings, err := component.CommitPackages(t.Context(), src, commit)
	if err != nil || len(got) != 1 || got[0].Name != "fine" {
		t.Errorf("the packages are %v, %v", got, err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "installed packages may be missing") {
		t.Errorf("warnings %q", warnings)
	}
}
