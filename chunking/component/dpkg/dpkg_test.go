package dpkg_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/dpkg"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
)

func testdata(t testing.TB, name string) tree.File {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return tree.Text(string(data))
}

func read(t *testing.T, files tree.Files) []pkgdb.Package {
	t.Helper()
	db, err := dpkg.Read(t.Context(), tree.Index(files))
	if err != nil {
		t.Fatal(err)
	}
	return db.Packages
}

// faults returns the faults of a database, one per line, or "<nil>".
func faults(t *testing.T, files tree.Files) string {
	t.Helper()
	db, err := dpkg.Read(t.Context(), tree.Index(files))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(errors.Join(db.Faults...))
}

func paths(p pkgdb.Package) []string {
	var list []string
	for f := range p.Files.All() {
		list = append(list, f.Path)
	}
	return list
}

// bookworm is a part of a real Debian 12. (The paragraph of libsqlite3-0 is from an image without a package manager,
// which the tests of github.com/anchore/syft have.)
func bookworm(t testing.TB) tree.Files {
	return tree.Files{
		"/var/lib/dpkg/status": testdata(t, "status"), "/var/lib/dpkg/diversions": testdata(t, "diversions"),
		"/var/lib/dpkg/info/dash.list":                        testdata(t, "dash.list"),
		"/var/lib/dpkg/info/libcap2:amd64.list":               testdata(t, "libcap2_amd64.list"),
		"/var/lib/dpkg/info/linux-image-amd64.list":           testdata(t, "linux-image-amd64.list"),
		"/usr/share/doc/libcap2/changelog.Debian.gz":          testdata(t, "changelog.Debian.gz"),
		"/usr/share/doc/libcap2/changelog.Debian.amd64.gz":    testdata(t, "changelog.Debian.amd64.gz"),
		"/usr/share/doc/linux-image-amd64":                    tree.Symlink("linux-image-6.1.0-56-amd64"),
		"/usr/share/doc/linux-image-6.1.0-56-amd64/changelog": tree.Text(" -- A <a@b.c>  Mon, 02 Jan 2023 01:00:00 +0000\n"),
		"/bin": tree.Symlink("usr/bin"),
	}
}

func TestTheDatabaseOfARealSystem(t *testing.T) {
	t.Parallel()
	pkgs := read(t, bookworm(t))
	want := []pkgdb.Package{
		{Name: "dash", Source: "dash", Version: "0.5.12-2", Arch: "amd64"},
		{Name: "libcap2", Source: "libcap2", Version: "1:2.66-4+deb12u3+b1", Arch: "amd64",
			Built: time.Date(2026, 5, 7, 21, 10, 44, 0, time.UTC)},
		{Name: "linux-image-amd64", Source: "linux-signed-amd64", Version: "6.1.192-2", Arch: "amd64",
			Built: time.Date(2023, 1, 2, 1, 0, 0, 0, time.UTC)},
	}
	if diff := cmp.Diff(want, pkgs, cmpopts.IgnoreFields(pkgdb.Package{}, "Files", "Changes")); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if n := len(pkgs[1].Changes); n != 21 {
		t.Errorf("%d changes, want the 20 of the source and the one of the rebuild", n)
	}
	if got := paths(pkgs[1]); len(got) != 14 || got[2] != "/lib/x86_64-linux-gnu/libcap.so.2.66" {
		t.Errorf("files of libcap2: %q", got)
	}
	// Here dash diverts /bin/sh.
	if got := strings.Join(paths(pkgs[0]), " "); !strings.Contains(got, " /bin/sh ") || strings.Contains(got, "distrib") {
		t.Errorf("files of dash: %s", got)
	}
}

func TestADivertedFileOfAnotherPackageHasItsNewPath(t *testing.T) {
	t.Parallel()
	files := bookworm(t)
	files["/var/lib/dpkg/status"] = tree.Text(
		"Package: mksh\nStatus: install ok installed\n\nPackage: merged\nStatus: install ok installed\n\n",
	)
	files["/var/lib/dpkg/info/mksh.list"] = tree.Text("/.\n/bin\n/bin/mksh\n/bin/sh\n")
	files["/var/lib/dpkg/info/merged.list"] = tree.Text("/usr/bin/sh\n/usr/share/sh\n")
	pkgs := read(t, files)
	if diff := cmp.Diff([]string{"/bin/sh.distrib", "/usr/share/sh"}, paths(pkgs[0])); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/bin", "/bin/mksh", "/bin/sh.distrib"}, paths(pkgs[1])); diff != "" {
		t.Errorf("mksh (-want +got):\n%s", diff)
	}
}

