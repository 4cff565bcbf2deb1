package portage_test

import (
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/portage"
)

func files(paths ...string) (list pkgdb.Files) {
	for _, p := range paths {
		list.Add(pkgdb.File{Path: p})
	}
	return list
}

// at returns a date in a test's time zone.
func at(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

func TestTheDatabaseThatPortageWrote(t *testing.T) {
	t.Parallel()
	gentoo := tree.Archive(t, "testdata/gentoo.txtar")
	want := []pkgdb.Package{
		{
			Name: "app-misc/tool", Source: "app-misc/tool", Version: "1.2.3-r1", Built: at(1795955918),
			Files: files("/var/lib/tool/.keep_app-misc_tool-0", "/usr/bin/tool", "/usr/bin/alias", "/usr/bin/tool-too",
				"/usr/share/tool/größe", "/usr/share/tool/a pipe", "/usr/share/tool/with space/a file 12", "/etc/tool.conf",
				"/usr/share/tool/a link", "/usr/share/tool/sym -> sub/link"),
		},
		{
			Name: "dev-lang/tool-lang", Source: "dev-lang/tool-lang:3.11", Version: "3.11.8", Built: at(1795955921),
			Files: files("/usr/bin/tool-lang3.11", "/usr/lib/tool3.11/lib.py"),
		},
		{
			Name: "dev-lang/tool-lang", Source: "dev-lang/tool-lang:3.12", Version: "3.12.3", Built: at(1795955925),
			Files: files("/usr/bin/tool-lang3.12", "/usr/lib/tool3.12/lib.py"),
		},
		{Name: "virtual/tool", Source: "virtual/tool", Version: "0", Built: at(1795955928)},
	}
	for _, home := range []string{"/var/db/pkg", "/usr/share/factory/var/db/pkg", "/usr/var-db-pkg"} {
		moved := tree.Files{}
		for p, f := range gentoo {
			if rest, ok := strings.CutPrefix(p, "/var/db/pkg"); ok {
				p = home + rest
			}
			moved[p] = f
		}
		db, err := portage.Read(t.Context(), tree.Index(moved))
		if err != nil || len(db.Faults) > 0 {
			t.Fatal(home, err, db.Faults)
		}
		if diff := cmp.Diff(want, db.Packages); diff != "" {
			t.Errorf("%s (-want +got):\n%s", home, diff)
		}
	}
}

func TestSourcesAreNamedWithoutVersions(t *testing.T) {
	t.Parallel()
	for dir, test := range map[string]struct{ slot, name, source, version string }{
		"app-shells/bash-5.2_p26-r3": {"0", "app-shells/bash", "app-shells/bash", "5.2_p26-r3"},
		"dev-libs/openssl-3.0.13":    {"0/3", "dev-libs/openssl", "dev-libs/openssl", "3.0.13"},
		"sys-devel/gcc-13.2.1_p20240210": {"13", "sys-devel/gcc", "sys-devel/gcc:13",
			"13.2.1_p20240210"},
		"sys-kernel/gentoo-sources-6.6.13-r1": {"6.6.13-r1", "sys-kernel/gentoo-sources", "sys-kernel/gentoo-sources",
			"6.6.13-r1"},
		"sys-kernel/gentoo-kernel-bin-6.6.13-r1": {"6.6.13", "sys-kernel/gentoo-kernel-bin", "sys-kernel/gentoo-kernel-bin",
			"6.6.13-r1"},
		"x11-libs/gtk+-3.24.41":   {"3", "x11-libs/gtk+", "x11-libs/gtk+:3", "3.24.41"},
		"media-fonts/font-7x13-1": {"0", "media-fonts/font-7x13", "media-fonts/font-7x13", "1"},
		"net-misc/x-2-1.0b_rc1":   {"0", "net-misc/x-2", "net-misc/x-2", "1.0b_rc1"},
		"dev-util/x-9999":         {"0", "dev-util/x", "dev-util/x", "9999"},
	} {
		home := "/var/db/pkg/" + dir
		db, err := portage.Read(t.Context(), tree.Index(tree.Files{
			home + "/SLOT": tree.Text(test.slot + "\n"), home + "/CONTENTS": {},
		}))
		if err != nil || len(db.Faults) > 0 || len(db.Packages) != 1 {
			t.Errorf("%s: %v, %+v", dir, err, db)
			continue
		}
		want := pkgdb.Package{Name: test.name, Source: test.source, Version: test.version}
		if diff := cmp.Diff(want, db.Packages[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", dir, diff)
		}
	}
}

// sum is the MD5 of a file.
const sum = "d41d8cd98f00b204e9800998ecf8427e"

func TestEntriesOfEveryKindMayHaveSpaces(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"dir /a b":                           "",
		"obj /a b " + sum + " 1":             "/a b",
		"obj /a " + sum + " 2 " + sum + " 3": "/a " + sum + " 2",
		"sym /a -> b 1":                      "/a",
		"sym /a b -> c d 1":                  "/a b",
		"sym /a -> b/c -> d 1":               "/a -> b/c",
		"sym /a -> b (8, 9L, 1L, 1, 0, 0, 5L, 1, 1274, 1)": "/a",
		"fif /a b":                 "/a b",
		"dev /dev/x":               "/dev/x",
		"obj //a//b " + sum + " 1": "/a/b",
	} {
		db := with(t, line+"\n")
		got := ""
		for f := range db.Packages[0].Files.All() {
			got = f.Path
		}
		if got != want || len(db.Faults) > 0 {
			t.Errorf("%s: %q, want %q; %v", line, got, want, db.Faults)
		}
	}
}

// with returns a database with two packages, of which the first one has a list.
func with(t *testing.T, contents string) *pkgdb.Database {
	t.Helper()
	return broken(t, tree.Files{"CONTENTS": tree.Text(contents)})
}

// broken returns a database with two packages. The first one has a valid record, in which the given files replace
// others. A file without a type is left out.
func broken(t *testing.T, files tree.Files) *pkgdb.Database {
	t.Helper()
	all := tree.Files{
		"/var/db/pkg/z/fine-1/SLOT":     tree.Text("0\n"),
		"/var/db/pkg/z/fine-1/CONTENTS": tree.Text("dir /usr\nobj /usr/fine " + sum + " 1\n"),
	}
	record := tree.Files{"SLOT": tree.Text("0\n"), "CONTENTS": tree.Text("obj /usr/x " + sum + " 1\n"),
		"BUILD_TIME": tree.Text("1700000000\n"), "SIZE": tree.Text("5\n")}
	maps.Copy(record, files)
	for name, f := range record {
		if f.Err == nil {
			all["/var/db/pkg/a/x-1/"+name] = f
		}
	}
	db, err := portage.Read(t.Context(), tree.Index(all))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// absent marks a file that a record lacks.
var absent = tree.File{Err: fs.ErrNotExist}

func TestABrokenRecordIsAFaultAndTheOthersCount(t *testing.T) {
	t.Parallel()
	good := "obj /usr/x " + sum + " 1\n"
	const dir = "/var/db/pkg/a/x-1"
	for name, test := range map[string]struct {
		files    tree.Files
		want     string // in the fault
		packages int
	}{
		"no list":        {tree.Files{"CONTENTS": absent}, dir + " has no list of files", 2},
		"a directory":    {tree.Files{"CONTENTS": {Dir: true}}, dir + " has no list of files", 2},
		"a loop":         {tree.Files{"CONTENTS": tree.Symlink("CONTENTS")}, "CONTENTS", 2},
		"an empty list":  {tree.Files{"CONTENTS": {}}, dir + "/CONTENTS is empty, but the package has \"5\" bytes", 2},
		"a cut list":     {tree.Files{"CONTENTS": tree.Text(good[:len(good)-1])}, "CONTENTS: the list is truncated", 2},
		"a zeroed list":  {tree.Files{"CONTENTS": {Size: 100}}, dir + "/CONTENTS:1: 100 zero bytes is not an entry", 2},
		"an odd line":    {tree.Files{"CONTENTS": tree.Text(good + "odd\n")}, dir + `/CONTENTS:2: "odd" is not an entry`, 2},
		"a cut line":     {tree.Files{"CONTENTS": tree.Text(good + "obj /usr/y 12\n")}, "CONTENTS:2: ", 2},
		"a short digest": {tree.Files{"CONTENTS": tree.Text("obj /usr/y 12 1\n")}, "CONTENTS:1: ", 2},
		"no target":      {tree.Files{"CONTENTS": tree.Text("sym /usr/y 1\n")}, "CONTENTS:1: ", 2},
		"no time":        {tree.Files{"CONTENTS": tree.Text("sym /usr/y -> z\n")}, "CONTENTS:1: ", 2},
		"relative":       {tree.Files{"CONTENTS": tree.Text("fif usr/y\n")}, "CONTENTS:1: ", 2},
		"a zero byte":    {tree.Files{"CONTENTS": tree.Text("fif /usr/\x00\n")}, "CONTENTS:1: ", 2},
		"no slot":        {tree.Files{"SLOT": absent}, dir + " has no slot", 1},
		"an empty slot":  {tree.Files{"SLOT": {}}, dir + "/SLOT is empty", 1},
		"a long slot":    {tree.Files{"SLOT": tree.Text("0\n1\n")}, dir + "/SLOT:2: ", 1},
		"a bad slot":     {tree.Files{"SLOT": tree.Text("a,b\n")}, dir + ": ", 1},
		"a slot loop":    {tree.Files{"SLOT": tree.Symlink("SLOT")}, "SLOT", 1},
		"a bad date":     {tree.Files{"BUILD_TIME": tree.Text("soon\n")}, dir + "/BUILD_TIME:1: ", 1},
	} {
		db := broken(t, test.files)
		if len(db.Packages) != test.packages || len(db.Faults) != 1 || !errors.Is(db.Faults[0], pkgdb.ErrBroken) ||
			!strings.Contains(db.Faults[0].Error(), test.want) {
			t.Errorf("%s: %d packages, %v", name, len(db.Packages), db.Faults)
		}
		if last := db.Packages[len(db.Packages)-1]; !last.Files.Equal(files("/usr/fine")) {
			t.Errorf("%s: the other package has %v", name, last.Files)
		}
	}
}

func TestADirectoryThatIsNotAPackage(t *testing.T) {
	t.Parallel()
	fine := tree.Files{"/var/db/pkg/a/x-1/SLOT": tree.Text("0\n"), "/var/db/pkg/a/x-1/CONTENTS": {}}
	for dir, want := range map[string]string{
		"/var/db/pkg/a/-MERGING-x-2": "interrupted",
		"/var/db/pkg/a/x":            "is not a name and a version",
		"/var/db/pkg/a b/x-1":        "is not valid",
		"/var/db/pkg/a/.tmp":         "",
		"/var/db/pkg/.cache/x":       "",
	} {
		db, err := portage.Read(t.Context(), tree.Index(fine.And(tree.Files{dir + "/SLOT": tree.Text("0\n")})))
		switch {
		case err != nil || len(db.Packages) != 1:
			t.Errorf("%s: %v, %+v", dir, err, db)
		case want == "" && len(db.Faults) > 0, want != "" && (len(db.Faults) != 1 ||
			!strings.Contains(db.Faults[0].Error(), want) || !strings.Contains(db.Faults[0].Error(), dir)):
			t.Errorf("%s: %v, want %q", dir, db.Faults, want)
		}
	}
}

func TestADatabaseThatIsNotThere(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]tree.Files{
		"nothing": {"/x": {}}, "empty": {"/var/db/pkg": {Dir: true}}, "FreeBSD's": {"/var/db/pkg/local.sqlite": {}},
		"an empty category": {"/var/db/pkg/virtual": {Dir: true}},
	} {
		if db, err := portage.Read(t.Context(), tree.Index(files)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, %v", name, db, err)
		}
	}
	for name, f := range map[string]tree.File{"a file": {}, "a loop": tree.Symlink("pkg")} {
		db, err := portage.Read(t.Context(), tree.Index(tree.Files{"/var/db/pkg": f}))
		if err != nil || len(db.Faults) != 1 {
			t.Errorf("%s: %v, %v", name, db, err)
		}
	}
	// A linked package is not read.
	linked := tree.Files{"/var/db/pkg/a/x-1/SLOT": tree.Text("0\n"), "/var/db/pkg/a/x-1/CONTENTS": {},
		"/var/db/pkg/a/y-1": tree.Symlink("x-1"), "/var/db/pkg/b": tree.Symlink("b")}
	if db, err := portage.Read(t.Context(), tree.Index(linked)); err != nil || len(db.Packages) != 1 ||
		len(db.Faults) != 2 {
		t.Errorf("linked: %+v, %v", db, err)
	}
	// A database that was moved, with a symlink in its place, is read once.
	moved := tree.Files{"/var/db/pkg": tree.Symlink("../../usr/var-db-pkg"),
		"/usr/var-db-pkg/a/x-1/SLOT": tree.Text("0\n"), "/usr/var-db-pkg/a/x-1/CONTENTS": tree.Text("odd\n")}
	if db, err := portage.Read(t.Context(), tree.Index(moved)); err != nil || len(db.Packages) != 1 ||
		len(db.Faults) != 1 {
		t.Errorf("moved: %+v, %v", db, err)
	}
}

func FuzzContents(f *testing.F) {
	f.Add("obj /a b "+sum+" 1\nsym /a -> b 1\ndir /x\nfif /y\n", "0/1", "170")
	f.Fuzz(func(t *testing.T, contents, slot, date string) {
		const dir = "/var/db/pkg/a/x-1/"
		db, err := portage.Read(t.Context(), tree.Index(tree.Files{dir + "CONTENTS": tree.Text(contents),
			dir + "SLOT": tree.Text(slot), dir + "BUILD_TIME": tree.Text(date)}))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range db.Packages {
			for file := range p.Files.All() {
				if !strings.HasPrefix(file.Path, "/") || strings.ContainsAny(file.Path, "\x00\n") {
					t.Errorf("%q", file.Path)
				}
			}
		}
	})
}
