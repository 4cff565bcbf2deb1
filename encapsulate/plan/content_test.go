package plan

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// A layer's bytes depend on the order of an object's paths. That is the order of a walk, not of the tree's list.
func TestContentOfALayerIsInTheOrderOfAWalk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a/b/c", "a/b-c/d", "a-b/c", "a/b.c", "a/z", "z", "ab/x", "a/b/c-d", "a/b0",
		"a/b/0/1", "a/c/x", "a/!", "other/a", "0"} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		text := "the same in each"
		if filepath.Base(name) == "x" {
			text = "something else"
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := rootfs.Dir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c, err := CommitTree(t.Context(), d, OSTreeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := repo.CommitContent(t.Context(), c.Source, c.Commit)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := rootfs.Commit(t.Context(), c.Source, c.Commit)
	if err != nil {
		t.Fatal(err)
	}
	var indexes []uint32
	for i, e := range tree.Entries().All() {
		if !e.IsDir() {
			indexes = append(indexes, uint32(i))
		}
	}
	files := newContent(tree.Entries(), indexes)
	var got repo.Content
	for i := range files.Len() {
		got = append(got, repo.ObjectPath{Checksum: files.Checksum(i), Path: files.Path(i)})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