func TestOnlyUnpackedPackagesCount(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]bool{
		"install ok installed": true, "hold ok installed": true, "install ok triggers-awaited": true,
		"install ok triggers-pending": true, "install ok unpacked": true,
		"install ok half-configured": true, "deinstall ok config-files": false, "install ok half-installed": false,
		"purge ok not-installed": false, "installed": false, "": false,
	} {
		pkgs := read(t, tree.Files{"/var/lib/dpkg/status": tree.Text("Package: x\nStatus: " + state + "\n\n"),
			"/var/lib/dpkg/info/x.list": tree.Text("/x\n")})
		if got := len(pkgs) == 1; got != want {
			t.Errorf("%q: %v", state, got)
		}
	}
}

func TestListsOfSeveralArchitectures(t *testing.T) {
	t.Parallel()
	pkgs := read(t, tree.Files{
		"/var/lib/dpkg/status": tree.Text(
			"Package: libc6\nStatus: install ok installed\nArchitecture: i386\nSource: glibc\n\n\n" +
				"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc (2.36-9)\n\n",
		),
		"/var/lib/dpkg/info/libc6:i386.list":  tree.Text("/lib/i386\n"),
		"/var/lib/dpkg/info/libc6:amd64.list": tree.Text("/lib/amd64\n\nrelative\n/usr/../lib//x/\n/last"),
	})
	want := []pkgdb.Package{
		{Name: "libc6", Source: "glibc", Arch: "amd64",
			Files: pkgdb.FilesOf(pkgdb.File{Path: "/lib/amd64"}, pkgdb.File{Path: "/lib/x"}, pkgdb.File{Path: "/last"})},
		{Name: "libc6", Source: "glibc", Arch: "i386", Files: pkgdb.FilesOf(pkgdb.File{Path: "/lib/i386"})},
	}
	if diff := cmp.Diff(want, pkgs); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestImagesWithoutPackageManagerHaveOneParagraphPerPackage(t *testing.T) {
	t.Parallel()
	want := []string{
		"/usr/lib/aarch64-linux-gnu/libsqlite3.so.0.8.6", "/usr/share/doc/libsqlite3-0/README.Debian",
		"/usr/share/doc/libsqlite3-0/changelog.Debian.gz",
		"/usr/share/doc/libsqlite3-0/changelog.gz", "/usr/share/doc/libsqlite3-0/changelog.html.gz",
		"/usr/share/doc/libsqlite3-0/copyright",
	}
	for _, dir := range []string{"/var/lib/dpkg", "/usr/lib/dpkg", "/usr/share/factory/var/lib/dpkg"} {
		files := tree.Files{
			dir + "/status.d/libsqlite3-0":         testdata(t, "libsqlite3-0"),
			dir + "/status.d/libsqlite3-0.md5sums": testdata(t, "libsqlite3-0.md5sums"),
			dir + "/status.d/libsqlite3-0.preinst": tree.Text("#!/bin/sh\nexit 0\n"),
			dir + "/status.d/sub/x":                tree.Text("no colon"), dir + "/status.d/link": tree.Symlink("libsqlite3-0"),
			dir + "/status.d/tzdata": tree.Text("Package: tzdata\nVersion: 1\n"),
		}
		pkgs := read(t, files)
		if len(pkgs) != 2 || pkgs[0].Source != "sqlite3" || pkgs[1].Name != "tzdata" {
			t.Fatalf("%s: %+v", dir, pkgs)
		}
		if diff := cmp.Diff(want, paths(pkgs[0])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", dir, diff)
		}
	}
	both := read(t, tree.Files{
		"/var/lib/dpkg/status":             tree.Text("Package: a\nStatus: install ok installed\n\n"),
		"/var/lib/dpkg/status.d/b":         tree.Text("Package: b\n"),
		"/var/lib/dpkg/status.d/b.md5sums": tree.Text("d41d8cd98f00b204e9800998ecf8427e  ./usr/b\nnonsense\n"),
	})
	if len(both) != 2 || !cmp.Equal(paths(both[1]), []string{"/usr/b"}) {
		t.Errorf("both forms: %+v", both)
	}
}

// installed returns a status file with the given packages.
func installed(names ...string) tree.File {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "Package: %s\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n", name)
	}
	return tree.Text(b.String())
}

