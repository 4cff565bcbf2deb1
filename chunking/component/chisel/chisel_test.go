package chisel_test

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/chisel"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
)

// manifest has the lines of the specification of Chisel's manifest, version 1.0.
const manifest = `{"jsonwall":"1.0","schema":"1.0","count":10}
{"kind":"content","slice":"base-files_base","path":"/etc/"}
{"kind":"content","slice":"openssl_bins","path":"/usr/bin/openssl"}
{"kind":"package","name":"base-files","version":"13ubuntu10","sha256":"2b3c","arch":"amd64"}
{"kind":"package","name":"openssl","version":"3.0.13-0ubuntu3.4","sha256":"8d0a","arch":"amd64"}
{"kind":"path","path":"/etc/","mode":"0755","slices":["base-files_base","openssl_config"]}
{"kind":"path","path":"/etc/ssl/openssl.cnf","mode":"0644","slices":["openssl_config"],"sha256":"4b5a","size":12324}
{"kind":"path","path":"/usr/bin/openssl","mode":"0755","slices":["openssl_bins"],"sha256":"9af1","size":1004744}
{"kind":"slice","name":"base-files_base"}
{"kind":"slice","name":"openssl_bins"}
`

func compressed(t testing.TB, text string) tree.File {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return tree.Text(string(z.EncodeAll([]byte(text), nil)))
}

func TestPackagesHaveThePathsOfTheirSlices(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"/var/lib/chisel/manifest.wall", "/usr/share/factory/var/lib/chisel/manifest.wall"} {
		db, err := chisel.Read(t.Context(), tree.Index(tree.Files{name: compressed(t, manifest)}))
		if err != nil || len(db.Faults) > 0 {
			t.Fatal(err, db)
		}
		var openssl pkgdb.Files
		openssl.Add(pkgdb.File{Path: "/etc/ssl/openssl.cnf", Size: 12324})
		openssl.Add(pkgdb.File{Path: "/usr/bin/openssl", Size: 1004744})
		if diff := cmp.Diff([]pkgdb.Package{
			{Name: "base-files", Source: "base-files", Version: "13ubuntu10", Arch: "amd64"},
			{Name: "openssl", Source: "openssl", Version: "3.0.13-0ubuntu3.4", Arch: "amd64", Files: openssl},
		}, db.Packages); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestABrokenManifestIsAFault(t *testing.T) {
	t.Parallel()
	whole := compressed(t, manifest)
	for name, test := range map[string]struct {
		file tree.File
		want error
	}{
		"cut":               {tree.Text(whole.Content[:len(whole.Content)/2]), pkgdb.ErrBroken},
		"cut before":        {compressed(t, strings.SplitAfterN(manifest, "\n", 6)[0]), pkgdb.ErrBroken},
		"not compressed":    {tree.Text(manifest), pkgdb.ErrBroken},
		"empty":             {tree.File{}, pkgdb.ErrBroken},
		"a directory":       {tree.File{Dir: true}, pkgdb.ErrBroken},
		"a line of rubbish": {compressed(t, strings.Replace(manifest, `{"kind":"slice"`, "x", 1)), pkgdb.ErrBroken},
		"another schema": {
			compressed(t, strings.Replace(manifest, `"schema":"1.0"`, `"schema":"2.0"`, 1)), pkgdb.ErrBroken,
		},
		"another file":     {compressed(t, "{}\n"), pkgdb.ErrBroken},
		"only empty lines": {compressed(t, "\n\n"), pkgdb.ErrBroken},
		"an unknown package": {
			compressed(t, strings.Replace(manifest, `"name":"openssl"`, `"name":"other"`, 1)),
			pkgdb.ErrBroken,
		},
		"gigabytes of spaces": {compressed(t, manifest+strings.Repeat("\n", 65<<20)), pkgdb.ErrTooLarge},
	} {
		db, err := chisel.Read(t.Context(), tree.Index(tree.Files{"/var/lib/chisel/manifest.wall": test.file}))
		if err != nil || !errors.Is(errors.Join(db.Faults...), test.want) {
			t.Errorf("%s: %+v, %v", name, db, err)
		}
	}
	if _, err := chisel.Read(t.Context(), tree.Index(tree.Files{"/x": {}})); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
}

func TestTheManifestThatChiselWrote(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/manifest.wall")
	if err != nil {
		t.Fatal(err)
	}
	db, err := chisel.Read(t.Context(), tree.Index(tree.Files{"/var/lib/chisel/manifest.wall": tree.Text(string(data))}))
	if err != nil || len(db.Faults) > 0 {
		t.Fatal(err, db)
	}
	got := map[string][]string{}
	for _, p := range db.Packages {
		if p.Source != p.Name || p.Arch != "amd64" || !strings.Contains(p.Version, "ubuntu") {
			t.Errorf("%+v", p)
		}
		for f := range p.Files.All() {
			got[p.Name] = append(got[p.Name], f.Path)
			made := f.Path == "/var/lib/chisel/manifest.wall" || f.Path == "/usr/bin/alias"
			if known := f.Digest != [32]byte{} && f.Size > 0; known == made {
				t.Errorf("%+v", f)
			}
			if changed := sha256.Sum256([]byte("root\nuser\n")); f.Path == "/etc/passwd" && f.Digest != changed {
				t.Errorf("%s has the digest %x, want %x", f.Path, f.Digest, changed)
			}
		}
	}
	if diff := cmp.Diff(map[string][]string{
		"base-files":  {"/etc/os-release", "/etc/passwd", "/var/lib/chisel/manifest.wall"},
		"libtool-1.0": {"/usr/lib/libtool.so.1"},
		"tool": {"/etc/made", "/etc/tool.conf", "/usr/bin/alias", "/usr/bin/tool", "/usr/bin/tool-too",
			"/usr/share/tool/with space/a file"},
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestABrokenLineIsAFaultAndTheOthersCount(t *testing.T) {
	t.Parallel()
	const last = `{"kind":"path","path":"/usr/bin/openssl"`
	for name, line := range map[string]string{
		"rubbish":            `rubbish`,
		"an unknown package": `{"kind":"path","path":"/x","slices":["other_bins"]}`,
		"an invalid path":    `{"kind":"path","path":"/\u0000","slices":["openssl_bins"]}`,
		"an invalid name":    `{"kind":"package","name":"a b"}`,
		"a name twice":       `{"kind":"package","name":"openssl"}`,
		"another type":       `{"kind":"path","path":5}`,
	} {
		text := strings.Replace(strings.Replace(manifest, last, line+"\n"+last, 1), `"count":10`, `"count":11`, 1)
		db, err := chisel.Read(t.Context(), tree.Index(tree.Files{"/var/lib/chisel/manifest.wall": compressed(t, text)}))
		if err != nil || len(db.Packages) != 2 || db.Packages[1].Files.Len() != 2 || len(db.Faults) != 1 ||
			!errors.Is(db.Faults[0], pkgdb.ErrBroken) || !strings.Contains(db.Faults[0].Error(), "manifest.wall:8: ") {
			t.Errorf("%s: %+v, %v", name, db, err)
		}
	}
}
