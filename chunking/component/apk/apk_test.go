package apk_test

import (
	"errors"
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

func TestTheDatabaseOfARealSystem(t *testing.T) {
	t.Parallel()
	pkgs, err := apk.Parse(alpine(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	files := map[string]string{}
	for _, p := range pkgs {
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
	for name, test := range map[string]struct {
		text string
		want []pkgdb.Package
		err  error
	}{
		"nothing":     {"", nil, nil},
		"empty lines": {"\n\n\n", nil, nil},
		"the last without end": {"P:x\nF:a\nR:b",
			[]pkgdb.Package{{Name: "x", Source: "x", Files: pkgdb.FilesOf(pkgdb.File{Path: "/a/b"})}}, nil},
		"a file in the root": {"P:x\nF:\nR:b\n",
			[]pkgdb.Package{{Name: "x", Source: "x", Files: pkgdb.FilesOf(pkgdb.File{Path: "/b"})}}, nil},
		"directories do not last": {"P:x\nF:a\nR:b\n\nP:y\nR:c\n",
			[]pkgdb.Package{{Name: "x", Source: "x", Files: pkgdb.FilesOf(pkgdb.File{Path: "/a/b"})},
				{Name: "y", Source: "y", Files: pkgdb.FilesOf(pkgdb.File{Path: "/c"})}}, nil},
		"a path that climbs": {"P:x\nF:../../a\nR:../../b\n",
			[]pkgdb.Package{{Name: "x", Source: "x", Files: pkgdb.FilesOf(pkgdb.File{Path: "/b"})}}, nil},
		"a virtual package": {"P:.build-deps\nV:20240101.000000\nA:noarch\n",
			[]pkgdb.Package{{Name: ".build-deps", Source: ".build-deps", Version: "20240101.000000", Arch: "noarch"}}, nil},
		"unknown fields": {"P:x\nX:y\ns:1\n", []pkgdb.Package{{Name: "x", Source: "x"}}, nil},
		"sorted by name": {"P:b\n\nP:a\no:o\nt:0\n",
			[]pkgdb.Package{{Name: "a", Source: "o", Built: time.Unix(0, 0).UTC()}, {Name: "b", Source: "b"}}, nil},
		"no name":                {"V:1\n", nil, pkgdb.ErrBroken},
		"an empty name":          {"P:\n", nil, pkgdb.ErrBroken},
		"a name with a slash":    {"P:a/b\n", nil, pkgdb.ErrBroken},
		"an origin with a comma": {"P:a\no:b,c\n", nil, pkgdb.ErrBroken},
		"no colon":               {"P:a\nrubbish\n", nil, pkgdb.ErrBroken},
		"one letter":             {"P:a\nx\n", nil, pkgdb.ErrBroken},
		"no time":                {"P:a\nt:now\n", nil, pkgdb.ErrBroken},
		"a time before all":      {"P:a\nt:-1\n", nil, pkgdb.ErrBroken},
		"a time after all":       {"P:a\nt:99999999999\n", nil, pkgdb.ErrBroken},
		"too many":               {strings.Repeat("P:x\n\n", 200_001), nil, pkgdb.ErrTooLarge},
	} {
		got, err := apk.Parse(test.text)
		if !errors.Is(err, test.err) {
			t.Errorf("%s: got %v, want %v", name, err, test.err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPlacesOfTheDatabase(t *testing.T) {
	t.Parallel()
	text := tree.Text("P:x\n")
	for name, test := range map[string]struct {
		files tree.Files
		want  error
	}{
		"the older":        {tree.Files{"/lib/apk/db/installed": text}, nil},
		"the newer":        {tree.Files{"/usr/lib/apk/db/installed": text}, nil},
		"with merged /usr": {tree.Files{"/lib": tree.Symlink("usr/lib"), "/usr/lib/apk/db/installed": text}, nil},
		"none":             {tree.Files{"/lib/apk/db/lock": {}}, fs.ErrNotExist},
		"too large":        {tree.Files{"/lib/apk/db/installed": {Size: 1 << 40}}, pkgdb.ErrTooLarge},
		"broken":           {tree.Files{"/lib/apk/db/installed": tree.Text("x")}, pkgdb.ErrBroken},
		"unreadable":       {tree.Files{"/lib/apk/db/installed": {Err: fs.ErrPermission}}, fs.ErrPermission},
	} {
		pkgs, err := apk.Read(t.Context(), tree.Index(test.files))
		if !errors.Is(err, test.want) || (err == nil) != (len(pkgs) == 1) {
			t.Errorf("%s: %v, %v", name, pkgs, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(alpine(f))
	f.Add("P:x\nF:../a\nR:b\nt:1\no:y\n\nP:")
	f.Fuzz(func(t *testing.T, text string) {
		pkgs, err := apk.Parse(text)
		if err != nil && !errors.Is(err, pkgdb.ErrBroken) && !errors.Is(err, pkgdb.ErrTooLarge) {
			t.Fatal(err)
		}
		for _, p := range pkgs {
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