func TestAFaultIsReportedWithItsPlaceAndTheRestIsRead(t *testing.T) {
	t.Parallel()
	const status, list = "/var/lib/dpkg/status", "/var/lib/dpkg/info/a.list"
	good := installed("a").Content
	for name, test := range map[string]struct {
		files tree.Files
		want  string // in the fault; the package a is read
	}{
		"a line without colon": {tree.Files{status: tree.Text("Package: b\nrubbish\n\n" + good)}, status + ":2: "},
		"no name": {
			tree.Files{status: tree.Text("Status: install ok installed\n\n" + good)},
			status + ":1: ",
		},
		"a name with a slash": {
			tree.Files{status: tree.Text(good + "Package: ../x\nStatus: install ok installed\n\n")},
			status + ":6: ",
		},
		"two paragraphs without a space": {
			tree.Files{status: tree.Text(good + "Package: b\nStatus: install ok installed\nPackage: c\n\n")},
			status + ":8: ",
		},
		"cut within a line": {tree.Files{status: tree.Text(good + "Package: b")}, status + ":6: "},
		"cut within a continued line": {
			tree.Files{status: tree.Text(good + strings.TrimSuffix(good, "\n") + "Description: b\n mo")},
			status + ":11: ",
		},
		"cut within a paragraph": {
			tree.Files{status: tree.Text(good + "Package: b\nStatus: install ok installed\n")},
			status + ":7: ",
		},
		"cut between paragraphs": {
			tree.Files{status: tree.Text(good), "/var/lib/dpkg/info/b.list": tree.Text("/b\n")},
			status + ": there are lists of files of packages that it lacks, b",
		},
		"zeros at the end": {
			tree.Files{status: tree.Text(good + strings.Repeat("\x00", 4096))},
			status + ":6: ",
		},
		"zeros in the middle": {
			tree.Files{status: tree.Text("Package: b\n\x00\x00\x00\n\n" + good)},
			status + ":2: ",
		},
		"a list that was cut":       {tree.Files{status: tree.Text(good), list: tree.Text("/a\n/usr/b")}, list + ": "},
		"a list with an empty line": {tree.Files{status: tree.Text(good), list: tree.Text("/a\n\n")}, list + ":2: "},
		"a list of zeros": {
			tree.Files{status: tree.Text(good), list: tree.Text("/a\n\x00\x00")},
			list + ":2: 2 zero bytes",
		},
		"a list of other things": {
			tree.Files{status: tree.Text(good), list: tree.Text("/a\nusr\n")},
			list + `:2: "usr"`,
		},
		"a list that is a directory": {
			tree.Files{status: tree.Text(good), list: {Dir: true}},
			list + " is not a regular file",
		},
		"a list that is missing": {
			tree.Files{status: tree.Text(good)}.And(tree.Files{list: tree.Symlink("/nowhere")}),
			"list of files of a",
		},
		"a list that is empty": {tree.Files{status: tree.Text(good), list: {}}, "list of files of a"},
		"a diversion that was cut": {
			tree.Files{status: tree.Text(good), "/var/lib/dpkg/diversions": tree.Text("/a\n/b\n")},
			"/var/lib/dpkg/diversions: ",
		},
		"lists without a status": {
			tree.Files{"/usr/share/dpkg/database/info/b.list": tree.Text("/b\n"), status: tree.Text(good)},
			"",
		},
		"a broken paragraph in status.d": {
			tree.Files{status: tree.Text(good), "/var/lib/dpkg/status.d/b": tree.Text("Package\n")},
			"/var/lib/dpkg/status.d/b:1: ",
		},
		"no sums in status.d": {
			tree.Files{status: tree.Text(good), "/var/lib/dpkg/status.d/b": tree.Text("Package: b\n")},
			"no list of files of b",
		},
		"an intact database after it": {
			tree.Files{
				"/var/lib/dpkg/status":                 {Dir: true},
				"/usr/share/dpkg/database/status":      tree.Text(good),
				"/usr/share/dpkg/database/info/a.list": tree.Text("/a\n"),
			},
			status + " is not a regular file",
		},
		"an intact database after a loop": {
			tree.Files{
				"/var/lib/dpkg/status":                 tree.Symlink("status"),
				"/usr/share/dpkg/database/status":      tree.Text(good),
				"/usr/share/dpkg/database/info/a.list": tree.Text("/a\n"),
			},
			status,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := tree.Files{list: tree.Text("/a\n")}.And(test.files)
			if _, moved := files["/usr/share/dpkg/database/status"]; moved {
				delete(files, list)
			}
			got := faults(t, files)
			if !strings.Contains(got, test.want) || test.want == "" != (got == "<nil>") {
				t.Errorf("got %s, want %s", got, test.want)
			}
			names := []string{}
			for _, p := range read(t, files) {
				names = append(names, p.Name)
			}
			if len(names) == 0 || names[0] != "a" {
				t.Errorf("packages %q", names)
			}
		})
	}
}

