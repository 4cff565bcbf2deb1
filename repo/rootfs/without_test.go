package rootfs_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

func TestAViewWithoutSomeEntriesKeepsContentsAndLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a/deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a/deep/one", "a-b", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"c", "d"} { // the first name of the file goes
		if err := os.Link(filepath.Join(dir, "a/deep/one"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := rootfs.Dir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	rest := rootfs.Without(tree, func(e rootfs.Entry) bool { return e.Path() == "/a" || e.Path() == "/b" })
	got := map[string]string{}
	for i, e := range rest.Entries().All() {
		if e.IsDir() {
			got[e.Path()] = "directory"
			continue
		}
		r, err := rest.Open(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		got[e.Path()] = string(content) + ", linked to " + rest.Entries().At(e.Link).Path()
	}
	want := map[string]string{
		"/": "directory", "/a-b": "a-b, linked to /a-b", "/c": "a/deep/one, linked to /c", "/d": "a/deep/one, linked to /c",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}
