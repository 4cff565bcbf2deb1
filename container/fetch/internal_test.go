package fetch

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// newKept opens the file for a blob that does not exist.
func newKept(t testing.TB, dir string, size int64) *kept {
	t.Helper()
	k := &keeper{dir: dir, max: 1 << 40, now: time.Now}
	found, err := k.open(t.Context(), digest.FromString("x"), size)
	if err != nil || found == nil {
		t.Fatalf("got %v, %v", found, err)
	}
	return found
}

// A full disk ends keeping, and frees what was kept, but does not end reading.
func TestAnErrorOfTheDiskIsToldOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := newKept(t, dir, 10<<20)
	if err := k.append(make([]byte, maxBlock)); err != nil || !k.holds() {
		t.Fatal(err)
	}
	file := k.f
	readOnly, err := os.Open(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	k.f = readOnly
	if err := k.append(make([]byte, maxBlock)); err == nil {
		t.Error("the error is lost")
	}
	if err := k.append(make([]byte, maxBlock)); err != nil || k.holds() {
		t.Errorf("told again: %v", err)
	}
	if _, err := os.Stat(file.Name()); err == nil {
		t.Error("the file is still there")
	}
	if err := k.close(); err != nil {
		t.Error(err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}

func TestContentRange(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][3]int64{
		"bytes 5-9/10":                     {5, 9, 10},
		"bytes 0-0/*":                      {0, 0, -1},
		"bytes 0-9223372036854775807/*":    {0, 1<<63 - 1, -1},
		"bytes */10":                       {},
		"bytes 5-9":                        {},
		"bytes 5-/10":                      {},
		"bytes -9/10":                      {},
		"bytes 5-9/":                       {},
		"bytes +5-9/10":                    {},
		"bytes 5-9/-1":                     {},
		"bytes 5-9223372036854775808/10":   {},
		"items 5-9/10":                     {},
		"":                                 {},
		"bytes 5-9/10, bytes 11-12/10":     {},
		"bytes 99999999999999999999-1/100": {},
	} {
		first, last, total, ok := parseContentRange(in)
		if got := [3]int64{first, last, total}; got != want || ok != (want != [3]int64{}) {
			t.Errorf("%q: got %v, %v", in, got, ok)
		}
	}
}

// Whatever is in a file, what is read from it are blocks of the blob's size at most, and what is appended then follows
// them.
func FuzzKeptFile(f *testing.F) {
	dir := f.TempDir()
	k := newKept(f, dir, 1000)
	for _, piece := range []string{"one", "two"} {
		if err := k.append([]byte(piece)); err != nil {
			f.Fatal(err)
		}
		if err := k.flush(); err != nil {
			f.Fatal(err)
		}
	}
	if err := k.close(); err != nil {
		f.Fatal(err)
	}
	name := filepath.Join(dir, k.name)
	whole, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		readKept := func(k *kept) (all []byte) {
			for block := k.next(); block != nil; block = k.next() {
				all = append(all, block...)
			}
			return all
		}
		k := newKept(t, dir, 1000)
		all := readKept(k)
		if len(all) > 1000 {
			t.Errorf("%d bytes of 1000", len(all))
		}
		if len(all) < 1000 {
			if err := k.append([]byte("x")); err != nil {
				t.Fatal(err)
			}
			all = append(all, 'x')
		}
		if err := k.close(); err != nil {
			t.Fatal(err)
		}
		k = newKept(t, dir, 1000)
		if again := readKept(k); !bytes.Equal(again, all) {
			t.Errorf("got %q, and then %q", all, again)
		}
		if err := k.remove(); err != nil {
			t.Fatal(err)
		}
	})
}
