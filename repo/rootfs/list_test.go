package rootfs_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// checkList checks that a tree of these paths is sorted, and that each is found.
func checkList(t *testing.T, names []string) {
	t.Helper()
	tree := treeOf(t, names...)
	all := paths(tree)
	if !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Fatalf("not sorted: %q", all)
	}
	for _, name := range names {
		if !slices.Contains(all, path.Clean(name)) {
			t.Errorf("%q is missing", name)
		}
	}
	x := rootfs.NewIndex(tree)
	for i, p := range all {
		if got, ok := x.Find(p); !ok || got != i {
			t.Errorf("%q: got %d, %v, want %d", p, got, ok, i)
		}
		if e := x.Entry(i); string(e.AppendPath(nil)) != p || i > 0 && path.Join(e.Dir, e.Name) != p {
			t.Errorf("%q: %q in %q", p, e.Name, e.Dir)
		}
		prefix := strings.TrimSuffix(p, "/") + "/"
		var below, children []string
		for _, q := range all[1:] {
			if rest, ok := strings.CutPrefix(q, prefix); ok {
				below = append(below, q)
				if !strings.Contains(rest, "/") {
					children = append(children, q)
				}
			}
		}
		if diff := cmp.Diff(below, collect(x, x.Below(p))); diff != "" {
			t.Errorf("below %q (-want +got):\n%s", p, diff)
		}
		if diff := cmp.Diff(children, collect(x, x.Children(p))); diff != "" {
			t.Errorf("in %q (-want +got):\n%s", p, diff)
		}
		for _, absent := range []string{p + "\x00", p + "/\x00", p + "0", p[:len(p)-1], ""} {
			if got, ok := x.Find(absent); ok != slices.Contains(all, absent) || ok && all[got] != absent {
				t.Errorf("%q: got %d, %v", absent, got, ok)
			}
		}
	}
}

func collect(x *rootfs.Index, indexes func(func(int) bool)) (list []string) {
	for i := range indexes {
		list = append(list, x.Entry(i).Path())
	}
	return list
}

func TestListsAreSortedByPathWhateverTheNames(t *testing.T) {
	t.Parallel()
	for name, list := range map[string][]string{
		"what sorts before a slash": {"/a/b", "/a-b", "/a b/c", "/a", "/a!/x/y", "/a/b/c", "/a/b-c", "/a0"},
		"one name is the other's":   {"/usr/lib", "/usr/lib64", "/usr/lib/x", "/usr/lib64/x", "/usr/li/x"},
		"bytes":                     {"/\xff/\xff\xff", "/\x01/\x7f", "/\x80", "/ü/ß", "/\n\n"},
		"long names": {"/" + strings.Repeat("a", 127), "/" + strings.Repeat("a", 128) + "/b",
			"/" + strings.Repeat("c", 20000) + "/" + strings.Repeat("d", 70000), "/" + strings.Repeat("c", 20000) + "/e"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkList(t, list)
		})
	}
}

func FuzzListsAreSorted(f *testing.F) {
	f.Add("/a/b\n/a-b\n/a\n/ab/c")
	f.Add("/usr/lib/x\n/usr/lib64\n/usr/lib.d/y\n/usr/lib/x/z")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1000 {
			return
		}
		var names []string
		for name := range strings.SplitSeq(text, "\n") {
			if !strings.ContainsAny(name, "=|>") {
				names = append(names, path.Clean("/"+name))
			}
		}
		checkList(t, names)
	})
}

func TestAListOfManyNamesHasThemAll(t *testing.T) {
	t.Parallel()
	b := rootfs.NewBuilder(0)
	const n = 50_000 // more bytes than one piece holds
	header := &object.FileHeader{Mode: object.ModeRegular | 0o644}
	for i := range n {
		if err := b.Add(rootfs.Entry{Dir: fmt.Sprintf("/d%02d", i%100), Name: fmt.Sprintf("name-%06d", i), FileHeader: header,
			Size: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	list, order := b.List(nil)
	for i, e := range list.All() {
		if want := fmt.Sprintf("name-%06d", order[i]); e.Name != want || e.Size != int64(order[i]) || e.Link != i {
			t.Fatalf("got %q with %d bytes, want %q", e.Name, e.Size, want)
		}
		if e.FileHeader != list.At(0).FileHeader {
			t.Fatal("equal headers are kept twice")
		}
	}
}

func TestSizesAreKeptHoweverLarge(t *testing.T) {
	t.Parallel()
	sizes := []int64{1 << 40, 0, 1<<32 - 2, 1<<32 - 1, 1 << 32, 7}
	b := rootfs.NewBuilder(0)
	for i, size := range sizes {
		e := rootfs.Entry{Dir: "/", Name: fmt.Sprint(len(sizes) - i),
			FileHeader: &object.FileHeader{Mode: object.ModeRegular}, Size: size}
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	list, order := b.List(nil)
	for i, e := range list.All() {
		if want := sizes[order[i]]; e.Size != want {
			t.Errorf("%s: got %d, want %d", e.Name, e.Size, want)
		}
	}
}

func TestAnEntryWithAnotherHeaderHasNoObject(t *testing.T) {
	t.Parallel()
	b := rootfs.NewBuilder(0)
	for i, name := range []string{"a", "b"} {
		xattrs := object.NewXattrs([]object.Xattr{{Name: "user." + name, Value: []byte("x")}})
		e := rootfs.Entry{Dir: "/", Name: name, FileHeader: &object.FileHeader{Mode: object.ModeRegular, Xattrs: xattrs},
			Object: object.Checksum{byte(i + 1)}}
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	list, _ := b.List(nil)
	changed := list.WithHeaders(func(h *object.FileHeader) *object.FileHeader {
		if h.Xattrs[0].Name == "user.a" {
			return &object.FileHeader{Mode: h.Mode}
		}
		return h
	})
	if len(changed.At(0).Xattrs) != 0 || !changed.At(0).Object.IsZero() {
		t.Errorf("the first: %v, %s", changed.At(0).Xattrs, changed.At(0).Object)
	}
	if changed.At(1).FileHeader.Xattrs[0].Name != "user.b" || changed.At(1).Object != list.At(1).Object {
		t.Errorf("the second: %v, %s", changed.At(1).Xattrs, changed.At(1).Object)
	}
	if len(list.At(0).Xattrs) != 1 || list.At(0).Object.IsZero() {
		t.Error("the list that it comes from changed")
	}
}
