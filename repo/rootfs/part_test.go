package rootfs_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

func TestAPartHasThePathsAndTheWayToThem(t *testing.T) {
	t.Parallel()
	src, id := commit(t, makeTree(t))
	for name, c := range map[string]struct{ paths, want []string }{
		"nothing": {nil, []string{"/"}},
		"nowhere": {[]string{"/no/such", "/usr/bin/sh/below", "/loop"},
			[]string{"/", "/loop", "/usr", "/usr/bin", "/usr/bin/sh"}},
		"a file": {[]string{"usr/bin/sh"}, []string{"/", "/usr", "/usr/bin", "/usr/bin/sh"}},
		"a directory": {[]string{"/usr/share"},
			[]string{"/", "/usr", "/usr/share", "/usr/share/doc", "/usr/share/doc/README", "/usr/share/doc/empty"}},
		"behind a symlink": {[]string{"/bin/bash", "/bin"},
			[]string{"/", "/bin", "/usr", "/usr/bin", "/usr/bin/bash", "/usr/bin/sh"}},
		"a link out of it":   {[]string{"/shell"}, []string{"/", "/bin", "/shell", "/usr", "/usr/bin", "/usr/bin/sh"}},
		"an empty directory": {[]string{"/empty/", "//empty"}, []string{"/", "/empty"}},
		"twice and unordered": {[]string{"/usr/share-x", "/empty", "/usr/share-x"},
			[]string{"/", "/empty", "/usr", "/usr/share-x", "/usr/share-x/y"}},
	} {
		part, err := rootfs.Part(t.Context(), src, id, c.paths)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := paths(part); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestAPartIsLikeTheWholeTree(t *testing.T) {
	t.Parallel()
	src, id := commit(t, makeTree(t))
	whole, err := rootfs.Commit(t.Context(), src, id)
	if err != nil {
		t.Fatal(err)
	}
	part, err := rootfs.Part(t.Context(), src, id, []string{"/"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := paths(part), paths(whole); !slices.Equal(got, want) {
		t.Fatalf("all of it is %q, want %q", got, want)
	}
	for i, want := range whole.Entries().All() {
		got := part.Entries().At(i)
		if got.Mode != want.Mode || got.Size != want.Size || got.Object != want.Object || got.Link != want.Link ||
			got.Target != want.Target {
			t.Errorf("%s is %+v, want %+v", got.Path(), got, want)
		}
	}
	i, err := rootfs.NewIndex(part).Resolve("/shell")
	if err != nil {
		t.Fatal(err)
	}
	r, err := part.Open(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || string(data) != "a shell" {
		t.Errorf("the content is %q, %v", data, err)
	}
}

// TestAPartIsBounded makes a tree whose few objects stand for a million entries.
func TestAPartIsBounded(t *testing.T) {
	t.Parallel()
	src := objects{}
	metadata, err := object.EncodeDirMeta(&object.DirMeta{Mode: object.ModeDir | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	meta := src.put(object.TypeDirMeta, metadata)
	var tree object.Checksum
	for level := range 3 {
		list := &object.DirTree{}
		for i := range 100 {
			if level > 0 {
				list.Dirs = append(list.Dirs, object.DirEntry{Name: fmt.Sprintf("%03d", i), Tree: tree, Meta: meta})
			} else {
				list.Files = append(list.Files, object.FileEntry{Name: fmt.Sprintf("%03d", i), Checksum: object.Checksum{1}})
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
	id := src.put(object.TypeCommit, data)
	if _, err := rootfs.Part(t.Context(), src, id, []string{"/"}); !errors.Is(err, repo.ErrTooLarge) {
		t.Errorf("the error is %v, want ErrTooLarge", err)
	}
	if _, err := rootfs.Part(t.Context(), src, id, []string{"/000/000"}); !errors.Is(err, repo.ErrObjectNotFound) {
		t.Errorf("a small part: %v, want ErrObjectNotFound, since the file is not there", err)
	}
}
