//go:build interop

package repo_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// boundRepo has a chain of two commits under main, and a commit under app that is bound to app and to next as well.
func boundRepo(t *testing.T) *repo.Repo {
	t.Helper()
	r, dir := repotest.Init(t, repo.ModeArchive), t.TempDir()
	for _, args := range [][]string{{"-b", "main"}, {"-b", "main"}, {"-b", "app", "--bind-ref=next"}} {
		write(t, filepath.Join(dir, "f"+args[1]), strings.Join(args, " "))
		write(t, filepath.Join(dir, "n"), string(rune('a'+len(objectNames(t, r)))))
		ostree(t, r.Path(), append([]string{"commit", "--timestamp=@1700000000", dir}, args...)...)
	}
	return r
}

func objectOf(r *repo.Repo, n object.Name) string {
	s := n.String()
	return filepath.Join(r.Path(), "objects", s[:2], s[2:])
}

// damage overwrites every content object of a repository of mode archive with another object's bytes.
func damage(t *testing.T, r *repo.Repo) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(r.Path(), "objects/*/*.filez"))
	if err != nil || len(found) < 2 {
		t.Fatal(found, err)
	}
	first, err := os.ReadFile(found[0])
	for _, name := range found[1:] {
		err = errors.Join(err, os.WriteFile(name, first, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// partial lists the marks of partial commits.
func partial(t *testing.T, r *repo.Repo) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(r.Path(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(r.Path(), "state", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Name()+" "+string(data))
	}
	return names
}

// Tombstones are not compared: libostree 2022.7 deletes the child of a missing commit instead of leaving a tombstone,
// so that its ref names nothing. We do what the manual page says; a script test of the command covers it.
func TestFsckFindsAndDoesWhatLibostreesDoes(t *testing.T) {
	t.Parallel()
	nothing := func(*testing.T, *repo.Repo) {}
	unboundRef := func(t *testing.T, r *repo.Repo) {
		c, err := r.ResolveRef("main")
		if err := errors.Join(err, r.SetRef(t.Context(), "copy", c)); err != nil {
			t.Fatal(err)
		}
	}
	noParent := func(t *testing.T, r *repo.Repo) {
		c, err := r.ResolveRev("main^")
		if err := errors.Join(err, os.Remove(objectOf(r, object.Name{Checksum: c, Type: object.TypeCommit}))); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name  string
		spoil func(*testing.T, *repo.Repo)
		args  []string
		opts  repo.FsckOptions
		fails bool
	}{
		{"whole", nothing, nil, repo.FsckOptions{}, false},
		{"bindings", nothing, []string{"--verify-bindings"}, repo.FsckOptions{VerifyBindings: true}, false},
		{"back-refs", nothing, []string{"--verify-back-refs"}, repo.FsckOptions{VerifyBackRefs: true}, true},
		{"a ref more", unboundRef, nil, repo.FsckOptions{}, false},
		{"a ref that a commit is not bound to", unboundRef, []string{"--verify-bindings"},
			repo.FsckOptions{VerifyBindings: true}, true},
		{"no parent", noParent, nil, repo.FsckOptions{}, false},
		{"corrupt", damage, nil, repo.FsckOptions{}, true},
		{"all that is corrupt", damage, []string{"--all"}, repo.FsckOptions{All: true}, true},
		{"corrupt and deleted", damage, []string{"--delete"}, repo.FsckOptions{Delete: true}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			theirs, ours := boundRepo(t), boundRepo(t)
			test.spoil(t, theirs)
			test.spoil(t, ours)
			said, err := tryOstree(t.Context(), theirs.Path(), append([]string{"fsck"}, test.args...)...)
			if (err != nil) != test.fails {
				t.Errorf("ostree: %v: %s", err, said)
			}
			report, err := ours.Fsck(t.Context(), test.opts)
			if (err != nil) != test.fails {
				t.Errorf("got %+v, %v", report, err)
			}
			if diff := cmp.Diff(objectNames(t, theirs), objectNames(t, ours)); diff != "" {
				t.Errorf("objects (-theirs +ours): %s", diff)
			}
			if diff := cmp.Diff(partial(t, theirs), partial(t, ours)); diff != "" {
				t.Errorf("marks (-theirs +ours): %s", diff)
			}
			again, errA := tryOstree(t.Context(), ours.Path(), "fsck")
			_, errB := theirs.Fsck(t.Context(), repo.FsckOptions{})
			if (errA != nil) != (errB != nil) {
				t.Errorf("afterwards: ostree says %v of ours: %s; we say %v of theirs", errA, again, errB)
			}
		})
	}
}

func TestPruneOfSingleBranchesEqualsLibostrees(t *testing.T) {
	t.Parallel()
	src, dir := repotest.Init(t, repo.ModeArchive), t.TempDir()
	for _, ref := range []string{"one", "two", "three"} {
		var parent object.Checksum
		for _, content := range []string{"1", "2", "3"} {
			write(t, filepath.Join(dir, "f"), ref+content)
			parent = commitDir(t, src, dir, ref, parent, repo.TreeOptions{})
		}
	}
	zero, one := 0, 1
	for _, test := range []struct {
		args  []string
		opts  repo.PruneOptions
		fails bool
	}{
		{[]string{"--only-branch=one", "--depth=0"}, repo.PruneOptions{OnlyBranches: []string{"one"}, Depth: &zero}, false},
		{[]string{"--only-branch=one", "--only-branch=two", "--depth=1"},
			repo.PruneOptions{OnlyBranches: []string{"one", "two"}, Depth: &one}, false},
		{[]string{"--only-branch=nosuch", "--depth=0"}, repo.PruneOptions{OnlyBranches: []string{"nosuch"}, Depth: &zero},
			true},
		{[]string{"--retain-branch-depth=one=1", "--depth=0"},
			repo.PruneOptions{RetainBranchDepth: map[string]int{"one": 1}, Depth: &zero}, false},
		{[]string{"--only-branch=one", "--keep-younger-than=2020-01-01"},
			repo.PruneOptions{OnlyBranches: []string{"one"}, KeepYoungerThan: time.Unix(1577836800, 0)}, false},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			t.Parallel()
			ours, theirs := repotest.Init(t, repo.ModeArchive), repotest.Init(t, repo.ModeArchive)
			for _, r := range []*repo.Repo{ours, theirs} {
				if _, err := r.PullLocal(t.Context(), src, nil, repo.PullOptions{Depth: repo.AllHistory}); err != nil {
					t.Fatal(err)
				}
			}
			if said, err := tryOstree(t.Context(), theirs.Path(),
				append([]string{"prune"}, test.args...)...); (err != nil) != test.fails {
				t.Errorf("ostree: %v: %s", err, said)
			}
			if _, err := ours.Prune(t.Context(), test.opts); (err != nil) != test.fails {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff(objectNames(t, theirs), objectNames(t, ours)); diff != "" {
				t.Errorf("(-theirs +ours): %s", diff)
			}
		})
	}
}

func TestCommitModifiersGiveLibostreesCommit(t *testing.T) {
	t.Parallel()
	dir := oddTree(t, 3)
	file := func(content string) string {
		name := filepath.Join(t.TempDir(), "list")
		write(t, name, content)
		return name
	}
	overrides, skip := "+2048 /odd/hard1\n=384 /odd/xattr\n=0 /odd/dir/sticky\n", "/odd/many\n/odd/cap\n"
	both := func(change func(*repo.TreeOptions)) repo.TreeOptions {
		var o repo.TreeOptions
		change(&o)
		return o
	}
	parseOverrides := func(o *repo.TreeOptions) {
		var err error
		if o.Overrides, err = repo.ParseStatOverrides(strings.NewReader(overrides)); err != nil {
			t.Fatal(err)
		}
	}
	parseSkip := func(o *repo.TreeOptions) {
		var err error
		if o.Skip, err = repo.ParseSkipList(strings.NewReader(skip)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		args []string
		opts repo.TreeOptions
	}{
		{"mode-ro-executables", []string{"--mode-ro-executables"}, repo.TreeOptions{ReadOnlyExecutables: true}},
		{"statoverride", []string{"--statoverride=" + file(overrides)}, both(parseOverrides)},
		{"skip-list", []string{"--skip-list=" + file(skip)}, both(parseSkip)},
		{"no-xattrs", []string{"--no-xattrs"}, repo.TreeOptions{NoXattrs: true}},
		{"canonical-permissions", []string{"--canonical-permissions"}, repo.TreeOptions{CanonicalPermissions: true}},
		{"all", []string{"--mode-ro-executables", "--statoverride=" + file(overrides), "--skip-list=" + file(skip),
			"--owner-uid=7", "--owner-gid=8"},
			both(func(o *repo.TreeOptions) {
				parseOverrides(o)
				parseSkip(o)
				uid, gid := uint32(7), uint32(8)
				o.ReadOnlyExecutables, o.OwnerUID, o.OwnerGID = true, &uid, &gid
			})},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			theirs, ours := repotest.Init(t, repo.ModeArchive), repotest.Init(t, repo.ModeArchive)
			want, got := ostreeCommit(t, theirs, dir, "main", test.args...),
				commitDir(t, ours, dir, "main", object.Checksum{}, test.opts)
			if got != want {
				t.Errorf("(-theirs +ours): %s", cmp.Diff(listing(t, theirs, want), listing(t, ours, got)))
			}
		})
	}
}

func TestBoundRefsAreWrittenAsLibostreeWritesThem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "f")
	r := repotest.Init(t, repo.ModeArchive)
	for _, refs := range [][]string{{"main"}, {"main", "z", "a"}, {"main", "a", "a"}} {
		args := []string{"commit", "-b", "main", "--parent=none", "-s", "test", "--timestamp=@1700000000", dir}
		for _, ref := range refs[1:] {
			args = append(args, "--bind-ref="+ref)
		}
		want := strings.TrimSpace(ostree(t, r.Path(), args...))
		theirs, err := object.ParseChecksum(want)
		if err != nil {
			t.Fatal(err)
		}
		commit, err := repo.LoadCommit(t.Context(), r, theirs)
		if err != nil {
			t.Fatal(err)
		}
		commit.Metadata = repo.BindRefs(nil, slices.Clone(refs), "")
		data, err := object.EncodeCommit(commit)
		if err != nil {
			t.Fatal(err)
		}
		if got := object.HashMetadata(data); got != theirs {
			t.Errorf("%q: got %s, want %s", refs, got, theirs)
		}
	}
}
