package derived_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/derived"
)

// host is a repository with a transaction.
type host struct {
	*repo.Txn
	t *testing.T
}

func newHost(t *testing.T) *host {
	t.Helper()
	r := repotest.Init(t, repo.ModeArchive)
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := txn.Abort(); err != nil {
			t.Error(err)
		}
	})
	return &host{txn, t}
}

// layer makes a layer of lines: "d PATH", "f PATH CONTENT", "l PATH TARGET" (symlink), "h PATH TARGET" (hard link), "p
// PATH" (FIFO), "m PATH CONTENT" (a file with a time), "mh PATH TARGET" (a hard link with a time).
func layer(t testing.TB, lines ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, line := range lines {
		f := append(strings.SplitN(line, " ", 3), "", "")
		h := tar.Header{Name: f[1], Mode: 0o644, Uid: i + 1, Format: tar.FormatGNU}
		content := ""
		switch f[0] {
		case "d":
			h.Typeflag, h.Mode = tar.TypeDir, 0o700
		case "f", "m":
			h.Typeflag, h.Size, content = tar.TypeReg, int64(len(f[2])), f[2]
		case "l":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f[2], 0o600
		case "h", "mh":
			h.Typeflag, h.Linkname = tar.TypeLink, f[2]
		case "p":
			h.Typeflag = tar.TypeFifo
		default:
			t.Fatalf("what is %q?", line)
		}
		if f[0][0] == 'm' {
			h.ModTime = h.ModTime.AddDate(2020, 0, 0)
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (h *host) importLayer(opts derived.ImportOptions, lines ...string) (*derived.Layer, error) {
	return derived.Import(h.t.Context(), h.Txn, bytes.NewReader(layer(h.t, lines...)), opts)
}

// Import for a Txn.
func (h *host) mustImport(opts derived.ImportOptions, lines ...string) *derived.Layer {
	h.t.Helper()
	l, err := h.importLayer(opts, lines...)
	if err != nil {
		h.t.Fatal(err)
	}
	return l
}

// show lists a tree: a path for each directory with its mode if that is not 0755, and for each file its content, target
// or mode.
func show(ctx context.Context, t *testing.T, src repo.Source, tree *repo.MutableTree) []string {
	t.Helper()
	var out []string
	err := tree.Walk(ctx, func(p string, e repo.TreeEntry) error {
		if e.Dir {
			m, err := repo.LoadDirMeta(ctx, src, e.Meta)
			if err != nil {
				return err
			}
			if mode := m.Mode & object.ModePermMask; mode != 0o755 {
				p += fmt.Sprintf(" %o", mode)
			}
			out = append(out, p)
			return nil
		}
		r, info, err := src.OpenFile(ctx, e.File)
		if err != nil {
			return err
		}
		defer r.Close()
		data, err := io.ReadAll(r)
		line := p + " = " + string(data)
		if info.IsSymlink() {
			line = fmt.Sprintf("%s -> %s %o", p, info.Target, info.Mode)
		}
		if label, ok := info.Xattrs.Get("security.selinux"); ok {
			line += fmt.Sprintf(" [%s]", strings.TrimSuffix(string(label), "\x00"))
		}
		out = append(out, line)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestALayerIsStoredWithItsWhiteoutsAsFiles(t *testing.T) {
	h := newHost(t)
	l := h.mustImport(derived.ImportOptions{},
		"f usr/bin/tool 1", "d etc", "f etc/conf 2", "f etc/.wh.old ", "f .wh.opt ", "f opt/x 3", "f opt/y 3",
		"f run/a/b 4", "p usr/lib/fifo", "l usr/bin/link tool", "f usr/.wh..wh..opq ", "f usr/.wh..wh.plnk 5",
		"f .wh.etc ", "f var/lib/state 6",
	)
	tree, err := repo.TreeFromCommit(t.Context(), h, l.Commit)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/", "/usr", "/usr/.wh..wh..opq = ", "/usr/.wh.etc = ", "/usr/bin", "/usr/bin/link -> tool 120777",
		"/usr/bin/tool = 1", "/usr/etc 700", "/usr/etc/.wh.old = ", "/usr/etc/conf = 2", "/usr/lib",
		"/var", "/var/lib", "/var/lib/state = 6",
	}
	want = slices.DeleteFunc(want, func(s string) bool { return s == "/usr/lib" })
	if diff := cmp.Diff(want, show(t.Context(), t, h, tree)); diff != "" {
		t.Errorf("the layer's commit (-want +got):\n%s", diff)
	}
	filtered := map[string]int{".wh.opt": 1, "opt": 2, "a": 1, "usr/lib/fifo": 1}
	if !maps.Equal(l.Filtered, filtered) {
		t.Errorf("left out: %v, want %v", l.Filtered, filtered)
	}
}

func TestMissingDirectoriesBelongToWhatNeedsThem(t *testing.T) {
	h := newHost(t)
	l := h.mustImport(derived.ImportOptions{}, "f usr/lib/a 1", "d etc", "f usr/share/b 1", "f etc/x/c 1")
	view, err := repo.ViewCommit(t.Context(), h, l.Commit)
	if err != nil {
		t.Fatal(err)
	}
	// The owner of an entry is its position in the layer.
	for p, uid := range map[string]uint32{
		"/": 4, "/usr": 4, "/usr/lib": 1, "/usr/share": 3, "/usr/etc": 2, "/usr/etc/x": 4,
	} {
		item, err := view.Lookup(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		m, err := repo.LoadDirMeta(t.Context(), h, item.Meta)
		if err != nil {
			t.Fatal(err)
		}
		if m.UID != uid {
			t.Errorf("%s belongs to %d, want %d", p, m.UID, uid)
		}
	}
}

func TestEqualLayersHaveEqualCommits(t *testing.T) {
	lines := []string{"f usr/a 1", "h usr/b usr/lower", "f usr/c 2"}
	a, b := newHost(t), newHost(t)
	x, y := a.mustImport(derived.ImportOptions{}, lines...), b.mustImport(derived.ImportOptions{}, lines...)
	if x.Commit != y.Commit {
		t.Errorf("the commits are %s and %s", x.Commit, y.Commit)
	}
}

func TestFilesThatToolsChangedInAContainerReplaceThoseOfTheCommit(t *testing.T) {
	const object = "sysroot/ostree/repo/objects/ab/cd.file"
	h := newHost(t)
	l := h.mustImport(derived.ImportOptions{},
		"m "+object+" hello", "mh usr/bin/bash "+object, "mh usr/bin/again "+object, "mh etc/conf "+object,
		"mh usr/bin/unchanged sysroot/ostree/repo/objects/12/34.file",
		"h sysroot/ostree/repo/objects/45/67.file etc/dnf.conf",
	)
	tree, err := repo.TreeFromCommit(t.Context(), h, l.Commit)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/", "/usr", "/usr/bin", "/usr/bin/again = hello", "/usr/bin/bash = hello", "/usr/etc", "/usr/etc/conf = hello",
	}
	if diff := cmp.Diff(want, show(t.Context(), t, h, tree)); diff != "" {
		t.Errorf("the layer's commit (-want +got):\n%s", diff)
	}
}

func TestAnImageThatLostItsLabelsIsNotStoredTwice(t *testing.T) {
	const object = "sysroot/ostree/repo/objects/ab/cd.file"
	h := newHost(t)
	l := h.mustImport(derived.ImportOptions{Root: derived.Root{Other: true}},
		"d sysroot/ostree/repo", "f sysroot/ostree/repo/config x", "f "+object+"-xattrs-link ", "f "+object+" hello",
		"h usr/bin/bash "+object, "f opt/x 1",
	)
	tree, err := repo.TreeFromCommit(t.Context(), h, l.Commit)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/", "/opt", "/opt/x = 1", "/usr", "/usr/bin", "/usr/bin/bash = hello"}
	if diff := cmp.Diff(want, show(t.Context(), t, h, tree)); diff != "" {
		t.Errorf("the layer's commit (-want +got):\n%s", diff)
	}
}

func TestLayersAreMerged(t *testing.T) {
	base := []string{
		"d usr", "d usr/dir", "f usr/dir/a 1", "f usr/dir/b 1", "f usr/keep 1", "f usr/+x 1", "l usr/link dir",
		"d usr/etc", "f usr/etc/conf 1",
	}
	for _, c := range []struct {
		name  string
		layer []string
		want  []string // what differs from the base, a "-" in front of what is gone
	}{
		{"nothing", nil, nil},
		{"a file replaces a file", []string{"f usr/keep 2"}, []string{"-/usr/keep = 1", "/usr/keep = 2"}},
		{"a directory keeps its mode", []string{"d usr", "f usr/new 2"}, []string{"/usr/new = 2"}},
		{"a whiteout hides a file", []string{"f usr/.wh.keep "}, []string{"-/usr/keep = 1"}},
		{"a whiteout hides a directory", []string{"f usr/.wh.dir "},
			[]string{"-/usr/dir 700", "-/usr/dir/a = 1", "-/usr/dir/b = 1"}},
		{"a whiteout of nothing", []string{"f usr/.wh.nothing "}, nil},
		{"a whiteout does not hide what its layer brings", []string{"f usr/.wh.+x ", "f usr/+x 2"},
			[]string{"-/usr/+x = 1", "/usr/+x = 2"}},
		{"a whiteout beside the directory that replaces it", []string{"f usr/.wh.dir ", "f usr/dir/c 2"},
			[]string{"-/usr/dir 700", "-/usr/dir/a = 1", "-/usr/dir/b = 1", "/usr/dir", "/usr/dir/c = 2"}},
		{"an opaque directory", []string{"d usr/dir", "f usr/dir/.wh..wh..opq ", "f usr/dir/c 2"},
			[]string{"-/usr/dir/a = 1", "-/usr/dir/b = 1", "/usr/dir/c = 2"}},
		{"a file replaces a directory", []string{"f usr/dir 2"},
			[]string{"-/usr/dir 700", "-/usr/dir/a = 1", "-/usr/dir/b = 1", "/usr/dir = 2"}},
		{"a directory replaces a symlink", []string{"d usr/link", "f usr/link/c 2"},
			[]string{"-/usr/link -> dir 120777", "/usr/link 700", "/usr/link/c = 2"}},
		{"/etc is /usr/etc", []string{"f etc/.wh.conf ", "f etc/new 2"}, []string{"-/usr/etc/conf = 1", "/usr/etc/new = 2"}},
		{"a hard link to a lower file", []string{"h usr/hard usr/dir/a"}, []string{"/usr/hard = 1"}},
		{"a hard link through a symlink of the lower tree", []string{"h usr/hard usr/link/a"}, []string{"/usr/hard = 1"}},
		{"a hard link to a lower file that the layer hides", []string{"f usr/.wh.keep ", "h usr/hard usr/keep"},
			[]string{"-/usr/keep = 1", "/usr/hard = 1"}},
		{"a hard link to a hard link to a lower file", []string{"h usr/h1 usr/keep", "h usr/h2 usr/h1"},
			[]string{"/usr/h1 = 1", "/usr/h2 = 1"}},
		{"a hard link to a later file", []string{"h usr/h1 usr/new", "f usr/new 2"}, []string{"/usr/h1 = 2", "/usr/new = 2"}},
		{"a hard link to what its target was", []string{"f usr/new 2", "h usr/h1 usr/new", "f usr/new 3"},
			[]string{"/usr/h1 = 2", "/usr/new = 3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, ctx := newHost(t), t.Context()
			tree := repo.NewMutableTree()
			opts := derived.ImportOptions{}
			if _, err := derived.Merge(ctx, h.Txn, tree, h.mustImport(opts, base...).Commit); err != nil {
				t.Fatal(err)
			}
			before := show(ctx, t, h, tree)
			upper := h.mustImport(opts, c.layer...)
			links, err := derived.Merge(ctx, h.Txn, tree, upper.Commit)
			if err != nil {
				t.Fatal(err)
			}
			after := show(ctx, t, h, tree)
			if diff := cmp.Diff(slices.Sorted(slices.Values(c.want)), difference(before, after)); diff != "" {
				t.Errorf("the merged tree (-want +got):\n%s", diff)
			}
			// A layer with links to lower layers has the files afterwards, and gives the same tree again.
			resolved, err := derived.Resolved(ctx, h.Txn, upper.Commit, links)
			if err != nil {
				t.Fatal(err)
			}
			again := repo.NewMutableTree()
			for _, l := range []object.Checksum{h.mustImport(opts, base...).Commit, resolved} {
				if _, err := derived.Merge(ctx, h.Txn, again, l); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(after, show(ctx, t, h, again)); diff != "" {
				t.Errorf("the second merge (-first +second):\n%s", diff)
			}
		})
	}
}

func difference(before, after []string) []string {
	var out []string
	for _, line := range before {
		if !slices.Contains(after, line) {
			out = append(out, "-"+line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

func TestInvalidLayersAreRefused(t *testing.T) {
	for name, lines := range map[string][]string{
		"a path that leads upwards":        {"f usr/../../x 1"},
		"a root that is a file":            {"f . 1"},
		"a root that is a hard link":       {"h . usr/x"},
		"a hard link to itself":            {"h usr/x usr/x"},
		"a hard link to a file left out":   {"f opt/x 1", "h usr/x opt/x"},
		"a link to objects in no place":    {"h usr/x run/x"},
		"a symlink without a target":       {"l usr/x "},
		"a hard link that leads upwards":   {"h usr/x ../../x"},
		"a hard link through a parent dir": {"h usr/x usr/../x"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := newHost(t).importLayer(derived.ImportOptions{}, lines...); !errors.Is(err, tarfmt.ErrInvalidStream) {
				t.Errorf("the error is %v, want ErrInvalidStream", err)
			}
		})
	}
	h := newHost(t)
	dangling := h.mustImport(derived.ImportOptions{}, "h usr/x usr/nowhere")
	for _, base := range [][]string{nil, {"f usr/other 1"}, {"d usr/nowhere"}} {
		tree := repo.NewMutableTree()
		if base != nil {
			lower := h.mustImport(derived.ImportOptions{}, base...)
			if _, err := derived.Merge(t.Context(), h.Txn, tree, lower.Commit); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := derived.Merge(t.Context(), h.Txn, tree, dangling.Commit); !errors.Is(err, tarfmt.ErrInvalidStream) {
			t.Errorf("a dangling hard link above %v: %v, want ErrInvalidStream", base, err)
		}
	}
}

// byPath labels everything by its path, except what is in /usr/plain.
func byPath(p string, mode uint32) (string, error) {
	if strings.HasPrefix(p, "/usr/plain") {
		return "", nil
	}
	return fmt.Sprintf("label:%s:%o", p, mode&object.ModeTypeMask), nil
}

func TestLabelsAreThoseOfTheMergedTree(t *testing.T) {
	h, ctx := newHost(t), t.Context()
	tree := repo.NewMutableTree()
	// The layer is imported with other labels than those of the policy in the merged tree.
	old := derived.ImportOptions{Label: func(string, uint32) (string, error) { return "old", nil }}
	l := h.mustImport(old, "f usr/a 1", "h usr/b usr/a", "f usr/plain 1", "l usr/s a")
	if _, err := derived.Merge(ctx, h.Txn, tree, l.Commit); err != nil {
		t.Fatal(err)
	}
	labeller := derived.NewLabeller(h.Txn, byPath)
	if changed, err := labeller.Tree(ctx, tree); !changed || err != nil {
		t.Fatalf("changed %v, %v", changed, err)
	}
	want := []string{
		"/", "/usr", "/usr/a = 1 [label:/usr/a:100000]", "/usr/b = 1 [label:/usr/b:100000]", "/usr/plain = 1",
		"/usr/s -> a 120777 [label:/usr/s:120000]",
	}
	if diff := cmp.Diff(want, show(ctx, t, h, tree)); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if changed, err := labeller.Tree(ctx, tree); changed || err != nil {
		t.Errorf("the second time: changed %v, %v", changed, err)
	}
	// Imported with the right labels, the layer has the same objects.
	fresh := h.mustImport(derived.ImportOptions{Label: byPath}, "f usr/a 1", "f usr/b 1", "f usr/plain 1", "l usr/s a")
	again, err := repo.TreeFromCommit(ctx, h, fresh.Commit)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, show(ctx, t, h, again)); diff != "" {
		t.Errorf("labels of an import (-want +got):\n%s", diff)
	}
}

func TestALayerOfAnotherRootDoesNotFit(t *testing.T) {
	h := newHost(t)
	l := h.mustImport(derived.ImportOptions{Root: derived.Root{Other: true}}, "f usr/a 1")
	same, other := derived.Root{Other: true}, derived.Root{}
	if !derived.Fits(t.Context(), h, l.Commit, same) || derived.Fits(t.Context(), h, l.Commit, other) {
		t.Error("the layer should fit the root that it was imported for, and no other")
	}
}

func FuzzImport(f *testing.F) {
	f.Add(layer(f, "f usr/a 1", "h usr/b usr/a", "f usr/.wh.x "), false)
	f.Add(layer(f, "m sysroot/ostree/repo/objects/ab/cd.file 1", "mh etc/x sysroot/ostree/repo/objects/ab/cd.file"), true)
	f.Add(layer(f, "d usr", "f usr 1", "d usr", "h usr/a usr/b", "h usr/b usr/c"), false)
	r := repotest.Init(f, repo.ModeArchive)
	f.Fuzz(func(t *testing.T, data []byte, other bool) {
		txn, err := r.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		opts := derived.ImportOptions{Root: derived.Root{Other: other}}
		if l, err := derived.Import(t.Context(), txn, bytes.NewReader(data), opts); err == nil {
			if err := txn.VerifyComplete(t.Context(), l.Commit); err != nil {
				t.Errorf("the commit of a layer: %v", err)
			}
			_, _ = derived.Merge(t.Context(), txn, repo.NewMutableTree(), l.Commit)
		}
		if err := txn.Abort(); err != nil {
			t.Fatal(err)
		}
	})
}
