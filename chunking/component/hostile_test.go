package component_test

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
)

// mostMemory is what finding the components may take, besides the tree.
const mostMemory = 200 << 20

// growth returns the number of bytes by which the heap grows at most while f runs.
func growth(f func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // so that little of what is counted is garbage
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for most := before.HeapAlloc; ; {
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapAlloc)
		select {
		case <-done:
			return most - before.HeapAlloc
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestAHostileDatabaseTakesLittleMemoryAndIsReported(t *testing.T) {
	for name, files := range map[string]func(t *testing.T) tree.Files{
		"one list of many packages":      sharedList,
		"one list of empty lines":        emptyLines,
		"one changelog of many packages": sharedChangelog,
		"many changelogs that grow":      growingChangelogs,
		"apk: a long directory of many files": func(*testing.T) tree.Files {
			dir := strings.Repeat("x/", 2000)
			return tree.Files{"/lib/apk/db/installed": tree.Text("P:x\nF:" + dir + "\n" + strings.Repeat("R:b\n", 4<<20) + "\n")}
		},
		"apk: many packages": func(*testing.T) tree.Files {
			return tree.Files{"/lib/apk/db/installed": tree.Text(strings.Repeat("P:x\n\n", 10<<20))}
		},
		"apk: many directories": func(*testing.T) tree.Files {
			return tree.Files{"/lib/apk/db/installed": tree.Text("P:x\n" + strings.Repeat("F:usr/share/1\n", 10<<20) + "\n")}
		},
		"Python: symlinks to one list": func(*testing.T) tree.Files {
			return linked("/opt/p%d-1.dist-info/RECORD", 100, strings.Repeat("x.py,,\n", 4<<20))
		},
		"conda: symlinks to one record": func(*testing.T) tree.Files {
			return linked("/opt/conda-meta/p%d.json", 10, `{"name": "x", "files": [`+strings.Repeat(`"",`, 5<<20)+`""]}`)
		},
		"pacman: one list of many packages":   sharedFiles,
		"Portage: one list of many packages":  sharedContents,
		"rpm: one blob of many slots":         func(*testing.T) tree.Files { return ndb(20_000, false, header(20_000, 14)) },
		"rpm: blobs within blobs":             func(*testing.T) tree.Files { return ndb(20_000, true, header(100_000, 14)) },
		"rpm: a long directory of many files": func(*testing.T) tree.Files { return ndb(1, false, header(1<<20, 4000)) },
		"rpm: files that are all somewhere else": func(*testing.T) tree.Files {
			return ndb(1, false, header(60_000, 1000)).And(tree.Files{"/usr/x": tree.Text("x")})
		},
		"rpm: empty names":                        func(*testing.T) tree.Files { return ndb(1, false, header(6<<20, 0)) },
		"rpm: SQLite that computes its values":    computedValues,
		"rpm: SQLite with one value of many rows": sameValues,
		"rpm: SQLite that computes for ever":      endlessView,
		"rpm: SQLite that computes its numbers":   computedNumbers,
		"rpm: SQLite with pages in many places":   sharedPages,
		"Python: one list of many packages":       sharedRecord,
		"conda: one record of many packages": func(*testing.T) tree.Files {
			return shared("/opt/conda-meta/p%d.json", 10, `{"name": "x", "files": [`+strings.Repeat(`"",`, 5<<20)+`""]}`)
		},
		"Composer: one list of many programs": func(*testing.T) tree.Files {
			return shared("/srv/%d/vendor/composer/installed.json", 100, `[`+strings.Repeat(`{"name":"a/b"},`, 1<<16)+`{}]`)
		},
		"Composer: a list of small things": func(*testing.T) tree.Files {
			return shared("/srv/%d/vendor/composer/installed.json", 1, `[`+strings.Repeat(`5,`, 15<<20)+`5]`)
		},
		"Composer: packages that are the whole tree": wholeTree,
		".NET: a list of small things": func(*testing.T) tree.Files {
			list := strings.Builder{}
			for i := range 200_000 {
				fmt.Fprintf(&list, `"%x/1":{},`, i)
			}
			return shared("/srv/%d.deps.json", 100, `{"targets":{"a":{`+list.String()+`"b":{}}}}`).And(
				shared("/srv/%d.dll", 100, ""))
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr := tree.New(files(t))
			var set *component.Set
			var err error
			grown := growth(func() { set, err = component.Detect(t.Context(), tr, component.Options{}) })
			if err != nil {
				t.Fatal(err)
			}
			if len(set.Warnings) == 0 {
				t.Error("there is no warning")
			}
			if grown > mostMemory {
				t.Errorf("%d MiB, want at most %d", grown>>20, mostMemory>>20)
			}
			t.Logf("%d MiB, %.200q", grown>>20, set.Warnings)
		})
	}
}

// numbered returns a dpkg database with the packages p0, p1, ….
func numbered(n int) tree.Files {
	var status strings.Builder
	for i := range n {
		fmt.Fprintf(&status, "Package: p%d\nStatus: install ok installed\nVersion: 1\n\n", i)
	}
	return tree.Files{"/var/lib/dpkg/status": tree.Text(status.String())}
}

func sharedList(*testing.T) tree.Files {
	files, list := numbered(20_000), strings.Builder{}
	for i := range 50_000 {
		fmt.Fprintf(&list, "/usr/share/%d/%d\n", i, i)
	}
	files["/list"] = tree.Text(list.String())
	for i := range 20_000 {
		files[fmt.Sprintf("/var/lib/dpkg/info/p%d.list", i)] = tree.Symlink("/list")
	}
	return files
}

func emptyLines(*testing.T) tree.Files {
	files := numbered(20_000)
	files["/list"] = tree.Text(strings.Repeat("\n", 32<<20))
	for i := range 20_000 {
		files[fmt.Sprintf("/var/lib/dpkg/info/p%d.list", i)] = tree.HardLink("/list")
	}
	return files
}

const changelogEntry = " -- A <a@b>  01 Feb 2020 00:00:00 +0000\n"

func sharedChangelog(*testing.T) tree.Files {
	files := numbered(50_000)
	files["/changelog"] = tree.Text(strings.Repeat(changelogEntry, 2000))
	for i := range 50_000 {
		files[fmt.Sprintf("/usr/share/doc/p%d", i)] = tree.Symlink("/docs")
	}
	files["/docs/changelog"] = tree.Symlink("/changelog")
	return files
}

func growingChangelogs(t *testing.T) tree.Files {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(make([]byte, 4<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	files := numbered(50_000)
	for i := range 50_000 {
		files[fmt.Sprintf("/usr/share/doc/p%d/changelog.gz", i)] = tree.Text(b.String())
	}
	return files
}

func sharedFiles(*testing.T) tree.Files {
	list := strings.Builder{}
	list.WriteString("%FILES%\n")
	for i := range 50_000 {
		fmt.Fprintf(&list, "usr/share/%d/%d\n", i, i)
	}
	files := tree.Files{"/list": tree.Text(list.String())}
	for i := range 5_000 {
		dir := fmt.Sprintf("/var/lib/pacman/local/p%d-1/", i)
		files[dir+"desc"], files[dir+"files"] = tree.Text(fmt.Sprintf("%%NAME%%\np%d\n", i)), tree.Symlink("/list")
	}
	return files
}

// shared returns n files with the same content. The names have the number.
func shared(name string, n int, content string) tree.Files {
	first := fmt.Sprintf(name, 0)
	files := tree.Files{first: tree.Text(content)}
	for i := range n - 1 {
		files[fmt.Sprintf(name, i+1)] = tree.HardLink(first)
	}
	return files
}

// linked returns n symlinks to one file with the given content. The names have the number.
func linked(name string, n int, content string) tree.Files {
	files := tree.Files{"/list": tree.Text(content)}
	for i := range n {
		files[fmt.Sprintf(name, i)] = tree.Symlink("/list")
	}
	return files
}

func wholeTree(*testing.T) tree.Files {
	list := strings.Repeat(`{"name":"a/p","install-path":"../../../all"},`, 100_000)
	files := tree.Files{"/srv/x/vendor/composer/installed.json": tree.Text(`{"packages":[` + list + `{}]}`)}
	for i := range 10_000 {
		files[fmt.Sprintf("/srv/x/all/%d", i)] = tree.File{}
		files[fmt.Sprintf("/srv/all/%d", i)] = tree.File{}
	}
	return files
}

func sharedContents(*testing.T) tree.Files {
	list := strings.Builder{}
	for i := range 50_000 {
		fmt.Fprintf(&list, "fif /usr/share/%d/%d\n", i, i)
	}
	files := tree.Files{"/list": tree.Text(list.String()), "/slot": tree.Text("0\n")}
	for i := range 5_000 {
		dir := fmt.Sprintf("/var/db/pkg/a/p%d-1/", i)
		files[dir+"SLOT"], files[dir+"CONTENTS"] = tree.Symlink("/slot"), tree.Symlink("/list")
	}
	return files
}

func sharedRecord(*testing.T) tree.Files {
	const site = "/usr/lib/python3/"
	files := tree.Files{site + "x-0.dist-info/RECORD": tree.Text(strings.Repeat("x.py,,\n", 4<<20))}
	for i := range 100 {
		files[fmt.Sprintf("%sx-%d.dist-info/RECORD", site, i+1)] = tree.HardLink(site + "x-0.dist-info/RECORD")
	}
	return files
}

// header returns the header of an rpm package with a number of files in a directory whose name has the given length.
func header(files, length int) []byte {
	var index, data []byte
	add := func(tag, typ, count int, value []byte) {
		for typ == 4 && len(data)%4 != 0 {
			data = append(data, 0)
		}
		for _, n := range []int{tag, typ, len(data), count} {
			index = binary.BigEndian.AppendUint32(index, uint32(n))
		}
		data = append(data, value...)
	}
	names, sums := bytes.Buffer{}, bytes.Buffer{}
	for i := range files {
		if length > 0 {
			fmt.Fprint(&names, i)
		}
		names.WriteByte(0)
		if files <= 100_000 {
			fmt.Fprintf(&sums, "%064x\x00", i+1)
		}
	}
	for _, tag := range []int{1000, 1001, 1002, 1022} {
		add(tag, 6, 1, []byte("x\x00"))
	}
	add(1117, 8, files, names.Bytes())
	add(1116, 4, files, make([]byte, 4*files))
	add(1118, 8, 1, []byte("/"+strings.Repeat("x", max(length-2, 0))+"/\x00"))
	if sums.Len() > 0 {
		add(1028, 4, files, bytes.Repeat([]byte{0, 0, 0, 1}, files))
		add(5011, 4, 1, []byte{0, 0, 0, 8})
		add(1035, 8, files, sums.Bytes())
	}
	blob := binary.BigEndian.AppendUint32(nil, uint32(len(index)/16))
	return append(append(binary.BigEndian.AppendUint32(blob, uint32(len(data))), index...), data...)
}

// ndb returns a database whose slots all lead to one blob. The slots belong to one package, or, if apart, to one each.
func ndb(slots int, apart bool, blob []byte) tree.Files {
	pages := (32 + 16*slots + 4095) / 4096
	data := binary.LittleEndian.AppendUint32([]byte("RpmP\x00\x00\x00\x00\x01\x00\x00\x00"), uint32(pages))
	data = append(data, make([]byte, 16)...)
	start := pages * 256
	for i := range (pages*4096 - 32) / 16 {
		index, at := 0, 0
		switch {
		case i >= slots:
		case apart:
			index, at = i+1, start+i
		default:
			index, at = 7, start
		}
		data = append(data, "Slot"...)
		data = binary.LittleEndian.AppendUint32(data, uint32(index))
		data = binary.LittleEndian.AppendUint32(data, uint32(at))
		data = append(data, make([]byte, 4)...)
	}
	heads := 1
	if apart {
		heads = slots
	}
	end := 16*heads + len(blob)
	for i := range heads {
		index := 7
		if apart {
			index = i + 1
		}
		data = append(data, "BlbS"...)
		data = binary.LittleEndian.AppendUint32(data, uint32(index))
		data = append(data, 1, 0, 0, 0)
		data = binary.LittleEndian.AppendUint32(data, uint32(end-16*(i+1)))
	}
	return tree.Files{"/var/lib/rpm/Packages.db": tree.Text(string(append(data, blob...)))}
}

// sqlite returns a database that SQL statements make.
func sqlite(t *testing.T, statements string) tree.Files {
	t.Helper()
	name := filepath.Join(t.TempDir(), "rpmdb.sqlite")
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return tree.Files{"/usr/lib/sysimage/rpm/rpmdb.sqlite": tree.Text(string(data))}
}

func computedValues(t *testing.T) tree.Files {
	return sqlite(t, `CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB AS (zeroblob(900000000)) VIRTUAL, x);
		INSERT INTO Packages (x) VALUES (1), (2), (3);`)
}

func sameValues(t *testing.T) tree.Files {
	return sqlite(t, `CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB AS (zeroblob(30000000)) VIRTUAL, x);
		INSERT INTO Packages (x) WITH RECURSIVE n(i) AS (
			SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000
		) SELECT i FROM n;`)
}

// endlessView has a virtual table whose rows are those of a view that never ends.
func endlessView(t *testing.T) tree.Files {
	return sqlite(t, `CREATE VIEW v (hnum, blob) AS
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, i FROM n WHERE i < 0;
		CREATE VIRTUAL TABLE Packages USING fts5(hnum, blob, content = 'v', content_rowid = 'hnum');`)
}

func computedNumbers(t *testing.T) tree.Files {
	return sqlite(t, `CREATE TABLE Packages (hnum AS (length(replace(hex(zeroblob(8000000)), '0', 'a'))), blob BLOB);
		INSERT INTO Packages (blob) WITH RECURSIVE n(i) AS (
			SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000
		) SELECT i FROM n;`)
}

// sharedPages has a page of 100 rows without headers, which its parent has 100 times, as that one's parent has that.
func sharedPages(t *testing.T) tree.Files {
	files := sqlite(t, `PRAGMA page_size = 1024; CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB);`)
	const name, size, depth, n = "/usr/lib/sysimage/rpm/rpmdb.sqlite", 1024, 8, 100
	data := []byte(files[name].Content)[:size]
	for level := range depth + 1 {
		page, head := make([]byte, size), 8
		page[0] = 13 // of rows
		if level < depth {
			page[0], head = 5, 12 // of pages
			binary.BigEndian.PutUint32(page[8:], uint32(level+3))
		}
		at := size
		for i := range n {
			cell := []byte{3, byte(i + 1), 3, 0, 12}
			if level < depth {
				cell = append(binary.BigEndian.AppendUint32(nil, uint32(level+3)), byte(i+1))
			}
			at -= len(cell)
			copy(page[at:], cell)
			binary.BigEndian.PutUint16(page[head+2*i:], uint16(at))
		}
		binary.BigEndian.PutUint16(page[3:], n)
		binary.BigEndian.PutUint16(page[5:], uint16(at))
		data = append(data, page...)
	}
	binary.BigEndian.PutUint32(data[28:], uint32(len(data)/size))
	return tree.Files{name: tree.Text(string(data))}
}
