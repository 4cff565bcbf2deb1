package repo_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// commitDir commits a directory, as owned by root, and returns the commit.
func commitDir(t testing.TB, r *repo.Repo, dir, ref string, parent object.Checksum,
	opts repo.TreeOptions) object.Checksum {
	t.Helper()
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	mt := repo.NewMutableTree()
	if err := txn.AddDirectory(t.Context(), mt, dir, opts); err != nil {
		t.Fatal(err)
	}
	tree, meta, err := mt.WriteTo(t.Context(), txn)
	if err != nil {
		t.Fatal(err)
	}
	c, err := txn.WriteCommit(t.Context(), &object.Commit{Parent: parent, Subject: "test", Timestamp: 1700000000,
		Tree: tree, Meta: meta})
	if err != nil {
		t.Fatal(err)
	}
	if ref != "" {
		if err := txn.SetRef(ref, c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// asRoot changes the owner of the test's user to root.
func asRoot() repo.TreeOptions { return repo.TreeOptions{OwnerUID: new(uint32), OwnerGID: new(uint32)} }

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func listing(t testing.TB, src repo.Source, c object.Checksum) string {
	t.Helper()
	var b strings.Builder
	err := repo.List(t.Context(), src, c, "/", repo.ListOptions{Recursive: true}, func(e *repo.ListEntry) error {
		b.WriteString(e.Line(true, true) + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestListingEqualsLibostrees(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 2; n++ {
		r := repotest.Init(t, repo.ModeArchive)
		c := repotest.CommitRelease(t, r, n)
		if diff := cmp.Diff(repotest.ReleaseListing(n), listing(t, r, c)); diff != "" {
			t.Errorf("release %d: %s", n, diff)
		}
	}
}

func TestDirectoryOnDiskHasTheIdsOfItsTree(t *testing.T) {
	t.Parallel()
	for _, mode := range []repo.Mode{repo.ModeArchive, repo.ModeBareUser, repo.ModeBareUserOnly} {
		dir := t.TempDir()
		tree := repotest.Canonical(repotest.Vectors())
		if err := repotest.MakeDir(dir, tree, true); err != nil {
			t.Fatal(err)
		}
		r := repotest.Init(t, mode)
		want := repotest.Commit(t, r, tree, "")
		opts := asRoot()
		opts.NoXattrs = true
		if got := commitDir(t, r, dir, "main", object.Checksum{}, opts); got != want {
			t.Errorf("%s: got %s, want %s", mode, got, want)
		}
		if report, err := r.Fsck(t.Context(), repo.FsckOptions{}); err != nil || report.Commits != 1 {
			t.Errorf("%s: got %+v, %v", mode, report, err)
		}
		out := filepath.Join(t.TempDir(), "out")
		if err := r.Checkout(t.Context(), want, out, repo.CheckoutOptions{User: true}); err != nil {
			t.Fatal(err)
		}
		if got := commitDir(t, r, out, "", object.Checksum{}, opts); got != want {
			t.Errorf("%s: checkout gives %s, want %s", mode, got, want)
		}
	}
}

func TestModifiersAreAppliedInOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "skip/x", "keep/x"} {
		write(t, filepath.Join(dir, name), name)
	}
	overrides, err := repo.ParseStatOverrides(strings.NewReader("+2048 /a\n=384 /b\n1 /absent\n"))
	if err != nil {
		t.Fatal(err)
	}
	skip, err := repo.ParseSkipList(strings.NewReader("/skip\n/not/there\n"))
	if err != nil {
		t.Fatal(err)
	}
	opts := asRoot()
	opts.Overrides, opts.Skip = overrides, skip
	r := repotest.Init(t, repo.ModeArchive)
	c := commitDir(t, r, dir, "", object.Checksum{}, opts)
	var got []string
	err = repo.List(t.Context(), r, c, "", repo.ListOptions{Recursive: true}, func(e *repo.ListEntry) error {
		got = append(got, e.Line(false, false))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"-04644 0 0      1 /a", "-00600 0 0      1 /b", "d00755 0 0      0 /keep",
		"-00644 0 0      6 /keep/x"}
	if diff := cmp.Diff(want, got[1:]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"/absent", "/not/there"},
		append(overrides.Unmatched(), skip.Unmatched()...)); diff != "" {
		t.Error(diff)
	}
}

func TestMutableTreeConflictsAndOverlay(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := repotest.Init(t, repo.ModeArchive)
	c := repotest.CommitRelease(t, r, 1)
	mt, err := repo.TreeFromCommit(ctx, r, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := mt.SetFile(ctx, "usr", c); !errors.Is(err, repo.ErrConflict) {
		t.Errorf("got %v", err)
	}
	if err := mt.EnsureDir(ctx, "bin"); !errors.Is(err, repo.ErrConflict) {
		t.Errorf("got %v", err)
	}
	if err := mt.Remove(ctx, "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(mt.Remove(ctx, "usr"), mt.Overlay(ctx, r, c)); err != nil {
		t.Fatal(err)
	}
	txn, err := r.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	commit, err := repo.LoadCommit(ctx, r, c)
	if err != nil {
		t.Fatal(err)
	}
	if tree, meta, err := mt.WriteTo(ctx, txn); err != nil || tree != commit.Tree || meta != commit.Meta {
		t.Errorf("got %s %s %v", tree, meta, err)
	}
	if _, _, err := repo.NewMutableTree().WriteTo(ctx, txn); !errors.Is(err, repo.ErrEmptyTree) {
		t.Errorf("got %v", err)
	}
}

// Test every kind of change, and a file that replaces a directory.
func TestDiff(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	dir := t.TempDir()
	for _, name := range []string{"usr/bin/bash", "usr/bin/sh", "etc/conf", "becomes/dir"} {
		write(t, filepath.Join(dir, name), "old")
	}
	from := commitDir(t, r, dir, "", object.Checksum{}, asRoot())
	write(t, filepath.Join(dir, "usr/bin/newbin"), "new")
	write(t, filepath.Join(dir, "usr/share/x/y"), "new")
	write(t, filepath.Join(dir, "usr/bin/sh"), "new")
	if err := errors.Join(os.Remove(filepath.Join(dir, "usr/bin/bash")), os.RemoveAll(filepath.Join(dir, "becomes")),
		os.Chmod(filepath.Join(dir, "etc"), 0o700), os.WriteFile(filepath.Join(dir, "becomes"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	to := commitDir(t, r, dir, "", object.Checksum{}, asRoot())
	got, err := repo.Diff(t.Context(), r, from, to, "/")
	if err != nil {
		t.Fatal(err)
	}
	want := &repo.TreeDiff{Subdir: "/", AddedFiles: []string{"/becomes", "/usr/bin/newbin"},
		AddedDirs:    []string{"/usr/share"},
		RemovedFiles: []string{"/usr/bin/bash"}, RemovedDirs: []string{"/becomes"},
		ChangedFiles: []string{"/usr/bin/sh"}, ChangedDirs: []string{"/etc"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err = repo.Diff(t.Context(), r, from, to,
		"/usr"); err != nil || len(got.AddedDirs) != 1 || got.AddedDirs[0] != "/share" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPruneKeepsWhatRefsNeed(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	dir := t.TempDir()
	var parent object.Checksum
	var chain []object.Checksum
	for _, content := range []string{"1", "2", "3"} {
		write(t, filepath.Join(dir, "f"), content)
		parent = commitDir(t, r, dir, "main", parent, asRoot())
		chain = append(chain, parent)
	}
	ctx := t.Context()
	if s, err := r.Prune(ctx, repo.PruneOptions{RefsOnly: true}); err != nil || s.Deleted != 0 || s.Total != 10 {
		t.Errorf("got %+v, %v", s, err)
	}
	depth := 1
	if s, err := r.Prune(ctx, repo.PruneOptions{RefsOnly: true, Depth: &depth,
		NoPrune: true}); err != nil || s.Deleted != 3 {
		t.Errorf("got %+v, %v", s, err)
	}
	if s, err := r.Prune(ctx, repo.PruneOptions{RefsOnly: true, Depth: &depth}); err != nil || s.Deleted != 3 {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := r.Prune(ctx, repo.PruneOptions{DeleteCommits: chain[2:]}); !errors.Is(err, repo.ErrCommitInUse) {
		t.Errorf("got %v", err)
	}
	if s, err := r.Prune(ctx, repo.PruneOptions{DeleteCommits: chain[1:2]}); err != nil || s.Deleted != 2 {
		t.Errorf("got %+v, %v", s, err)
	}
	if ok, err := r.Has(object.Name{Checksum: chain[1], Type: object.TypeTombstone}); !ok || err != nil {
		t.Errorf("no tombstone: %v", err)
	}
	if s, err := r.Prune(ctx, repo.PruneOptions{KeepYoungerThan: time.Now()}); err != nil || s.Deleted != 0 {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := r.Fsck(ctx, repo.FsckOptions{}); err != nil {
		t.Error(err)
	}
}

func TestFsckFindsMissingAndCorruptObjects(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeBareUserOnly)
	c := repotest.CommitRelease(t, r, 1)
	var files []object.Name
	err := repo.Traverse(t.Context(), r, []object.Checksum{c}, repo.TraverseOptions{}, func(n object.Name) error {
		if info, err := r.FileInfo(t.Context(), n.Checksum); n.Type == object.TypeFile && err == nil && info.Size > 0 {
			files = append(files, n)
		}
		return nil
	})
	if err != nil || len(files) < 2 {
		t.Fatal(len(files), err)
	}
	at := func(n object.Name) string {
		id := n.Checksum.String()
		return filepath.Join(r.Path(), "objects", id[:2], id[2:]+".file")
	}
	if err := errors.Join(os.Remove(at(files[0])), os.Chmod(at(files[1]), 0o644),
		os.WriteFile(at(files[1]), []byte("x"), 0)); err != nil {
		t.Fatal(err)
	}
	report, err := r.Fsck(t.Context(), repo.FsckOptions{Delete: true})
	if !errors.Is(err, repo.ErrRepositoryCorrupt) || len(report.Problems) != 2 {
		t.Fatalf("got %+v, %v", report, err)
	}
	for _, p := range report.Problems {
		if len(p.Commits) != 1 || p.Commits[0] != c {
			t.Errorf("got %v", p)
		}
	}
	if state, err := r.IsPartial(c); state != repo.CommitFsckPartial || err != nil {
		t.Errorf("got %v, %v", state, err)
	}
}

func TestPullBetweenModes(t *testing.T) {
	t.Parallel()
	modes := []repo.Mode{repo.ModeArchive, repo.ModeBareUser, repo.ModeBareUserOnly}
	for _, from := range modes {
		src := repotest.Init(t, from)
		c := repotest.Commit(t, src, repotest.Canonical(repotest.Release(1)), "main")
		for _, to := range modes {
			for _, untrusted := range []bool{false, true} {
				dest := repotest.Init(t, to)
				if _, err := dest.PullLocal(t.Context(), src, nil, repo.PullOptions{Untrusted: untrusted}); err != nil {
					t.Errorf("%s to %s: %v", from, to, err)
					continue
				}
				if got, err := dest.ResolveRef("main"); got != c || err != nil {
					t.Errorf("%s to %s: got %s, %v", from, to, got, err)
				}
				if _, err := dest.Fsck(t.Context(), repo.FsckOptions{}); err != nil {
					t.Errorf("%s to %s: %v", from, to, err)
				}
			}
		}
	}
}

func TestCanonicalModeRefusesOtherObjects(t *testing.T) {
	t.Parallel()
	src, dest := repotest.Init(t, repo.ModeBareUser), repotest.Init(t, repo.ModeBareUserOnly)
	repotest.CommitRelease(t, src, 1)
	if _, err := dest.PullLocal(t.Context(), src, nil, repo.PullOptions{}); err == nil {
		t.Error("got no error")
	}
	if refs, err := dest.Refs(""); len(refs) > 0 || err != nil {
		t.Errorf("got %v, %v", refs, err)
	}
}

func TestCheckoutOverwriting(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeBareUserOnly)
	src := t.TempDir()
	write(t, filepath.Join(src, "d/f"), "new")
	write(t, filepath.Join(src, "d/g"), "new")
	c := commitDir(t, r, src, "", object.Checksum{}, asRoot())
	for _, test := range []struct {
		how   repo.Overwrite
		links bool
		want  string
		fails bool
	}{
		{repo.OverwriteNone, false, "old", true},
		{repo.OverwriteUnion, false, "new", false},
		{repo.OverwriteUnionAdd, false, "old", false},
		{repo.OverwriteUnionIdentical, true, "old", true},
	} {
		dest := t.TempDir()
		write(t, filepath.Join(dest, "d/f"), "old")
		err := r.Checkout(t.Context(), c, dest,
			repo.CheckoutOptions{User: true, Overwrite: test.how, RequireHardlinks: test.links})
		if (err != nil) != test.fails {
			t.Errorf("%d: got error %v", test.how, err)
		}
		if got, err := os.ReadFile(filepath.Join(dest, "d/f")); string(got) != test.want || err != nil {
			t.Errorf("%d: got %q, %v", test.how, got, err)
		}
	}
}

func TestCheckoutNeverLeavesItsDestination(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	src, outside, dest := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(src, "d/f"), "new")
	c := commitDir(t, r, src, "", object.Checksum{}, asRoot())
	if err := os.Symlink(outside, filepath.Join(dest, "d")); err != nil {
		t.Fatal(err)
	}
	if err := r.Checkout(t.Context(), c, dest,
		repo.CheckoutOptions{User: true, Overwrite: repo.OverwriteUnion}); err == nil {
		t.Error("got no error")
	}
	if names, err := os.ReadDir(outside); len(names) > 0 || err != nil {
		t.Errorf("got %v, %v", names, err)
	}
}

func TestCheckoutWhiteouts(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	src, dest := t.TempDir(), t.TempDir()
	for _, name := range []string{".wh.gone", "opaque/.wh..wh..opq", "opaque/new"} {
		write(t, filepath.Join(src, name), "")
	}
	for _, name := range []string{"gone/a/b", "kept", "opaque/old"} {
		write(t, filepath.Join(dest, name), "")
	}
	c := commitDir(t, r, src, "", object.Checksum{}, asRoot())
	err := r.Checkout(t.Context(), c, dest,
		repo.CheckoutOptions{User: true, Overwrite: repo.OverwriteUnion, Whiteouts: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = fs.WalkDir(os.DirFS(dest), ".", func(p string, _ fs.DirEntry, err error) error {
		got = append(got, p)
		return err
	})
	if diff := cmp.Diff([]string{".", "kept", "opaque", "opaque/new"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestAddDirectoryStopsAtTheFirstError(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	dir := t.TempDir()
	for i := range 600 {
		write(t, filepath.Join(dir, "d", strings.Repeat("x", i%200+1)), "x")
	}
	ctx, cancel := context.WithCancel(t.Context())
	txn, err := r.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	failure := errors.New("enough")
	opts := repo.TreeOptions{Label: func(path string, _ uint32) (string, error) {
		if strings.Count(path, "x") > 50 {
			return "", failure
		}
		return "label", nil
	}}
	if err := txn.AddDirectory(ctx, repo.NewMutableTree(), dir, opts); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	cancel()
	if err := txn.AddDirectory(ctx, repo.NewMutableTree(), dir, repo.TreeOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
