package rootfs_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

func TestAViewHasOtherPathsAndFilesThanItsTree(t *testing.T) {
	t.Parallel()
	tree := treeOf(t, "/a/one=1", "/a/two=1", "/b", "/link -> a/one", "/gone")
	v := rootfs.NewViewBuilder(tree)
	put := func(from, to string) {
		t.Helper()
		i, ok := rootfs.NewIndex(tree).Find(from)
		if !ok {
			t.Fatalf("%s is not there", from)
		}
		if err := v.Put(i, to); err != nil {
			t.Fatal(err)
		}
	}
	put("/", "/")
	put("/a", "/z")
	put("/a/one", "/z/one")
	put("/a/two", "/z/renamed")
	put("/b", "/b")
	put("/b", "/c")
	put("/link", "/link")
	if err := v.Add("/z/new", &object.FileHeader{Mode: object.ModeRegular | 0o600, UID: 7}, []byte("made")); err != nil {
		t.Fatal(err)
	}
	view := v.View()
	var got []string
	for i, e := range view.Entries().All() {
		got = append(got, fmt.Sprintf("%s %o %d %s link %s", e.Path(), e.Mode, e.Size, e.Target,
			view.Entries().At(e.Link).Path()))
		if !e.IsRegular() {
			continue
		}
		r, err := view.Open(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || int64(len(data)) != e.Size {
			t.Errorf("%s: %q, %v", e.Path(), data, err)
		}
	}
	if diff := cmp.Diff([]string{
		"/ 40755 0  link /", "/b 100644 0  link /b", "/c 100644 0  link /b", "/link 120777 0 a/one link /link",
		"/z 40755 0  link /z", "/z/new 100600 4  link /z/new", "/z/one 100644 0  link /z/one",
		"/z/renamed 100644 0  link /z/one",
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	i, _ := rootfs.NewIndex(view).Find("/z/new")
	r, err := view.Open(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); string(data) != "made" || err != nil {
		t.Errorf("content %q, %v", data, err)
	}
}
