package alpm_test

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/alpm"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
)

// text is from the database of a real Arch Linux, which the tests of github.com/anchore/syft also have.
func text(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestARealPackage(t *testing.T) {
	t.Parallel()
	p, err := alpm.ParseDesc(text(t, "gmp.desc"))
	if err != nil {
		t.Fatal(err)
	}
	want := pkgdb.Package{Name: "gmp", Source: "gmp", Version: "6.2.1-2", Arch: "x86_64",
		Built: time.Unix(1653121258, 0).UTC()}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("desc (-want +got):\n%s", diff)
	}
	var got []string
	files := alpm.ParseFiles(text(t, "gmp.files"))
	for f := range files.All() {
		got = append(got, f.Path)
	}
	if diff := cmp.Diff([]string{
		"/usr/include/gmp.h", "/usr/include/gmpxx.h", "/usr/lib/libgmp.so", "/usr/lib/libgmp.so.10",
		"/usr/lib/libgmp.so.10.4.1", "/usr/lib/libgmpxx.so", "/usr/lib/libgmpxx.so.4",
		"/usr/lib/libgmpxx.so.4.6.1", "/usr/lib/pkgconfig/gmp.pc", "/usr/lib/pkgconfig/gmpxx.pc",
		"/usr/share/info/gmp.info-1.gz", "/usr/share/info/gmp.info-2.gz", "/usr/share/info/gmp.info.gz",
	}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestDescriptions(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		want pkgdb.Package
		err  error
	}{
		"of a split package": {"%NAME%\ngcc-libs\n\n%BASE%\ngcc\n",
			pkgdb.Package{Name: "gcc-libs", Source: "gcc"}, nil},
		"without base": {"%NAME%\nold\n", pkgdb.Package{Name: "old", Source: "old"}, nil},
		"without build date": {"%INSTALLDATE%\n5\n\n%NAME%\nx\n",
			pkgdb.Package{Name: "x", Source: "x", Built: time.Unix(5, 0).UTC()}, nil},
		"with both dates": {"%INSTALLDATE%\n5\n\n%NAME%\nx\n\n%BUILDDATE%\n3\n",
			pkgdb.Package{Name: "x", Source: "x", Built: time.Unix(3, 0).UTC()}, nil},
		"with a value like a section": {"%NAME%\nx\n\n%DESC%\n%NAME%\ny\n", pkgdb.Package{Name: "x", Source: "x"}, nil},
		"with sections that are not known": {"%NEW%\n1\n2\n\n%NAME%\nx\n\n%XDATA%\npkgtype=pkg\n",
			pkgdb.Package{Name: "x", Source: "x"}, nil},
		"empty":                    {"", pkgdb.Package{}, pkgdb.ErrBroken},
		"without name":             {"%VERSION%\n1\n", pkgdb.Package{}, pkgdb.ErrBroken},
		"with a slash in the name": {"%NAME%\na/b\n", pkgdb.Package{}, pkgdb.ErrBroken},
		"with a comma in the base": {"%NAME%\na\n\n%BASE%\na,b\n", pkgdb.Package{}, pkgdb.ErrBroken},
		"with a date that is none": {"%NAME%\na\n\n%BUILDDATE%\nnow\n", pkgdb.Package{}, pkgdb.ErrBroken},
	} {
		got, err := alpm.ParseDesc(test.text)
		if !errors.Is(err, test.err) {
			t.Errorf("%s: got %v, want %v", name, err, test.err)
		}
		if diff := cmp.Diff(test.want, got); test.err == nil && diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestOnlyFilesOfTheSectionCount(t *testing.T) {
	t.Parallel()
	got := alpm.ParseFiles("%FILES%\nusr/\nusr/bin/a\n../b\n\n%BACKUP%\netc/c\t0123\n\n%FILES%\nusr/with space")
	if diff := cmp.Diff([]pkgdb.File{{Path: "/usr/bin/a"}, {Path: "/b"}, {Path: "/usr/with space"}},
		slices.Collect(got.All())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := alpm.ParseFiles(""); got.Len() != 0 {
		t.Errorf("of nothing: %d files", got.Len())
	}
}

func TestPlacesOfTheDatabase(t *testing.T) {
	t.Parallel()
	gmp := func(dir string) tree.Files {
		return tree.Files{dir + "/local/gmp-6.2.1-2/desc": tree.Text(text(t, "gmp.desc")),
			dir + "/local/gmp-6.2.1-2/files": tree.Text(text(t, "gmp.files")), dir + "/local/ALPM_DB_VERSION": tree.Text("9\n")}
	}
	conf := func(name, text string) tree.Files { return tree.Files{name: tree.Text(text)} }
	const home = "/usr/lib/sysimage/lib/pacman"
	for name, test := range map[string]struct {
		files tree.Files
		want  error
	}{
		"usual": {gmp("/var/lib/pacman"), nil},
		"with comments only": {gmp("/var/lib/pacman").And(conf("/etc/pacman.conf", "[options]\n#DBPath = /x\n")),
			nil},
		"configured": {gmp(home).And(conf("/etc/pacman.conf",
			"[options]\n  DBPath=/x\nDBPath = "+home+"/\n[core]\nDBPath = /y\n")), nil},
		"configured in a commit": {gmp(home).And(conf("/usr/etc/pacman.conf", "[options]\nDBPath = "+home+"\n")), nil},
		"through a link": {gmp(home).And(tree.Files{
			"/var/lib/pacman": tree.Symlink("../../usr/lib/sysimage/lib/pacman")}), nil},
		"initial content of /var": {gmp("/usr/share/factory/var/lib/pacman"), nil},
		"a package without files": {tree.Files{"/var/lib/pacman/local/x-1/desc": tree.Text("%NAME%\nx\n")}, nil},
		"none":                    {tree.Files{"/usr/x": {}}, fs.ErrNotExist},
		"no packages":             {tree.Files{"/var/lib/pacman/local/ALPM_DB_VERSION": {}}, fs.ErrNotExist},
		"elsewhere than the settings": {gmp("/var/lib/pacman").And(conf("/etc/pacman.conf",
			"[options]\nDBPath = /elsewhere\n")), fs.ErrNotExist},
		"a package without description": {tree.Files{"/var/lib/pacman/local/x-1/files": tree.Text("%FILES%\n")},
			pkgdb.ErrBroken},
		"a broken description": {gmp("/var/lib/pacman").And(tree.Files{
			"/var/lib/pacman/local/x-1/desc": tree.Text("rubbish")}), pkgdb.ErrBroken},
		"too large": {gmp("/var/lib/pacman").And(tree.Files{"/var/lib/pacman/local/x-1/desc": {Size: 1 << 40}}),
			pkgdb.ErrTooLarge},
		"unreadable": {gmp("/var/lib/pacman").And(tree.Files{"/etc/pacman.conf": {Err: fs.ErrPermission}}),
			fs.ErrPermission},
	} {
		pkgs, err := alpm.Read(t.Context(), tree.Index(test.files))
		if !errors.Is(err, test.want) || (err == nil) != (len(pkgs) == 1) {
			t.Errorf("%s: %v, %v", name, pkgs, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(text(f, "gmp.desc"), text(f, "gmp.files"), "[options]\nDBPath = /var/lib/pacman\n")
	f.Add("%NAME%\nx\n%BASE%", "%FILES%\n../../x\n/\n\x00\n%%\n", "[options]\nDBPath=..\n")
	f.Fuzz(func(t *testing.T, desc, files, conf string) {
		if _, err := alpm.ParseDesc(desc); err != nil && !errors.Is(err, pkgdb.ErrBroken) {
			t.Fatal(err)
		}
		list := alpm.ParseFiles(files)
		for f := range list.All() {
			if !strings.HasPrefix(f.Path, "/") || strings.Contains(f.Path+"/", "/../") {
				t.Errorf("the path %q", f.Path)
			}
		}
		pkgs, err := alpm.Read(t.Context(), tree.Index(tree.Files{
			"/var/lib/pacman/local/x/desc": tree.Text(desc), "/var/lib/pacman/local/x/files": tree.Text(files),
			"/etc/pacman.conf": tree.Text(conf),
		}))
		if err == nil && len(pkgs) == 0 || err != nil && !errors.Is(err, pkgdb.ErrBroken) && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%v, %v", pkgs, err)
		}
	})
}