func TestTheJournalCountsMoreThanTheStatus(t *testing.T) {
	t.Parallel()
	state := func(name, version, state string) string {
		return "Package: " + name + "\nStatus: install ok " + state + "\nArchitecture: all\nVersion: " + version + "\n"
	}
	const home = "/var/lib/dpkg/"
	files := tree.Files{
		home + "status":        tree.Text(state("a", "1", "installed") + "\n" + state("gone", "1", "installed") + "\n"),
		home + "updates/0000":  tree.Text(state("a", "2", "unpacked")),
		home + "updates/0001":  tree.Text(state("gone", "1", "config-files")),
		home + "updates/0002":  tree.Text(state("new", "1", "half-configured")),
		home + "updates/0003":  tree.Text(state("a", "3", "installed")),
		home + "updates/tmp.i": tree.Text("#padding\n"),
	}
	for _, name := range []string{"a", "new"} {
		files[home+"info/"+name+".list"] = tree.Text("/usr/bin/" + name + "\n")
	}
	if got := faults(t, files); got != "<nil>" {
		t.Error(got)
	}
	got := []string{}
	for _, p := range read(t, files) {
		got = append(got, p.Name+" "+p.Version)
	}
	if want := []string{"a 3", "new 1"}; !slices.Equal(got, want) {
		t.Errorf("packages %q, want %q", got, want)
	}
}

func TestADatabaseWithoutPackagesIsAFault(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files tree.Files
		want  error
	}{
		"a directory": {tree.Files{"/var/lib/dpkg/status": {Dir: true}}, pkgdb.ErrBroken},
		"a loop":      {tree.Files{"/var/lib/dpkg/status": tree.Symlink("status")}, pkgdb.ErrBroken},
		"empty":       {tree.Files{"/var/lib/dpkg/status": {}}, pkgdb.ErrBroken},
		"empty, with lists": {
			tree.Files{"/var/lib/dpkg/status": {}, "/var/lib/dpkg/info/x.list": tree.Text("/x\n")},
			pkgdb.ErrBroken,
		},
		"lists only":      {tree.Files{"/var/lib/dpkg/info/x.list": tree.Text("/x\n")}, pkgdb.ErrBroken},
		"an endless line": {tree.Files{"/var/lib/dpkg/status": {Content: "Package: ", Size: 20 << 20}}, pkgdb.ErrBroken},
		"too large":       {tree.Files{"/var/lib/dpkg/status": {Size: 1 << 40}}, pkgdb.ErrTooLarge},
		"a list that is too large": {
			tree.Files{"/var/lib/dpkg/status": installed("x"), "/var/lib/dpkg/info/x.list": {Size: 1 << 40}},
			pkgdb.ErrTooLarge,
		},
		"too many packages": {
			tree.Files{
				"/var/lib/dpkg/status": tree.Text(strings.Repeat("Package: x\nStatus: install ok installed\n\n", 200_001)),
			},
			pkgdb.ErrTooLarge,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := dpkg.Read(t.Context(), tree.Index(test.files))
			if err != nil {
				t.Fatal(err)
			}
			if !errors.Is(errors.Join(db.Faults...), test.want) || len(db.Packages) > 0 {
				t.Errorf("%d packages, faults %v, want %v", len(db.Packages), db.Faults, test.want)
			}
		})
	}
}

