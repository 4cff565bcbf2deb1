package apk_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/apk"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
)

// alpine is a part of the database of a real Alpine Linux 3.16, which the tests of github.com/anchore/syft also have.
func alpine(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/installed")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// parse reads a database of this content.
func parse(t testing.TB, text string) *pkgdb.Database {
	t.Helper()
	db, err := apk.Read(t.Context(), tree.Index(tree.Files{"/lib/apk/db/installed": tree.Text(text)}))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestTheDatabaseOfARealSystem(t *testing.T) {
	t.Parallel()
	db := parse(t, alpine(t))
	if len(db.Faults) > 0 {
		t.Error(db.Faults)
	}
	var got []string
	files := map[string]string{}
	for _, p := range db.Packages {
		got = append(got, p.Name+" of "+p.Source+" "+p.Version+" "+p.Arch+" "+p.Built.Format(time.DateOnly))
		for f := range p.Files.All() {
			files[f.Path] = p.Name
		}
	}
	if diff := cmp.Diff([]string{
		"alpine-baselayout of alpine-baselayout 3.2.0-r22 x86_64 2022-06-13",
		"alpine-baselayout-data of alpine-baselayout 3.2.0-r22 x86_64 2022-06-13",
		"busybox of busybox 1.35.0-r17 x86_64 2022-08-01",
		"ca-certificates-bundle of ca-certificates 20220614-r0 x86_64 2022-07-31",
		"libc-utils of libc-dev 0.7.2-r3 x86_64 2020-03-31",
		"musl of musl 1.2.3-r0 x86_64 2022-04-08",
		"musl-utils of musl 1.2.3-r0 x86_64 2022-04-08",
		"ssl_client of busybox 1.35.0-r17 x86_64 2022-08-01",
	}, got); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	for p, want := range map[string]string{
		"/bin/busybox": "busybox", "/bin/sh": "busybox", "/usr/share/udhcpc/default.script": "busybox",
		"/etc/network/if-up.d/dad": "busybox", "/lib/ld-musl-x86_64.so.1": "musl", "/etc/passwd": "alpine-baselayout-data",
		"/usr/bin/ldd": "musl-utils", "/etc/ssl/cert.pem": "ca-certificates-bundle",
	} {
		if files[p] != want {
			t.Errorf("%s: %q, want %s", p, files[p], want)
		}
	}
	if _, ok := files["/etc/network"]; ok {
		t.Error("a directory is among the files")
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	files := func(paths ...string) (list pkgdb.Files) {
		for _, p := range paths {
			list.Add(pkgdb.File{Path: p})
		}
		return list
	}
	for name, test := range map[string]struct {
		text string
		want []pkgdb.Package
	}{
		"nothing":            {"", nil},
		"empty lines":        {"\n\n\n", nil},
		"a file in the root": {"P:x\nF:\nR:b\n\n", []pkgdb.Package{{Name: "x", Source: "x", Files: files("/b")}}},
		"several in a directory": {
			"P:x\nF:a\nR:b\na:0:0:755\nZ:Q1x\nR:c\nF:d\nM:0:0:700\nR:b\n\n",
			[]pkgdb.Package{{Name: "x", Source: "x", Files: files("/a/b", "/a/c", "/d/b")}},
		},
		"a path that climbs": {
			"P:x\nF:../../a\nR:../../b\n\n",
			[]pkgdb.Package{{Name: "x", Source: "x", Files: files("/b")}},
		},
		"a virtual package": {
			"P:.build-deps\nV:20240101.000000\nA:noarch\n\n",
			[]pkgdb.Package{{Name: ".build-deps", Source: ".build-deps", Version: "20240101.000000", Arch: "noarch"}},
		},
		"unknown optional fields": {"P:x\nx:y\ns:1\n\n", []pkgdb.Package{{Name: "x", Source: "x"}}},
		"sorted by name": {
			"P:b\n\nP:a\no:o\nt:0\n\n",
			[]pkgdb.Package{{Name: "a", Source: "o", Built: time.Unix(0, 0).UTC()}, {Name: "b", Source: "b"}},
		},
	} {
		db := parse(t, test.text)
		if diff := cmp.Diff(test.want, db.Packages); diff != "" || len(db.Faults) > 0 {
			t.Errorf("%s: faults %v (-want +got):\n%s", name, db.Faults, diff)
		}
	}
}

func TestABrokenRecordIsLeftOutAndItsLineIsReported(t *testing.T) {
	t.Parallel()
	const good = "P:good\nF:a\nR:b\n\n"
	for name, test := range map[string]struct {
		text string
		line int
	}{
		"no name":                      {"V:1\n\n" + good, 1},
		"an empty name":                {"P:\n\n" + good, 1},
		"a name with a slash":          {good + "P:a/b\n\n", 5},
		"an origin with a comma":       {good + "P:a\no:b,c\n\n", 5},
		"no colon":                     {good + "P:a\nrubbish\n\n", 6},
		"one letter":                   {good + "P:a\nx\n\n", 6},
		"no time":                      {good + "P:a\nt:now\n\n", 6},
		"a time before all":            {good + "P:a\nt:-1\n\n", 6},
		"a time after all":             {good + "P:a\nt:99999999999\n\n", 6},
		"a field that is not known":    {good + "P:a\nX:1\n\n", 6},
		"two packages":                 {good + "P:a\nP:b\n\n", 6},
		"a file in the last directory": {good + "P:a\nR:b\n\n", 6},
		"cut within a line":            {good + "P:a\no:b", 6},
		"cut within the first line":    {good + "P", 5},
		"zeros":                        {good + strings.Repeat("\x00", 512), 5},
		"zeros in the middle":          {"P:a\n\x00\x00\x00\x00\n\n" + good, 2},
		"a name that no file can have": {good + "P:a\nF:\x00\nR:b\n\n", 7},
		"a path that is too long":      {good + "P:a\nF:" + strings.Repeat("x", 5000) + "\nR:b\n\n", 7},
	} {
		db := parse(t, test.text)
		if len(db.Packages) != 1 || db.Packages[0].Name != "good" {
			t.Errorf("%s: %+v", name, db.Packages)
		}
		want := fmt.Sprintf("/lib/apk/db/installed:%d: ", test.line)
		if len(db.Faults) != 1 || !errors.Is(db.Faults[0], pkgdb.ErrBroken) || !strings.Contains(db.Faults[0].Error(), want) {
			t.Errorf("%s: %v, want %s", name, db.Faults, want)
		}
	}
}

func TestATruncatedDatabaseIsReportedWhereverItEnds(t *testing.T) {
	t.Parallel()
	text := alpine(t)
	for n := 1; n < len(text); n += 7 {
		db := parse(t, text[:n])
		if whole := strings.HasSuffix(text[:n], "\n\n"); whole != (len(db.Faults) == 0) {
			t.Errorf("after %d bytes: %v", n, db.Faults)
		}
	}
}

func TestPlacesOfTheDatabase(t *testing.T) {
	t.Parallel()
	text := tree.Text("P:x\n\n")
	const older, newer = "/lib/apk/db/installed", "/usr/lib/apk/db/installed"
	for name, test := range map[string]struct {
		files  tree.Files
		faults int
	}{
		"the older":          {tree.Files{older: text}, 0},
		"the newer":          {tree.Files{newer: text}, 0},
		"with merged /usr":   {tree.Files{"/lib": tree.Symlink("usr/lib"), newer: text}, 0},
		"after an empty one": {tree.Files{newer: {}, older: text, "/etc/apk/world": tree.Text("x\n")}, 0},
		"after a broken one": {tree.Files{newer: tree.Text("rubbish\n\n"), older: text}, 1},
		"after a directory":  {tree.Files{newer: {Dir: true}, older: text}, 1},
		"after a loop":       {tree.Files{newer: tree.Symlink("installed"), older: text}, 1},
		"after a huge one":   {tree.Files{newer: {Size: 1 << 40}, older: text}, 1},
	} {
		db, err := apk.Read(t.Context(), tree.Index(test.files))
		if err != nil || len(db.Packages) != 1 || len(db.Faults) != test.faults {
			t.Errorf("%s: %+v, %v", name, db, err)
		}
	}
}

func TestDatabasesWithoutPackages(t *testing.T) {
	t.Parallel()
	const name = "/lib/apk/db/installed"
	for what, test := range map[string]struct {
		files tree.Files
		want  error
	}{
		"none":              {tree.Files{"/lib/apk/db/lock": {}}, fs.ErrNotExist},
		"new":               {tree.Files{name: {}}, nil},
		"lost":              {tree.Files{name: {}, "/etc/apk/world": tree.Text("busybox\n")}, pkgdb.ErrBroken},
		"removed":           {tree.Files{"/etc/apk/world": tree.Text("busybox\n")}, pkgdb.ErrBroken},
		"not asked for":     {tree.Files{"/etc/apk/world": {}}, fs.ErrNotExist},
		"a directory":       {tree.Files{name: {Dir: true}}, pkgdb.ErrBroken},
		"too large":         {tree.Files{name: {Size: 1 << 40}}, pkgdb.ErrTooLarge},
		"too many packages": {tree.Files{name: tree.Text(strings.Repeat("P:x\n\n", 200_001))}, pkgdb.ErrTooLarge},
		"gigabytes of paths": {
			tree.Files{name: tree.Text("P:x\nF:" + strings.Repeat("x", 4000) + "\n" + strings.Repeat("R:b\n", 1<<20) + "\n")},
			pkgdb.ErrTooLarge,
		},
		"unreadable": {tree.Files{name: {Err: fs.ErrPermission, Size: 1}}, fs.ErrPermission},
	} {
		db, err := apk.Read(t.Context(), tree.Index(test.files))
		if err == nil {
			err = errors.Join(db.Faults...)
		}
		if !errors.Is(err, test.want) || db != nil && len(db.Packages) > 0 {
			t.Errorf("%s: got %v, want %v", what, err, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(alpine(f))
	f.Add("P:x\nF:../a\nR:b\nt:1\no:y\n\nP:")
	f.Fuzz(func(t *testing.T, text string) {
		db := parse(t, text)
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
	})
}
