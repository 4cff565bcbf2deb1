package plan

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/plain"
)

// owned is a tree whose files all belong to root.
type owned struct{ rootfs.Tree }

func (o owned) Entries() *rootfs.List {
	return o.Tree.Entries().WithHeaders(func(h *object.FileHeader) *object.FileHeader {
		other := object.FileHeader{Mode: h.Mode&object.ModeTypeMask | 0o755, Target: h.Target}
		if other.IsSymlink() {
			other.Mode = h.Mode
		}
		return &other
	})
}

// matched returns a tree with /dir/a, its hard link /dir/b, /dir/c, the symlink /link, and the directory /empty.
func matched(t *testing.T) rootfs.Tree {
	t.Helper()
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	err := errors.Join(
		os.MkdirAll(at("dir"), 0o755), os.Mkdir(at("empty"), 0o755),
		os.WriteFile(at("dir/a"), []byte("one"), 0o755), os.Link(at("dir/a"), at("dir/b")),
		os.WriteFile(at("dir/c"), []byte("two"), 0o755), os.Symlink("dir/a", at("link")))
	if err != nil {
		t.Fatal(err)
	}
	d, err := rootfs.Dir(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	hashed, err := rootfs.Hash(t.Context(), plain.View(owned{d}))
	if err != nil {
		t.Fatal(err)
	}
	return hashed
}

// A layer of another program can be taken over if the tree has every entry of it, unchanged.
func TestALayerMatchesATreeThatHasAllOfIt(t *testing.T) {
	t.Parallel()
	tree := matched(t)
	file := func(name, content string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(content)), Linkname: content}
	}
	dir := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }
	link := func(name, to string) tar.Header { return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to} }
	foreign := file("dir/a", "one")
	foreign.Uid = 1000
	private := dir("dir")
	private.Mode = 0o700
	for name, test := range map[string]struct {
		layer []tar.Header
		want  []string // nil if the layer has anything else
		err   error
	}{
		"nothing":           {nil, []string{}, nil},
		"directories alone": {[]tar.Header{dir("./"), dir("empty/")}, []string{}, nil},
		"files in any order": {[]tar.Header{file("dir/c", "two"), dir("dir/"), file("dir/a", "one")},
			[]string{"/dir/c", "/dir/a"}, nil},
		"a hard link": {[]tar.Header{file("./dir/a", "one"), link("dir/b", "./dir/a")},
			[]string{"/dir/a", "/dir/b"}, nil},
		"a link that is a file here": {[]tar.Header{file("dir/a", "one"), file("dir/b", "one")},
			[]string{"/dir/a", "/dir/b"}, nil},
		"a directory twice": {[]tar.Header{dir("dir"), dir("dir")}, []string{}, nil},
		"a symlink": {[]tar.Header{
			{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "dir/a", Mode: 0o777},
		}, []string{"/link"}, nil},
		"another content":             {[]tar.Header{file("dir/a", "two")}, nil, nil},
		"another owner":               {[]tar.Header{foreign}, nil, nil},
		"another mode of a directory": {[]tar.Header{private}, nil, nil},
		"another kind":                {[]tar.Header{file("empty", "one")}, nil, nil},
		"another target": {[]tar.Header{
			{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "dir/b", Mode: 0o777},
		}, nil, nil},
		"a file that is gone":            {[]tar.Header{file("dir/a", "one"), file("dir/gone", "one")}, nil, nil},
		"a link to another content":      {[]tar.Header{file("dir/a", "one"), link("dir/c", "dir/a")}, nil, nil},
		"a link in place of a directory": {[]tar.Header{file("dir/a", "one"), link("empty", "dir/a")}, nil, nil},
		"a file twice": {[]tar.Header{file("dir/a", "one"), file("./dir/a", "one")}, nil,
			tarfmt.ErrInvalidStream},
		"a link out of the layer": {[]tar.Header{link("dir/b", "dir/a")}, nil, tarfmt.ErrInvalidStream},
		"a link to a directory":   {[]tar.Header{dir("dir"), link("dir/b", "dir")}, nil, tarfmt.ErrInvalidStream},
		"a whiteout":              {[]tar.Header{file("dir/.wh.a", "")}, nil, tarfmt.ErrInvalidStream},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stream bytes.Buffer
			w := tar.NewWriter(&stream)
			for _, h := range test.layer {
				content := h.Linkname
				if h.Typeflag == tar.TypeReg {
					h.Linkname = ""
				}
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
				if h.Typeflag == tar.TypeReg {
					if _, err := w.Write([]byte(content)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			entries, all, err := match(tree, plain.List(t.Context(), &stream))
			if !errors.Is(err, test.err) {
				t.Fatalf("got %v, want %v", err, test.err)
			}
			got := []string{}
			for _, i := range entries {
				got = append(got, tree.Entries().At(int(i)).Path())
			}
			if !all {
				got = nil
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