func TestErrorsOfReading(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files tree.Files
		want  error
	}{
		"nothing":            {tree.Files{"/usr/bin/x": {}}, fs.ErrNotExist},
		"status.d is a file": {tree.Files{"/var/lib/dpkg/status.d": {}}, fs.ErrNotExist},
		"unreadable":         {tree.Files{"/var/lib/dpkg/status": {Err: fs.ErrPermission, Size: 1}}, fs.ErrPermission},
		"an unreadable history": {
			tree.Files{"/var/lib/dpkg/status": installed("x"), "/usr/share/doc/x/changelog.gz": {Err: fs.ErrPermission}},
			fs.ErrPermission,
		},
	} {
		if _, err := dpkg.Read(t.Context(), tree.Index(test.files)); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

func TestAnIntactDatabaseHasNoFaults(t *testing.T) {
	t.Parallel()
	if got := faults(t, bookworm(t)); got != "<nil>" {
		t.Error(got)
	}
}

func TestTheDatabaseOfACommitIsFoundWhereBuildersMoveIt(t *testing.T) {
	t.Parallel()
	for _, home := range []string{"/usr/share/dpkg/database", "/usr/lib/sysimage/dpkg", "/usr/lib/sysimage/lib/dpkg"} {
		files := tree.Files{
			home + "/status":      installed("x"),
			home + "/info/x.list": tree.Text("/.\n/x\n"),
			home + "/diversions":  tree.Text("/x\n/y\n:\n"),
			"/var/lib/dpkg":       {Dir: true},
		}
		if pkgs := read(t, files); len(pkgs) != 1 || !cmp.Equal(paths(pkgs[0]), []string{"/y"}) {
			t.Errorf("%s: %+v", home, pkgs)
		}
		if got := faults(t, files); got != "<nil>" {
			t.Error(got)
		}
	}
}

func TestSumsStandInForListsThatWereRemoved(t *testing.T) {
	t.Parallel()
	const info = "/var/lib/dpkg/info/"
	files := tree.Files{
		"/var/lib/dpkg/status": installed("a", "b"),
		info + "a.md5sums":     tree.Text("d41d8cd98f00b204e9800998ecf8427e  usr/bin/a\n"),
		info + "a.conffiles":   tree.Text("/etc/a\nremove-on-upgrade /etc/old\n"),
		info + "b:all.md5sums": tree.Text("d41d8cd98f00b204e9800998ecf8427e  usr/bin/b\n"),
	}
	pkgs := read(t, files)
	want := [][]string{{"/usr/bin/a", "/etc/a", "/etc/old"}, {"/usr/bin/b"}}
	if diff := cmp.Diff(want, [][]string{paths(pkgs[0]), paths(pkgs[1])}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := faults(t, files); !strings.Contains(got, "a and 1 more") {
		t.Error(got)
	}
}

func TestEntriesOfRemovedPackagesDoNotCount(t *testing.T) {
	t.Parallel()
	files := tree.Files{
		"/var/lib/dpkg/status":             tree.Text("Package: a\nStatus: deinstall ok config-files\nVersion: 1\n\n"),
		"/var/lib/dpkg/info/a.list":        tree.Text("/etc/a\n"),
		"/var/lib/dpkg/status.d/a":         tree.Text("Package: a\nVersion: 1\n"),
		"/var/lib/dpkg/status.d/a.md5sums": tree.Text("d41d8cd98f00b204e9800998ecf8427e  usr/bin/a\n"),
		"/var/lib/dpkg/status.d/b":         tree.Text("Package: b\nStatus: deinstall ok config-files\nVersion: 1\n"),
	}
	if pkgs, got := read(t, files), faults(t, files); len(pkgs) != 0 || got != "<nil>" {
		t.Errorf("%+v, %s", pkgs, got)
	}
}

// FuzzRead checks that a database with any content is read, and that each fault wraps a documented error.
func FuzzRead(f *testing.F) {
	files := bookworm(f)
	f.Add(files["/var/lib/dpkg/status"].Content, files["/var/lib/dpkg/info/dash.list"].Content,
		files["/var/lib/dpkg/diversions"].Content, files["/usr/share/doc/libcap2/changelog.Debian.gz"].Content)
	f.Add(testdata(f, "libsqlite3-0").Content, testdata(f, "libsqlite3-0.md5sums").Content, ":\n:\n:", "")
	f.Add("Package: dash\nStatus: install ok installed\n continued\n\tmore\n\n\n:\n", "/.\n//\n/../..\n", "/bin/sh\n\n\n",
		" -- A <a>  1 Feb 2024 22:30:00 -0500\n")
	f.Fuzz(func(t *testing.T, status, list, diversions, changelog string) {
		for _, files := range []tree.Files{
			{"/var/lib/dpkg/status": tree.Text(status), "/var/lib/dpkg/info/dash.list": tree.Text(list),
				"/var/lib/dpkg/diversions": tree.Text(diversions), "/usr/share/doc/dash/changelog": tree.Text(changelog)},
			{"/var/lib/dpkg/status.d/dash": tree.Text(status), "/var/lib/dpkg/status.d/dash.md5sums": tree.Text(list)},
		} {
			db, err := dpkg.Read(t.Context(), tree.Index(files))
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range db.Faults {
				if !errors.Is(err, pkgdb.ErrBroken) && !errors.Is(err, pkgdb.ErrTooLarge) {
					t.Error(err)
				}
			}
			for _, p := range db.Packages {
				if p.Name == "" || p.Source == "" {
					t.Errorf("%+v", p)
				}
				for f := range p.Files.All() {
					if !strings.HasPrefix(f.Path, "/") || strings.Contains(f.Path+"/", "/../") {
						t.Errorf("%s: the path %q", p.Name, f.Path)
					}
				}
			}
		}
	})
}
