package rootfs_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// makeTree makes a small tree with links, an empty file and a deep directory.
func makeTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"usr/bin", "usr/share/doc", "usr/share-x", "empty"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{
		"usr/bin/sh": "a shell", "usr/share/doc/README": "read me", "usr/share/doc/empty": "",
		"usr/share-x/y": strings.Repeat("long ", 100_000),
	} {
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
	if err := os.Symlink("/bin/../../../bin/sh", filepath.Join(dir, "shell")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func open(t *testing.T, dir string) *rootfs.Directory {
	t.Helper()
	d, err := rootfs.Dir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func paths(tree rootfs.Tree) []string {
	var list []string
	for _, e := range tree.Entries().All() {
		list = append(list, e.Path())
	}
	return list
}

func TestEntriesAreSortedAndHardLinksKnowTheirFirstName(t *testing.T) {
	tree := open(t, makeTree(t))
	want := []string{
		"/", "/bin", "/empty", "/loop", "/shell", "/usr", "/usr/bin", "/usr/bin/bash", "/usr/bin/sh", "/usr/share",
		"/usr/share-x", "/usr/share-x/y",
		"/usr/share/doc", "/usr/share/doc/README", "/usr/share/doc/empty",
	}
	if diff := cmp.Diff(want, paths(tree)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	e := tree.Entries()
	if e.At(8).Link != 7 || e.At(7).Link != 7 || e.At(1).Link != 1 {
		t.Errorf("links: %d %d %d", e.At(8).Link, e.At(7).Link, e.At(1).Link)
	}
}

func TestPathsAreResolvedInsideTheTree(t *testing.T) {
	x := rootfs.NewIndex(open(t, makeTree(t)))
	for p, want := range map[string]string{
		"/bin/sh": "/usr/bin/sh", "/shell": "/usr/bin/sh", "bin": "/usr/bin", "/../usr//./bin/bash": "/usr/bin/bash",
		"/": "/",
	} {
		i, err := x.Resolve(p)
		if err != nil || x.Entry(i).Path() != want {
			t.Errorf("%s: got %d, %v, want %s", p, i, err, want)
		}
	}
	for p, want := range map[string]error{"/loop": repo.ErrTooManySymlinks, "/nothing": os.ErrNotExist,
		"/usr/bin/sh/x": os.ErrNotExist} {
		if _, err := x.Resolve(p); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", p, err, want)
		}
	}
	if c, ok := x.Canonical("/bin/new/name"); !ok || c != "/usr/bin/new/name" {
		t.Errorf("Canonical: %q, %v", c, ok)
	}
	if c, ok := x.Canonical("/shell"); !ok || c != "/shell" {
		t.Errorf("Canonical follows the last element: %q, %v", c, ok)
	}
	var below []string
	for i := range x.Below("/usr/share") {
		below = append(below, x.Entry(i).Path())
	}
	if diff := cmp.Diff([]string{"/usr/share/doc", "/usr/share/doc/README", "/usr/share/doc/empty"}, below); diff != "" {
		t.Errorf("below /usr/share (-want +got):\n%s", diff)
	}
	var children []string
	for i := range x.Children("/") {
		children = append(children, x.Entry(i).Path())
	}
	if diff := cmp.Diff([]string{"/bin", "/empty", "/loop", "/shell", "/usr"}, children); diff != "" {
		t.Errorf("in / (-want +got):\n%s", diff)
	}
}

// commit makes the commit of a directory in place.
func commit(t *testing.T, dir string) (*rootfs.Source, object.Checksum) {
	t.Helper()
	hashed, err := rootfs.Hash(t.Context(), open(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	src, err := rootfs.NewSource(hashed)
	if err != nil {
		t.Fatal(err)
	}
	c, err := src.AddCommit(object.Commit{Subject: "in place"})
	if err != nil {
		t.Fatal(err)
	}
	return src, c
}

func TestACommitInPlaceIsThatOfTheRepository(t *testing.T) {
	dir := makeTree(t)
	src, c := commit(t, dir)
	r, err := repo.Init(filepath.Join(t.TempDir(), "repo"), repo.ModeArchive)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mt := repo.NewMutableTree()
	if err := txn.AddDirectory(t.Context(), mt, dir, repo.TreeOptions{}); err != nil {
		t.Fatal(err)
	}
	tree, meta, err := mt.WriteTo(t.Context(), txn)
	if err != nil {
		t.Fatal(err)
	}
	if tree != src.Tree || meta != src.Meta {
		t.Errorf("got %s %s, the repository makes %s %s", src.Tree, src.Meta, tree, meta)
	}
	if err := src.WriteTo(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
	if err := txn.SetRef("here", c); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	report, err := r.Fsck(t.Context(), repo.FsckOptions{})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("fsck: %v, %v", report.Problems, err)
	}
	again, err := rootfs.Commit(t.Context(), r, c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(paths(open(t, dir)), paths(again)); diff != "" {
		t.Errorf("the commit's tree (-want +got):\n%s", diff)
	}
}

func TestContentThatChangesAfterHashingIsAnErrorOfReading(t *testing.T) {
	dir := makeTree(t)
	tree := open(t, dir)
	hashed, err := rootfs.Hash(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	src, err := rootfs.NewSource(hashed)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "usr/share/doc/README")
	if err := os.WriteFile(name, []byte("READ ME"), 0o644); err != nil {
		t.Fatal(err)
	}
	i, _ := rootfs.NewIndex(hashed).Find("/usr/share/doc/README")
	r, _, err := src.OpenFile(t.Context(), hashed.Entries().At(i).Object)
	if err == nil {
		_, err = io.ReadAll(r)
		_ = r.Close()
	}
	if !errors.Is(err, rootfs.ErrChanged) {
		t.Errorf("got %v, want ErrChanged", err)
	}
}

// objects is a source in memory that has no files.
type objects map[object.Name][]byte

func (o objects) put(t object.Type, data []byte) object.Checksum {
	c := object.HashMetadata(data)
	o[object.Name{Checksum: c, Type: t}] = data
	return c
}

func (o objects) Metadata(_ context.Context, name object.Name) ([]byte, error) {
	if data, ok := o[name]; ok {
		return data, nil
	}
	return nil, repo.ErrObjectNotFound
}

func (o objects) FileInfo(context.Context, object.Checksum) (*object.FileInfo, error) {
	return nil, repo.ErrObjectNotFound
}

func (o objects) OpenFile(context.Context, object.Checksum) (io.ReadCloser, *object.FileInfo, error) {
	return nil, nil, repo.ErrObjectNotFound
}

func TestACommitWhoseFilesAreNotThereIsAnError(t *testing.T) {
	t.Parallel()
	for _, c := range []object.Checksum{{}, {1}} {
		src := objects{}
		tree, err := object.EncodeDirTree(&object.DirTree{Files: []object.FileEntry{{Name: "a", Checksum: c},
			{Name: "b", Checksum: c}}})
		if err != nil {
			t.Fatal(err)
		}
		meta, err := object.EncodeDirMeta(&object.DirMeta{Mode: object.ModeDir | 0o755})
		if err != nil {
			t.Fatal(err)
		}
		data, err := object.EncodeCommit(&object.Commit{Tree: src.put(object.TypeDirTree, tree),
			Meta: src.put(object.TypeDirMeta, meta)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rootfs.Commit(t.Context(), src,
			src.put(object.TypeCommit, data)); !errors.Is(err, repo.ErrObjectNotFound) {
			t.Errorf("%s: got %v, want ErrObjectNotFound", c, err)
		}
	}
}

// A few bytes of a hostile repository name one large xattr for many directories. It is parsed once.
func TestManyDirectoriesMayHaveOneLargeHeader(t *testing.T) {
	t.Parallel()
	src := objects{}
	xattrs := object.NewXattrs([]object.Xattr{{Name: "user.large", Value: make([]byte, 8<<20)}})
	metadata, err := object.EncodeDirMeta(&object.DirMeta{Mode: object.ModeDir | 0o755, Xattrs: xattrs})
	if err != nil {
		t.Fatal(err)
	}
	meta := src.put(object.TypeDirMeta, metadata)
	var tree object.Checksum
	for level := range 5 {
		list := &object.DirTree{}
		for i := range 10 {
			if level > 0 {
				list.Dirs = append(list.Dirs, object.DirEntry{Name: strconv.Itoa(i), Tree: tree, Meta: meta})
			}
		}
		data, err := object.EncodeDirTree(list)
		if err != nil {
			t.Fatal(err)
		}
		tree = src.put(object.TypeDirTree, data)
	}
	data, err := object.EncodeCommit(&object.Commit{Tree: tree, Meta: meta})
	if err != nil {
		t.Fatal(err)
	}
	got, err := rootfs.Commit(t.Context(), src, src.put(object.TypeCommit, data))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range got.Entries().All() {
		if e.FileHeader != got.Entries().At(0).FileHeader {
			t.Fatal("the header is there twice")
		}
	}
	if n := got.Entries().Len(); n != 11_111 {
		t.Errorf("%d entries", n)
	}
}
