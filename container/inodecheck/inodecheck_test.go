package inodecheck

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

func TestCollisionsAreEqualIn32Bits(t *testing.T) {
	n := &Inodes{Collisions: []uint64{}, byID: map[string]uint64{
		"a": 7, "b": 1<<32 | 7, "c": 3 << 32, "d": 1<<40 | 7, "e": 9, "f": 1<<60 | 8,
	}}
	n.collide()
	data, err := n.JSON()
	if want := `{"collisions":[4294967303,1099511627783],"inode32":2,"inode64":4}`; err != nil || string(data) != want {
		t.Errorf("got %s, %v, want %s", data, err, want)
	}
	if len(n.Pairs) != 2 || n.Pairs[0] != (Collision{Large: "b", Small: "a", Inode: 1<<32 | 7, Truncated: 7}) {
		t.Errorf("the pairs are %+v", n.Pairs)
	}
	for id, want := range map[string]bool{"a": false, "b": true, "c": false, "d": true, "x": false} {
		if n.affected(id) != want {
			t.Errorf("%s affected: %v", id, !want)
		}
	}
}

func TestNumbersThatJSONCannotHoldAreWrittenWithAllDigits(t *testing.T) {
	n := &Inodes{Collisions: []uint64{1<<63 | 1}}
	data, err := n.JSON()
	if want := `{"collisions":[9223372036854775809],"inode32":0,"inode64":0}`; err != nil || string(data) != want {
		t.Errorf("got %s, %v, want %s", data, err, want)
	}
}

