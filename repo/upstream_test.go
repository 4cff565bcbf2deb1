package repo_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// These are the ids, the content checksum and the objects that upstream's tests or programs give to the tree.
func TestUpstream_CommitsOfUpstreamsTests(t *testing.T) {
	t.Parallel()
	for _, mode := range []repo.Mode{repo.ModeArchive, repo.ModeBareUser} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			r := repotest.Init(t, mode)
			repotest.CommitExample(t, r, repotest.ExampleUpdate)
			// Only the commit says that the tree is not bootable.
			for _, id := range []string{repotest.ExampleUnbootable, repotest.ExampleCommit} {
				c, err := repo.LoadCommit(t.Context(), r, repotest.CommitExample(t, r, id))
				if err != nil {
					t.Fatal(err)
				}
				if got, want := c.ContentChecksum().String(),
					"bd3d13c3059e63e6f8a3d6d046923ded730d90bd7a055c9ad93312111ea7d395"; got != want {
					t.Errorf("the content checksum of %s is %s, want %s", id, got, want)
				}
			}
			if got, err := repo.Diff(t.Context(), r, rev(t, r, repotest.ExampleCommit), rev(t, r, repotest.ExampleUpdate),
				"/"); err != nil || cmp.Diff([]string{"/usr/bin/bash"},
				got.ChangedFiles) != "" || got.String() != "files(added:0 removed:0 changed:1) dirs(added:0 removed:0 changed:0)" {
				t.Errorf("the update differs in %v, %v, want bash alone", got, err)
			}
			if _, err := r.Fsck(t.Context(), repo.FsckOptions{}); err != nil {
				t.Error(err)
			}
			for path, want := range map[string]string{
				"/usr/bin/bash":      "c16705f12dc6420d69b2177cc0166882ac8e90e2a6780c6af4e586b97a511a87",
				"/usr/bin/arping":    "b048a4f451e9fdfaaec911c1fe07d5d1d39be02f932b827c25458d3b15ae589e",
				"/usr/lib/emptyfile": "21270f911f1a1db58379515e0dcfa8309d8904ce278280861db236ea7001346e",
				"/opt":               "a91bf662a5b2669d1391270c10d916e2135b4cd9b0faa18dccf76f50712e739b",
			} {
				if got := objectAt(t, r, rev(t, r, repotest.ExampleCommit), path); got.String() != want {
					t.Errorf("%s is object %s, want %s", path, got, want)
				}
			}
		})
	}
}

func rev(t *testing.T, r *repo.Repo, s string) object.Checksum {
	t.Helper()
	c, err := r.ResolveRev(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func objectAt(t *testing.T, r *repo.Repo, commit object.Checksum, path string) (c object.Checksum) {
	t.Helper()
	if err := repo.List(t.Context(), r, commit, path, repo.ListOptions{}, func(e *repo.ListEntry) error {
		c = e.Checksum
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return c
}

// Upstream's test of its module diff adds two files to the tree and removes bash.
func TestUpstream_DiffOfTwoCommits(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	from := repotest.CommitExample(t, r, repotest.ExampleCommit)
	var tree []repotest.Entry
	for _, e := range repotest.ExampleTree() {
		switch e.Path {
		case "usr/bin/bash":
			continue
		case "usr/bin/sh":
			added := e
			added.Path, added.Mode, added.Target, added.Content = "usr/bin/newbin", object.ModeRegular|0o755, "", []byte("new")
			tree = append(tree, added)
		}
		tree = append(tree, e)
	}
	last := tree[len(tree)-1]
	if last.Path != "usr/lib64/emptyfile2" {
		t.Fatalf("the last entry is %s", last.Path)
	}
	share, file := tree[0], last
	share.Path, file.Path = "usr/share", "usr/share/doc"
	to := repotest.Commit(t, r, append(tree, share, file), "")
	for subdir, want := range map[string]*repo.TreeDiff{
		"/": {Subdir: "/", AddedFiles: []string{"/usr/bin/newbin"}, AddedDirs: []string{"/usr/share"},
			RemovedFiles: []string{"/usr/bin/bash"}},
		"/usr": {Subdir: "/usr", AddedFiles: []string{"/bin/newbin"}, AddedDirs: []string{"/share"},
			RemovedFiles: []string{"/bin/bash"}},
		"/boot": {Subdir: "/boot"},
	} {
		got, err := repo.Diff(t.Context(), r, from, to, subdir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in %s: %s", subdir, diff)
		}
	}
}
