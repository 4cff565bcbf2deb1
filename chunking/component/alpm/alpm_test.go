package alpm_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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

// read reads a database with a valid package and one that has the given desc and list of files. Either may be nil.
func read(t testing.TB, desc, files *string) *pkgdb.Database {
	t.Helper()
	const local = "/var/lib/pacman/local/"
	all := tree.Files{local + "zzz-1-1/desc": tree.Text("%NAME%\nzzz\n\n"), local + "zzz-1-1/files": {}}
	if desc != nil {
		all[local+"x-1/desc"] = tree.Text(*desc)
	}
	if files != nil {
		all[local+"x-1/files"] = tree.Text(*files)
	}
	db, err := alpm.Read(t.Context(), tree.Index(all))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(db.Packages); n == 0 || db.Packages[n-1].Name != "zzz" {
		t.Errorf("packages %+v, want the valid one", db.Packages)
	}
	return db
}

func paths(p pkgdb.Package) (list []string) {
	for f := range p.Files.All() {
		list = append(list, f.Path)
	}
	return list
}

func TestARealPackage(t *testing.T) {
	t.Parallel()
	desc, files := text(t, "gmp.desc")+"\n", text(t, "gmp.files")
	db := read(t, &desc, &files)
	want := pkgdb.Package{
		Name:    "gmp",
		Source:  "gmp",
		Version: "6.2.1-2",
		Arch:    "x86_64",
		Built:   time.Unix(1653121258, 0).UTC(),
	}
	diff := cmp.Diff(want, db.Packages[0], cmpopts.IgnoreFields(pkgdb.Package{}, "Files"))
	if diff != "" || len(db.Faults) > 0 {
		t.Errorf("faults %v, desc (-want +got):\n%s", db.Faults, diff)
	}
	if diff := cmp.Diff([]string{
		"/usr/include/gmp.h",
		"/usr/include/gmpxx.h",
		"/usr/lib/libgmp.so",
		"/usr/lib/libgmp.so.10",
		"/usr/lib/libgmp.so.10.4.1",
		"/usr/lib/libgmpxx.so",
		"/usr/lib/libgmpxx.so.4",
		"/usr/lib/libgmpxx.so.4.6.1",
		"/usr/lib/pkgconfig/gmp.pc",
		"/usr/lib/pkgconfig/gmpxx.pc",
		"/usr/share/info/gmp.info-1.gz",
		"/usr/share/info/gmp.info-2.gz",
		"/usr/share/info/gmp.info.gz",
	}, paths(db.Packages[0])); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestDescriptions(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		want pkgdb.Package
	}{
		"of a split package": {
			"%NAME%\ngcc-libs\n\n%BASE%\ngcc\n",
			pkgdb.Package{Name: "gcc-libs", Source: "gcc"},
		},
		"without base": {"%NAME%\nold\n", pkgdb.Package{Name: "old", Source: "old"}},
		"without build date": {
			"%INSTALLDATE%\n5\n\n%NAME%\nx\n",
			pkgdb.Package{Name: "x", Source: "x", Built: time.Unix(5, 0).UTC()},
		},
		"with both dates": {
			"%INSTALLDATE%\n5\n\n%NAME%\nx\n\n%BUILDDATE%\n3\n",
			pkgdb.Package{Name: "x", Source: "x", Built: time.Unix(3, 0).UTC()},
		},
		"with a value like a section": {"%NAME%\nx\n\n%DESC%\n%NAME%\ny\n", pkgdb.Package{Name: "x", Source: "x"}},
		"with sections that are not known": {
			"%NEW%\n1\n2\n\n%NAME%\nx\n\n%XDATA%\npkgtype=pkg\n",
			pkgdb.Package{Name: "x", Source: "x"},
		},
	} {
		none := ""
		db := read(t, &test.text, &none)
		if diff := cmp.Diff(test.want, db.Packages[0]); diff != "" || len(db.Faults) > 0 {
			t.Errorf("%s: faults %v (-want +got):\n%s", name, db.Faults, diff)
		}
	}
}