func TestInodesOfObjectsAreRead(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"objects/ab/cd.file": "1", "objects/ab/ef.commit": "2", "objects/00/11.dirtree": "3", "objects/abc/x.file": "4",
	} {
		name = filepath.Join(dir, name)
		err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "objects/ab/link.file")); err != nil {
		t.Fatal(err)
	}
	n, err := Analyze(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if n.Small+n.Large != 4 {
		t.Errorf("%d objects were counted, want 4", n.Small+n.Large)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(dir, "objects/ab/cd.file"), &st); err != nil || n.byID["abcd"] != st.Ino {
		t.Errorf("the inode of abcd is %d, %v, want %d", n.byID["abcd"], err, st.Ino)
	}
	if err := os.WriteFile(filepath.Join(dir, "objects/ab/odd"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Analyze(t.Context(), dir); err == nil {
		t.Error("a name without a suffix was accepted")
	}
}

// stored is a repository with an image of two layers: the upper one replaces /usr/b and hides /usr/c.
func stored(t *testing.T) (*repo.Repo, *store.Imported, imgref.ImageReference) {
	t.Helper()
	img := empty.Image
	for _, files := range [][2][]string{
		{{"usr/a", "usr/b", "usr/c"}, {"one", "two", "three"}}, {{"usr/b", "usr/.wh.c"}, {"new", ""}},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i, name := range files[0] {
			h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[1][i]))}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, files[1][i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b.Bytes())), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	ref := imgref.ImageReference{Transport: imgref.OCIDir, Name: t.TempDir()}
	if _, err := dest.Write(t.Context(), img, ref, dest.Options{}); err != nil {
		t.Fatal(err)
	}
	r := repotest.Init(t, repo.ModeBareUser)
	p, err := store.Prepare(t.Context(), r, imgref.Unverified(ref), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	res, err := p.Import(t.Context(), store.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r, res, ref
}

// replaced gives the image a merge commit with another tree.
func replaced(
	t *testing.T, r *repo.Repo, res *store.Imported, change func(*repo.Txn, *repo.MutableTree) error,
) object.Checksum {
	t.Helper()
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := repo.LoadCommit(t.Context(), txn, res.Commit)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := repo.TreeFromCommit(t.Context(), txn, res.Commit)
	if err != nil {
		t.Fatal(err)
	}
	if err := change(txn, tree); err != nil {
		t.Fatal(err)
	}
	if c.Tree, c.Meta, err = tree.WriteTo(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
	id, err := txn.WriteCommit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	refs, err := r.Refs("ostree/container/image")
	if err != nil || len(refs) != 1 {
		t.Fatal(refs, err)
	}
	if err := txn.SetRef(refs[0].Name, id); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return id
}

func checkAll(t *testing.T, r *repo.Repo, n *Inodes, deployed Deployed) (*Result, *Image) {
	t.Helper()
	var last *Image
	res, err := Check(t.Context(), r, n, deployed, func(i *Image) error {
		last = i
		return nil
	})
	if err != nil || last == nil {
		t.Fatal(last, err)
	}
	return res, last
}

func TestReplacedAndHiddenFilesAreNoDamage(t *testing.T) {
	r, _, _ := stored(t)
	res, img := checkAll(t, r, &Inodes{Collisions: []uint64{}}, Deployed{})
	if img.Corrupt() || img.Files != 2 || img.Derived != 2 || len(res.Images) > 0 {
		t.Errorf("the image: %+v %+v, the result: %+v", img, img.Verification, res)
	}
	data, err := res.JSON()
	const want = `{"booted-is-likely-corrupted":false,"inodes":{"collisions":[],"inode32":0,"inode64":0},` +
		`"likely-corrupted-container-image-merges":[],"staged-is-likely-corrupted":false}`
	if err != nil || string(data) != want {
		t.Errorf("got %s, %v, want %s", data, err, want)
	}
}

func TestWrongFilesAreFoundAndTheImageIsRemoved(t *testing.T) {
	r, imported, ref := stored(t)
	n, err := Analyze(t.Context(), r.Path())
	if err != nil {
		t.Fatal(err)
	}
	var other object.Checksum
	merge := replaced(t, r, imported, func(txn *repo.Txn, tree *repo.MutableTree) (err error) {
		h := &object.FileHeader{Mode: object.ModeRegular | 0o644}
		if other, err = txn.WriteFile(t.Context(), h, 5, strings.NewReader("wrong")); err != nil {
			return err
		}
		return errors.Join(tree.SetFile(t.Context(), "/usr/b", other), tree.Remove(t.Context(), "/usr/a"))
	})
	res, img := checkAll(t, r, n, Deployed{Booted: merge})
	if !slices.Equal(img.Unknown, []string{"/usr/a", "/usr/b"}) || !slices.Equal(img.Missing, []string{"/usr/a"}) {
		t.Errorf("unknown: %q, missing: %q", img.Unknown, img.Missing)
	}
	if !res.Booted || res.Staged || !slices.Equal(res.Images, []string{ref.String()}) {
		t.Errorf("the result is %+v", res)
	}
	// The inode of the wrong file could have been taken for another.
	n.byID[other.String()] = 1<<32 | 5
	n.byID["other"] = 5
	n.collide()
	if _, img = checkAll(t, r, n, Deployed{}); !slices.Equal(img.Clashes, []string{"/usr/b"}) {
		t.Errorf("clashes: %q", img.Clashes)
	}
	var said []imgref.ImageReference
	err = Flush(t.Context(), r, res, func(ref imgref.ImageReference) { said = append(said, ref) })
	if !errors.Is(err, ErrDeployed) || len(said) != 1 {
		t.Errorf("flushing: %v, %v", said, err)
	}
	if left, err := store.List(r); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestOtherLabelsAreNoDamage(t *testing.T) {
	r, imported, _ := stored(t)
	replaced(t, r, imported, func(txn *repo.Txn, tree *repo.MutableTree) error {
		h := &object.FileHeader{Mode: object.ModeRegular | 0o644, UID: 5,
			Xattrs: object.Xattrs{{Name: "user.x", Value: []byte("y")}}}
		c, err := txn.WriteFile(t.Context(), h, 3, strings.NewReader("new"))
		return errors.Join(err, tree.SetFile(t.Context(), "/usr/b", c))
	})
	if _, img := checkAll(t, r, &Inodes{}, Deployed{}); img.Corrupt() {
		t.Errorf("unknown: %q", img.Unknown)
	}
}
