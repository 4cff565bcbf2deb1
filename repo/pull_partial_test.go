package repo_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// Only a commit that is marked as partial may lack objects, even if a partial commit is pulled with it.
func TestPullDoesNotExcuseACompleteCommitForAPartialOneBesideIt(t *testing.T) {
	t.Parallel()
	src := repotest.Init(t, repo.ModeArchive)
	partial := repotest.Commit(t, src, repotest.Vectors(), "partial")
	txn, err := src.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	txn.MarkPartial(partial)
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := repotest.CommitRelease(t, src, 1)

	dst := repotest.Init(t, repo.ModeArchive)
	if _, err := dst.PullLocal(t.Context(), src, []string{partial.String(), other.String()},
		repo.PullOptions{}); err != nil {
		t.Fatalf("a partial commit and a complete one: %v", err)
	}
	for c, want := range map[object.Checksum]repo.PartialState{partial: repo.CommitPartial, other: repo.CommitComplete} {
		if got, err := dst.IsPartial(c); err != nil || got != want {
			t.Errorf("commit %s: state %v, %v, want %v", c, got, err, want)
		}
	}

	// Now the complete commit loses a file.
	var lost object.Checksum
	err = repo.List(t.Context(), src, other, "/", repo.ListOptions{Recursive: true}, func(e *repo.ListEntry) error {
		if !e.IsDir() && e.Size > 0 {
			lost = e.Checksum
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	name := lost.String()
	if err := os.Remove(filepath.Join(src.Path(), "objects", name[:2], name[2:]+".filez")); err != nil {
		t.Fatal(err)
	}
	fresh := repotest.Init(t, repo.ModeArchive)
	_, err = fresh.PullLocal(t.Context(), src, []string{partial.String(), other.String()}, repo.PullOptions{})
	if !errors.Is(err, repo.ErrObjectNotFound) {
		t.Errorf("got %v, want ErrObjectNotFound", err)
	}
	if have, err := fresh.Has(object.Name{Checksum: other, Type: object.TypeCommit}); have || err != nil {
		t.Errorf("the incomplete commit is there: %v, %v", have, err)
	}
}