func TestABrokenPackageIsLeftOutAndItsFileIsReported(t *testing.T) {
	t.Parallel()
	some := func(s string) *string { return &s }
	good, none := "%NAME%\nx\n\n", ""
	for name, test := range map[string]struct {
		desc, files *string
		want        string
	}{
		"nothing at all":              {nil, some("%FILES%\n"), "x-1/desc is missing"},
		"an empty description":        {some(""), &none, "x-1/desc has no name"},
		"no name":                     {some("%VERSION%\n1\n"), &none, "x-1/desc has no name"},
		"a name with a slash":         {some("%NAME%\na/b\n"), &none, "x-1/desc: "},
		"a base with a comma":         {some("%NAME%\na\n\n%BASE%\na,b\n"), &none, "x-1/desc: "},
		"a date that is not a number": {some("%NAME%\na\n\n%BUILDDATE%\nnow\n"), &none, "x-1/desc:5: "},
		"a description of rubbish":    {some("rubbish\n"), &none, "x-1/desc:1: "},
		"a description of zeros":      {some("\x00\x00\x00\x00"), &none, "x-1/desc:1: 4 zero bytes"},
		"a description that was cut":  {some("%NAME%\nx\n\n%BASE"), &none, "x-1/desc"},
		"no list":                     {&good, nil, "x-1 has no list of files"},
		"a list of rubbish":           {&good, some("usr/bin/x\n"), "x-1/files:1: "},
		"a list of zeros":             {&good, some("%FILES%\nusr/x\n\x00\x00"), "x-1/files:3: "},
		"a list that was cut":         {&good, some("%FILES%\nusr/x\nusr/"), "x-1/files: "},
	} {
		db := read(t, test.desc, test.files)
		got := fmt.Sprint(errors.Join(db.Faults...))
		if len(db.Faults) != 1 || !errors.Is(db.Faults[0], pkgdb.ErrBroken) ||
			!strings.Contains(strings.ReplaceAll(got, "the line ", ""), test.want) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestOnlyFilesOfTheSectionCount(t *testing.T) {
	t.Parallel()
	desc, files := "%NAME%\nx\n\n", "%FILES%\nusr/\nusr/bin/a\n../b\n\n%BACKUP%\netc/c\t0123\n\n%FILES%\nusr/with space\n"
	db := read(t, &desc, &files)
	if diff := cmp.Diff([]string{"/usr/bin/a", "/b", "/usr/with space"}, paths(db.Packages[0])); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPlacesOfTheDatabase(t *testing.T) {
	t.Parallel()
	gmp := func(dir string) tree.Files {
		return tree.Files{dir + "/local/gmp-6.2.1-2/desc": tree.Text(text(t, "gmp.desc")),
			dir + "/local/gmp-6.2.1-2/files": tree.Text(text(t, "gmp.files")), dir + "/local/ALPM_DB_VERSION": tree.Text("9\n")}
	}
	conf := func(name, text string) tree.Files { return tree.Files{name: tree.Text(text)} }
	const home, other = "/usr/lib/sysimage/lib/pacman", "/opt/pacman"
	for name, test := range map[string]struct {
		files  tree.Files
		faults int
	}{
		"usual":              {gmp("/var/lib/pacman"), 0},
		"with comments only": {gmp("/var/lib/pacman").And(conf("/etc/pacman.conf", "[options]\n#DBPath = /x\n")), 0},
		"configured": {
			gmp(other).And(conf("/etc/pacman.conf", "[options]\n  DBPath="+other+"/\n[core]\nDBPath = /y\n")),
			0,
		},
		"configured in a commit": {gmp(other).And(conf("/usr/etc/pacman.conf", "[options]\nDBPath = "+other+"\n")), 0},
		"where commits have it":  {gmp(home), 0},
		"through a link": {
			gmp(home).And(tree.Files{"/var/lib/pacman": tree.Symlink("../../usr/lib/sysimage/lib/pacman")}),
			0,
		},
		"initial content of /var": {gmp("/usr/share/factory/var/lib/pacman"), 0},
		"elsewhere than configured": {
			gmp("/var/lib/pacman").And(conf("/etc/pacman.conf", "[options]\nDBPath = /elsewhere\n")),
			0,
		},
		"configured through a file": {
			gmp(other).
				And(conf("/etc/pacman.conf", "[options]\nInclude = /etc/pacman.d/db\n")).
				And(conf("/etc/pacman.d/db", "DBPath = "+other)),
			0,
		},
		"configured through a glob": {
			gmp(other).
				And(conf("/usr/etc/pacman.conf", "Include=/etc/pacman.d/*.conf\n")).
				And(conf("/usr/etc/pacman.d/db.conf", "[options]\nDBPath = "+other)),
			0,
		},
		"a file that includes itself": {
			gmp("/var/lib/pacman").And(conf("/etc/pacman.conf", "Include = /etc/pacman.conf\nInclude = /etc/pacman.conf\n")),
			0,
		},
		"after an empty one": {gmp(home).And(tree.Files{"/var/lib/pacman/local/ALPM_DB_VERSION": {}}), 0},
		"after a broken one": {
			gmp(home).And(tree.Files{"/var/lib/pacman/local/x-1/desc": tree.Text("rubbish\n")}),
			1,
		},
		"after a file": {gmp(home).And(tree.Files{"/var/lib/pacman/local": {}}), 1},
		"a configuration that loops": {
			gmp("/var/lib/pacman").And(tree.Files{"/etc/pacman.conf": tree.Symlink("pacman.conf")}),
			1,
		},
		"a configuration of a TiB": {gmp("/var/lib/pacman").And(tree.Files{"/etc/pacman.conf": {Size: 1 << 40}}), 1},
	} {
		db, err := alpm.Read(t.Context(), tree.Index(test.files))
		if err != nil || len(db.Packages) != 1 || db.Packages[0].Name != "gmp" || len(db.Faults) != test.faults {
			t.Errorf("%s: %+v, %v", name, db, err)
		}
	}
}

func TestTheFirstPathOfTheConfigurationCounts(t *testing.T) {
	t.Parallel()
	homes, _, err := alpm.Homes(t.Context(), tree.Index(tree.Files{
		"/etc/pacman.conf": tree.Text("[options]\nInclude = /etc/a\nDBPath = /c\n"),
		"/etc/a":           tree.Text("DBPath = /a\nDBPath = /b\n"),
	}))
	if err != nil || len(homes) < 7 ||
		homes[0] != "/a" || homes[2] != "/b" || homes[4] != "/c" || homes[6] != alpm.DefaultDBPath {
		t.Errorf("%q, %v", homes, err)
	}
}

func TestDatabasesWithoutPackages(t *testing.T) {
	t.Parallel()
	const local = "/var/lib/pacman/local/"
	for name, test := range map[string]struct {
		files tree.Files
		want  error
	}{
		"none":        {tree.Files{"/usr/x": {}}, fs.ErrNotExist},
		"no packages": {tree.Files{local + "ALPM_DB_VERSION": {}}, fs.ErrNotExist},
		"too large":   {tree.Files{local + "x-1/desc": {Size: 1 << 40}}, pkgdb.ErrTooLarge},
		"unreadable":  {tree.Files{"/etc/pacman.conf": {Err: fs.ErrPermission}}, fs.ErrPermission},
	} {
		db, err := alpm.Read(t.Context(), tree.Index(test.files))
		if err == nil {
			err = errors.Join(db.Faults...)
		}
		if !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(text(f, "gmp.desc"), text(f, "gmp.files"), "[options]\nDBPath = /var/lib/pacman\n")
	f.Add("%NAME%\nx\n%BASE%", "%FILES%\n../../x\n/\n\x00\n%%\n", "[options]\nDBPath=..\nInclude=/etc/*\n")
	f.Fuzz(func(t *testing.T, desc, files, conf string) {
		db, err := alpm.Read(t.Context(), tree.Index(tree.Files{
			"/var/lib/pacman/local/x/desc":  tree.Text(desc),
			"/var/lib/pacman/local/x/files": tree.Text(files),
			"/etc/pacman.conf":              tree.Text(conf),
		}))
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range db.Faults {
			if !errors.Is(err, pkgdb.ErrBroken) && !errors.Is(err, pkgdb.ErrTooLarge) {
				t.Error(err)
			}
		}
		for _, p := range db.Packages {
			for _, name := range paths(p) {
				if !strings.HasPrefix(name, "/") || strings.Contains(name+"/", "/../") {
					t.Errorf("the path %q", name)
				}
			}
		}
	})
}
