package rpm_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/rpm"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// real reads a database that a distribution's rpm wrote: that of an image of SUSE, or that of one package of CentOS,
// which the tests of github.com/knqyf263/go-rpmdb also have.
func real(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// system makes a tree with a database.
func system(t *testing.T, file string, data []byte) *rootfs.Index {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, filepath.Dir(file)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, file), data, 0o644); err != nil {
		t.Fatal(err)
	}
	tree, err := rootfs.Dir(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	return rootfs.NewIndex(tree)
}

func TestRealDatabasesAreRead(t *testing.T) {
	for name, want := range map[string]struct {
		file                     string
		packages, files, changes int
		first                    string
	}{
		"sle15-bci.ndb": {"usr/lib/sysimage/rpm/Packages.db", 35, 2837, 1181, "bash 4.4-19.6.1 x86_64 of bash"},
		"libuuid.bdb":   {"var/lib/rpm/Packages", 1, 7, 570, "libuuid 2.32.1-42.el8_8 x86_64 of util-linux"},
	} {
		t.Run(name, func(t *testing.T) {
			pkgs, err := rpm.Read(t.Context(), system(t, want.file, real(t, name)))
			if err != nil {
				t.Fatal(err)
			}
			files, changes := 0, 0
			for _, p := range pkgs {
				files += p.Files.Len()
				changes += len(p.Changes)
				if p.Built.Year() < 2015 || p.Source == "" {
					t.Errorf("%s of %q was built %v", p.Name, p.Source, p.Built)
				}
			}
			if len(pkgs) != want.packages || files != want.files || changes != want.changes {
				t.Errorf("%d packages, %d files, %d changes; want %+v", len(pkgs), files, changes, want)
			}
			p := pkgs[0]
			if got := p.Name + " " + p.Version + " " + p.Arch + " of " + p.Source; got != want.first {
				t.Errorf("the first is %s, want %s", got, want.first)
			}
		})
	}
}

func TestBrokenDatabasesAreErrorsAndNeverPanics(t *testing.T) {
	for name, file := range map[string]string{"sle15-bci.ndb": "var/lib/rpm/Packages.db",
		"libuuid.bdb": "var/lib/rpm/Packages"} {
		data := real(t, name)
		for what, broken := range map[string][]byte{
			"the beginning": data[:600],
			"half of it":    data[:len(data)/2],
			"zeros":         make([]byte, 8192),
			"ones in the middle": append(append(bytes.Clone(data[:4096]), bytes.Repeat([]byte{0xff}, 8192)...),
				data[4096+8192:]...),
			"an enormous page":     append(append(bytes.Clone(data[:20]), 0xff, 0xff, 0xff, 0x7f), data[24:]...),
			"something else":       bytes.Repeat([]byte("text "), 1000),
			"an enormous quantity": append(append(bytes.Clone(data[:12]), 0xff, 0xff, 0xff, 0xff), data[16:]...),
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				pkgs, err := rpm.Read(t.Context(), system(t, file, broken))
				if err == nil && what != "an enormous page" {
					t.Errorf("no error, but %d packages", len(pkgs))
				}
				if err != nil && !errors.Is(err, pkgdb.ErrBroken) {
					t.Errorf("got %v, want ErrBroken", err)
				}
			})
		}
	}
	t.Run("no SQLite", func(t *testing.T) {
		if _, err := rpm.Read(t.Context(), system(t, "usr/share/rpm/rpmdb.sqlite",
			[]byte("no database at all"))); !errors.Is(err, pkgdb.ErrBroken) {
			t.Errorf("got %v, want ErrBroken", err)
		}
	})
	t.Run("none", func(t *testing.T) {
		if _, err := rpm.Read(t.Context(), system(t, "etc/passwd", nil)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want that nothing is there", err)
		}
	})
}

// headers are the blobs of the real databases.
func headers(t testing.TB) (blobs [][]byte) {
	t.Helper()
	keep := func(b []byte) error {
		blobs = append(blobs, bytes.Clone(b))
		return nil
	}
	if err := rpm.EachNDB(real(t, "sle15-bci.ndb"), keep); err != nil {
		t.Fatal(err)
	}
	if err := rpm.EachBDB(real(t, "libuuid.bdb"), keep); err != nil {
		t.Fatal(err)
	}
	return blobs
}

func TestHeadersThatLieAreErrors(t *testing.T) {
	blob := headers(t)[0]
	n := binary.BigEndian.Uint32(blob)
	for i := range n {
		for _, field := range []int{4, 8, 12} { // type, offset, count
			lie := bytes.Clone(blob)
			binary.BigEndian.PutUint32(lie[8+16*int(i)+field:], 0xfffffff0)
			if _, err := rpm.ReadPackage(lie); err != nil && !errors.Is(err, pkgdb.ErrBroken) {
				t.Errorf("entry %d, byte %d: %v", i, field, err)
			}
		}
	}
}

func FuzzHeader(f *testing.F) {
	for i, b := range headers(f) {
		if i%8 == 0 && len(b) < 64<<10 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		p, err := rpm.ReadPackage(blob)
		if err != nil && !errors.Is(err, pkgdb.ErrBroken) {
			t.Errorf("got %v, want ErrBroken", err)
		}
		if p != nil {
			for file := range p.Files.All() {
				if !filepath.IsAbs(file.Path) {
					t.Errorf("the path %q", file.Path)
				}
			}
		}
	})
}

func FuzzNDB(f *testing.F) {
	f.Add(real(f, "sle15-bci.ndb")[:64<<10])
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := rpm.EachNDB(data, func([]byte) error { return nil }); err != nil && !errors.Is(err, pkgdb.ErrBroken) {
			t.Error(err)
		}
	})
}

func FuzzBDB(f *testing.F) {
	f.Add(real(f, "libuuid.bdb"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := rpm.EachBDB(data, func([]byte) error { return nil }); err != nil && !errors.Is(err, pkgdb.ErrBroken) {
			t.Error(err)
		}
	})
}
