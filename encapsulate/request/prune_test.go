package request_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// list is a tree without contents.
type list struct {
	rootfs.Tree
	entries *rootfs.List
}

func (l list) Entries() *rootfs.List { return l.entries }

// tree returns a tree with the given paths. Those that end in a slash are directories.
func tree(t *testing.T, paths ...string) rootfs.Tree {
	t.Helper()
	b := rootfs.NewBuilder(len(paths))
	for _, p := range paths {
		e := rootfs.Entry{FileHeader: &object.FileHeader{Mode: object.ModeRegular | 0o644}}
		if p[len(p)-1] == '/' {
			e.Mode, p = object.ModeDir|0o755, p[:max(1, len(p)-1)]
		}
		e.Dir, e.Name = rootfs.Split(p)
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	entries, _ := b.List(nil)
	return list{entries: entries}
}

func TestPathsAreLeftOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		prune, rest []string
		warnings    int
	}{
		{nil, []string{"/", "/a", "/a-b", "/a/b", "/a/b/c", "/f"}, 0},
		{[]string{"/a"}, []string{"/", "/a-b", "/f"}, 0},
		{[]string{"/a/"}, []string{"/", "/a", "/a-b", "/f"}, 0},
		{[]string{"/a/b/"}, []string{"/", "/a", "/a-b", "/a/b", "/f"}, 0},
		{[]string{"/a/b", "/f"}, []string{"/", "/a", "/a-b"}, 0},
		{[]string{"//a//"}, []string{"/", "/a", "/a-b", "/f"}, 0},
		{[]string{"/f/"}, []string{"/", "/a", "/a-b", "/a/b", "/a/b/c", "/f"}, 0},
		{[]string{"/nothing", "/a/x/"}, []string{"/", "/a", "/a-b", "/a/b", "/a/b/c", "/f"}, 2},
	} {
		var o request.Options
		if err := o.SetPrune(c.prune); err != nil {
			t.Fatal(err)
		}
		rest, warnings := o.Pruned(tree(t, "/", "/a/", "/a/b/", "/a/b/c", "/a-b", "/f"))
		var got []string
		for _, e := range rest.Entries().All() {
			got = append(got, e.Path())
		}
		if diff := cmp.Diff(c.rest, got); diff != "" || len(warnings) != c.warnings {
			t.Errorf("%q: %d warnings, want %d (-want +got):\n%s", c.prune, len(warnings), c.warnings, diff)
		}
	}
}
