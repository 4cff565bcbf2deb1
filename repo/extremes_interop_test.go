//go:build interop

package repo_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// Committing this many files takes long, so it is done once; the other modes pull the commit.
func TestDirectoryOfManyEntries(t *testing.T) {
	t.Parallel()
	const entries = 100_000
	dir := t.TempDir()
	for i := range entries {
		// Most files are empty: libostree takes minutes to find out that the others are equal.
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), make([]byte, max(0, 10-i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	weCommitted, theyCommitted := repotest.Init(t, repo.ModeArchive), repotest.Init(t, repo.ModeBare)
	c := commitDir(t, weCommitted, dir, "main", object.Checksum{}, repo.TreeOptions{})
	if want := ostreeCommit(t, theyCommitted, dir, "main"); c != want {
		t.Fatalf("got %s, want %s", c, want)
	}
	for _, mode := range writableModes {
		t.Run(mode.String(), func(t *testing.T) {
			ours, theirs := repotest.Init(t, mode), repotest.Init(t, mode)
			if _, err := ours.PullLocal(t.Context(), theyCommitted, []string{"main"}, repo.PullOptions{}); err != nil {
				t.Fatal(err)
			}
			ostree(t, theirs.Path(), "pull-local", weCommitted.Path(), "main")
			ostree(t, ours.Path(), "fsck")
			if report, err := theirs.Fsck(t.Context(), repo.FsckOptions{}); err != nil {
				t.Errorf("got %+v, %v", report, err)
			}
			if got := strings.Count(ostree(t, ours.Path(), "ls", "main"), "\n"); got != entries+1 {
				t.Errorf("ostree lists %d lines", got)
			}
			if got := strings.Count(listing(t, theirs, c), "\n"); got != entries+1 {
				t.Errorf("we list %d lines", got)
			}
		})
	}
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	ostree(t, weCommitted.Path(), "checkout", "-U", "main", a)
	if err := theyCommitted.Checkout(t.Context(), c, b, repo.CheckoutOptions{User: true}); err != nil {
		t.Fatal(err)
	}
	for who, out := range map[string]string{"ostree": a, "we": b} {
		if names, err := os.ReadDir(out); len(names) != entries || err != nil {
			t.Errorf("%s checked out %d entries, %v", who, len(names), err)
		}
	}
}

// A file of more than 4 GiB is pulled from repository to repository, in turn by us and by ostree, so that each program
// writes every mode and reads every mode that the other wrote. We hash whatever we read; ostree does so at the end.
func TestFileOfMoreThan4GiB(t *testing.T) {
	t.Parallel()
	const size = 4<<30 + 1
	dir := t.TempDir()
	write(t, filepath.Join(dir, "big"), "")
	if err := os.Truncate(filepath.Join(dir, "big"), size); err != nil {
		t.Fatal(err)
	}
	last := repotest.Init(t, repo.ModeBare)
	c := commitDir(t, last, dir, "main", object.Checksum{}, repo.TreeOptions{})
	for _, hop := range []struct {
		writer string
		mode   repo.Mode
	}{
		{"ostree", repo.ModeBareUser}, {"we", repo.ModeBareUserOnly},
		{"ostree", repo.ModeArchive}, {"we", repo.ModeBareUser},
		{"ostree", repo.ModeBareUserOnly}, {"we", repo.ModeArchive},
		{"ostree", repo.ModeBare},
	} {
		next := repotest.Init(t, hop.mode)
		if err := next.SetConfig("archive", "zlib-level", "1"); err != nil {
			t.Fatal(err)
		}
		if hop.writer == "ostree" {
			ostree(t, next.Path(), "pull-local", last.Path(), "main")
		} else if _, err := next.PullLocal(t.Context(), last, []string{"main"}, repo.PullOptions{}); err != nil {
			t.Fatalf("%s to %s: %v", last.Mode(), hop.mode, err)
		}
		if got := ostree(t, next.Path(), "ls", "main", "/big"); !strings.Contains(got, " 4294967297 /big") {
			t.Errorf("%s wrote %s, and ostree lists %s", hop.writer, hop.mode, got)
		}
		if got := listing(t, next, c); !strings.Contains(got, " 4294967297 ") {
			t.Errorf("%s wrote %s, and we list %s", hop.writer, hop.mode, got)
		}
		if err := os.RemoveAll(last.Path()); err != nil {
			t.Fatal(err)
		}
		last = next
	}
	if report, err := last.Fsck(t.Context(), repo.FsckOptions{}); err != nil {
		t.Errorf("got %+v, %v", report, err)
	}
	ostree(t, last.Path(), "fsck")
}
