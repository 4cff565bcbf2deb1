package plain_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/plain"
)

// pyc is a compiled file of Python with the given source time.
const pyc = "\xcb\x0d\x0d\x0a\x00\x00\x00\x00TIMEsizebytecode"

func tree(t *testing.T) *rootfs.Hashed {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"usr/bin", "empty"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"usr/bin/sh": "a shell", "usr/x.pyc": pyc, "usr/grün": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "usr/bin/sh"), filepath.Join(dir, "usr/bin/bash")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("usr/bin", filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	d, err := rootfs.Dir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	h, err := rootfs.Hash(t.Context(), plain.View(owned{d}))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// owned is a tree in which everything belongs to root.
type owned struct{ rootfs.Tree }

func (o owned) Entries() *rootfs.List {
	return o.Tree.Entries().WithHeaders(func(h *object.FileHeader) *object.FileHeader {
		other := *h
		other.UID, other.GID = 0, 0
		if h.Mode&object.ModeTypeMask == object.ModeDir {
			other.Mode = 0o40755
		}
		return &other
	})
}

func all(h *rootfs.Hashed) []uint32 {
	list := make([]uint32, h.Entries().Len())
	for i := range list {
		list[i] = uint32(i)
	}
	return list
}

func write(t *testing.T, h *rootfs.Hashed, indexes []uint32, opts plain.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := plain.Write(t.Context(), &b, h, indexes, opts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func names(t *testing.T, stream []byte) []string {
	t.Helper()
	var list []string
	in := tar.NewReader(bytes.NewReader(stream))
	for {
		h, err := in.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(h.ModTime.Truncate(1)) || h.ModTime.Unix() != 0 {
			t.Errorf("%s has the time %v", h.Name, h.ModTime)
		}
		s := string(h.Typeflag) + " " + h.Name
		if h.Linkname != "" {
			s += " → " + h.Linkname
		}
		list = append(list, s)
	}
}

func TestALayerHasTheDirectoriesAboveItsFilesAndHardLinksToItsFirstName(t *testing.T) {
	h := tree(t)
	want := []string{"5 ./", "2 bin → usr/bin", "5 empty/", "5 usr/", "5 usr/bin/", "0 usr/bin/bash",
		"1 usr/bin/sh → usr/bin/bash", "0 usr/grün", "0 usr/x.pyc"}
	if diff := cmp.Diff(want, names(t, write(t, h, all(h), plain.Options{}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	x := rootfs.NewIndex(h)
	i, _ := x.Find("/usr/bin/sh")
	want = []string{"5 ./", "0 .wh.gone", "5 usr/", "5 usr/bin/", "0 usr/bin/sh"}
	if diff := cmp.Diff(want,
		names(t, write(t, h, []uint32{uint32(i)}, plain.Options{Whiteouts: []string{"/gone"}}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheBytesOfALayerNeverChange(t *testing.T) {
	h := tree(t)
	sum := sha256.Sum256(write(t, h, all(h), plain.Options{}))
	const want = "c75c4516ebba5a49a6960223adfa5425c012896d0c7929eddea3b236619e1837"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the sum is %s, want %s: layers that users have would no longer be shared", got, want)
	}
}

func TestWhatIsListedIsWhatWasHashed(t *testing.T) {
	h := tree(t)
	x := rootfs.NewIndex(h)
	n := 0
	for f, err := range plain.List(t.Context(), bytes.NewReader(write(t, h, all(h), plain.Options{}))) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		i, ok := x.Find(f.Path)
		if !ok {
			t.Errorf("%s is not in the tree", f.Path)
			continue
		}
		e := x.Entry(i)
		if f.Link != "" {
			if want := h.Entries().At(e.Link).Path(); f.Link != want || e.Link == i {
				t.Errorf("%s: listed as a link to %s, which is %s", f.Path, f.Link, want)
			}
			continue
		}
		if !e.IsDir() && e.Object != f.Object {
			t.Errorf("%s: listed as %s, hashed as %s", f.Path, f.Object, e.Object)
		}
	}
	if n != h.Entries().Len() {
		t.Errorf("%d entries are listed, the tree has %d", n, h.Entries().Len())
	}
}

func TestCompiledPythonNamesTheTimeOfItsSource(t *testing.T) {
	h := tree(t)
	i, _ := rootfs.NewIndex(h).Find("/usr/x.pyc")
	in := tar.NewReader(bytes.NewReader(write(t, h, []uint32{uint32(i)}, plain.Options{})))
	for {
		e, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Typeflag == tar.TypeReg {
			break
		}
	}
	got, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := "\xcb\x0d\x0d\x0a\x00\x00\x00\x00\x00\x00\x00\x00sizebytecode"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// archive makes a stream of entries, whose content is their name.
func archive(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(h.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestStreamsThatCannotBeTakenOverAreErrors(t *testing.T) {
	for name, stream := range map[string][]byte{
		"a whiteout":          archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "usr/.wh.bin"}),
		"an opaque directory": archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "usr/.wh..wh..opq"}),
		"a path upwards":      archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "../etc/passwd"}),
		"no archive":          []byte("something else that is long enough to be looked at, or so one would think"),
	} {
		t.Run(name, func(t *testing.T) {
			var last error
			for _, err := range plain.List(t.Context(), bytes.NewReader(stream)) {
				last = err
			}
			if !errors.Is(last, tarfmt.ErrInvalidStream) {
				t.Errorf("got %v", last)
			}
		})
	}
}

// realLayers returns layers written by GNU tar, umoci and the program that made upstream's fixtures.
const realLayers = "../../container/flatten/testdata/layers/*.tar.gz"

func FuzzList(f *testing.F) {
	f.Add(archive(f, tar.Header{Typeflag: tar.TypeDir, Name: "usr/"}, tar.Header{Typeflag: tar.TypeReg, Name: "usr/a"},
		tar.Header{Typeflag: tar.TypeLink, Name: "b", Linkname: "usr/a"},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "c", Linkname: "b"},
		tar.Header{Typeflag: tar.TypeReg, Name: "d", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}))
	for _, layer := range testfiles.Read(f, realLayers) {
		f.Add(layer.Data)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		ended := false
		for file, err := range plain.List(t.Context(), bytes.NewReader(stream)) {
			if ended {
				t.Error("something follows an error")
			}
			ended = err != nil
			if !ended && (!filepath.IsAbs(file.Path) || filepath.Clean(file.Path) != file.Path) {
				t.Errorf("the path %q", file.Path)
			}
		}
	})
}
