package rpm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/chunking/component/rpm"
	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// real reads a database that a distribution's rpm wrote: that of an image of SUSE, or that of one package of CentOS,
// which the tests of github.com/knqyf263/go-rpmdb also have.
func real(t testing.TB, name string) []byte {
	t.Helper()
	return testfiles.Read(t, filepath.Join("testdata", name+".gz"))[0].Data
}

// system returns the index of a tree with a database.
func system(t *testing.T, file string, data []byte) *rootfs.Index {
	t.Helper()
	root := t.TempDir()
	put(t, root, file, data)
	return index(t, root)
}

// put writes a file below a directory.
func put(t *testing.T, root, file string, data []byte) {
	t.Helper()
	name := filepath.Join(root, file)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// index returns the index of the tree below a directory.
func index(t testing.TB, root string) *rootfs.Index {
	t.Helper()
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
			db, err := rpm.Read(t.Context(), system(t, want.file, real(t, name)))
			if err != nil {
				t.Fatal(err)
			}
			if len(db.Faults) > 0 {
				t.Error(db.Faults)
			}
			pkgs := db.Packages
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

func TestBrokenDatabasesAreFaultsAndNeverPanic(t *testing.T) {
	for name, file := range map[string]string{
		"sle15-bci.ndb": "var/lib/rpm/Packages.db",
		"libuuid.bdb":   "var/lib/rpm/Packages",
	} {
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
				db, err := rpm.Read(t.Context(), system(t, file, broken))
				if err != nil {
					t.Fatal(err)
				}
				if len(db.Faults) == 0 && what != "an enormous page" {
					t.Errorf("no fault, but %d packages", len(db.Packages))
				}
				for _, err := range db.Faults {
					if !errors.Is(err, pkgdb.ErrBroken) {
						t.Errorf("got %v, want ErrBroken", err)
					}
				}
			})
		}
	}
	t.Run("none", func(t *testing.T) {
		if _, err := rpm.Read(t.Context(), system(t, "etc/passwd", nil)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want that nothing is there", err)
		}
	})
}

// slotsOf returns the offsets of the slots of an ndb database that have packages.
func slotsOf(data []byte) (slots []int) {
	for at := 32; at < 4096*int(binary.LittleEndian.Uint32(data[12:])); at += 16 {
		if binary.LittleEndian.Uint32(data[at+4:]) != 0 {
			slots = append(slots, at)
		}
	}
	return slots
}

// blobAt returns the header that a slot leads to.
func blobAt(data []byte, slot int) []byte {
	at := 16 * int(binary.LittleEndian.Uint32(data[slot+8:]))
	return data[at+16:][:binary.LittleEndian.Uint32(data[at+12:])]
}

func TestABrokenRecordIsLeftOutAndReported(t *testing.T) {
	for name, damage := range map[string]func(data []byte, slot int){
		"a slot without its magic": func(data []byte, slot int) { data[slot] = 'x' },
		"a blob behind the end": func(data []byte, slot int) {
			binary.LittleEndian.PutUint32(data[slot+8:], 0xfffffff)
		},
		"the blob of another":          func(data []byte, slot int) { copy(data[slot+8:], data[slot-8:slot-4]) },
		"a second slot of one package": func(data []byte, slot int) { copy(data[slot:], data[slot-16:slot]) },
		"a header of zeros":            func(data []byte, slot int) { clear(blobAt(data, slot)) },
		"a header with too many tags":  func(data []byte, slot int) { blobAt(data, slot)[0] = 0xff },
		"a header whose names have no \\0": func(data []byte, slot int) {
			b := blobAt(data, slot)
			copy(b[8+16*binary.BigEndian.Uint32(b):], bytes.Repeat([]byte{'x'}, len(b)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := real(t, "sle15-bci.ndb")
			damage(data, slotsOf(data)[7])
			db, err := rpm.Read(t.Context(), system(t, "var/lib/rpm/Packages.db", data))
			if err != nil {
				t.Fatal(err)
			}
			if len(db.Packages) != 34 || len(db.Faults) != 1 {
				t.Errorf("%d packages, want the 34 others; faults %v", len(db.Packages), db.Faults)
			}
			got := fmt.Sprint(db.Faults)
			if !strings.Contains(got, "/var/lib/rpm/Packages.db: ") || !strings.Contains(got, "slot at ") {
				t.Errorf("the fault does not name the record: %s", got)
			}
		})
	}
}

func TestAnUnusableDatabaseDoesNotHideTheNext(t *testing.T) {
	good := real(t, "libuuid.bdb")
	for name, first := range map[string]struct {
		data   []byte
		faults int
	}{
		"empty":                   {nil, 0},
		"text":                    {[]byte("not a database"), 1},
		"an ndb with no packages": {append(make([]byte, 0, 4096), real(t, "sle15-bci.ndb")[:32]...), 1},
	} {
		for _, file := range []string{
			"usr/share/rpm/rpmdb.sqlite", "var/lib/rpm/Packages.db", "usr/lib/sysimage/rpm/Packages",
		} {
			root := t.TempDir()
			for p, data := range map[string][]byte{file: first.data, "var/lib/rpm/Packages": good} {
				put(t, root, p, data)
			}
			db, err := rpm.Read(t.Context(), index(t, root))
			if err != nil || len(db.Packages) != 1 || len(db.Faults) != first.faults {
				t.Errorf("%s as %s: %+v, %v", name, file, db, err)
			}
		}
	}
}

func TestADatabaseThatIsNotAFileIsAFault(t *testing.T) {
	for _, name := range []string{"rpmdb.sqlite", "Packages.db", "Packages"} {
		for what, put := range map[string]func(p string) error{
			"a directory": func(p string) error { return os.Mkdir(p, 0o755) },
			"a loop":      func(p string) error { return os.Symlink(name, p) },
			"empty":       func(p string) error { return os.WriteFile(p, nil, 0o644) },
		} {
			root := t.TempDir()
			dir := filepath.Join(root, "usr/share/rpm")
			if err := errors.Join(os.MkdirAll(dir, 0o755), put(filepath.Join(dir, name))); err != nil {
				t.Fatal(err)
			}
			db, err := rpm.Read(t.Context(), index(t, root))
			if err != nil || len(db.Faults) != 1 || !errors.Is(db.Faults[0], pkgdb.ErrBroken) {
				t.Errorf("%s, %s: %+v, %v", name, what, db, err)
			}
		}
	}
}

// headers returns the header blobs of a real database.
func headers(t testing.TB) (blobs [][]byte) {
	t.Helper()
	data := real(t, "sle15-bci.ndb")
	for _, slot := range slotsOf(data) {
		blobs = append(blobs, bytes.Clone(blobAt(data, slot)))
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
		_, err := rpm.ReadForm(t.Context(), rpm.NDB, data)
		if err != nil && !errors.Is(err, pkgdb.ErrBroken) && !errors.Is(err, pkgdb.ErrTooLarge) {
			t.Error(err)
		}
	})
}

func FuzzBDB(f *testing.F) {
	f.Add(real(f, "libuuid.bdb"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := rpm.ReadForm(t.Context(), rpm.BDB, data)
		if err != nil && !errors.Is(err, pkgdb.ErrBroken) && !errors.Is(err, pkgdb.ErrTooLarge) {
			t.Error(err)
		}
	})
}

// hashPage finds the page of the real Berkeley DB that has its package. It returns the offsets of the page and of the
// length of the value.
func hashPage(t *testing.T, data []byte) (page, length int) {
	t.Helper()
	size := int(binary.LittleEndian.Uint32(data[20:]))
	for page := size; page < len(data); page += size {
		for i := 1; data[page+25] == 13 && i < int(binary.LittleEndian.Uint16(data[page+20:])); i += 2 {
			item := page + int(binary.LittleEndian.Uint16(data[page+26+2*i:]))
			if data[item] == 3 {
				return page, item + 8
			}
		}
	}
	t.Fatal("there is no such page")
	return 0, 0
}

func TestPagesOfBerkeleyDBThatBelongToNoBucketAreIgnored(t *testing.T) {
	data := real(t, "libuuid.bdb")
	page, _ := hashPage(t, data)
	size := binary.LittleEndian.Uint32(data[20:])
	data = append(data[:len(data)/int(size)*int(size)], data[page:page+int(size)]...) // as splitting a bucket leaves it
	binary.LittleEndian.PutUint32(data[32:], uint32(len(data))/size-1)
	db, err := rpm.Read(t.Context(), system(t, "var/lib/rpm/Packages", data))
	if err != nil || len(db.Packages) != 1 || len(db.Faults) > 0 {
		t.Errorf("%+v, %v; want the one package", db, err)
	}
}

func TestAValueOfBerkeleyDBThatDoesNotFitItsPagesIsLeftOutAndReported(t *testing.T) {
	for _, by := range []int{-1, 1, -5000, 5000} {
		data := real(t, "libuuid.bdb")
		page, length := hashPage(t, data)
		binary.LittleEndian.PutUint32(data[length:], uint32(int(binary.LittleEndian.Uint32(data[length:]))+by))
		db, err := rpm.Read(t.Context(), system(t, "var/lib/rpm/Packages", data))
		want := fmt.Sprintf("/var/lib/rpm/Packages: page %d, item ", page/int(binary.LittleEndian.Uint32(data[20:])))
		if err != nil || len(db.Packages) > 0 || len(db.Faults) != 1 || !strings.Contains(db.Faults[0].Error(), want) {
			t.Errorf("%+d bytes: %+v, %v; want %s", by, db, err, want)
		}
	}
}
