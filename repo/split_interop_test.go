//go:build interop

package repo_test

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// splitXattrs turns a repository of mode bare into one of mode bare-split-xattrs; ostree itself cannot write a complete
// one. The xattrs of a file become an object that is stored twice: under its own checksum and under that of the file.
func splitXattrs(t *testing.T, r *repo.Repo) *repo.Repo {
	t.Helper()
	obj := func(c object.Checksum, suffix string) string {
		id := c.String()
		return filepath.Join(r.Path(), "objects", id[:2], id[2:]+suffix)
	}
	for n, err := range r.Objects(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n.Type != object.TypeFile {
			continue
		}
		info, err := r.FileInfo(t.Context(), n.Checksum)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range info.Xattrs {
			if err := unix.Lremovexattr(obj(n.Checksum, ".file"), x.Name); err != nil {
				t.Fatal(err)
			}
		}
		data := object.EncodeXattrs(info.Xattrs)
		xattrs := obj(sha256.Sum256(data), ".file-xattrs")
		if err := errors.Join(os.MkdirAll(filepath.Dir(xattrs), 0o755), os.WriteFile(xattrs, data, 0o644),
			os.Link(xattrs, obj(n.Checksum, ".file-xattrs-link"))); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(r.Path(), "config"), "[core]\nrepo_version=1\nmode=bare-split-xattrs\nfsync=false\n")
	return open(t, r.Path())
}

func TestSplitXattrsReadLikeTheOthers(t *testing.T) {
	t.Parallel()
	dir := oddTree(t, 50)
	bare, twin := repotest.Init(t, repo.ModeBare), repotest.Init(t, repo.ModeBare)
	c := ostreeCommit(t, bare, dir, "main")
	ostreeCommit(t, twin, dir, "main")
	split := splitXattrs(t, twin)
	ostree(t, split.Path(), "fsck")
	want := ostree(t, bare.Path(), "ls", "-RXC", "main")
	if diff := cmp.Diff(want, ostree(t, split.Path(), "ls", "-RXC", "main")); diff != "" {
		t.Fatalf("ostree reads another tree: %s", diff)
	}
	if report, err := split.Fsck(t.Context(), repo.FsckOptions{All: true}); err != nil {
		t.Errorf("fsck: got %+v, %v", report, err)
	}
	if diff := cmp.Diff(want, listing(t, split, c)); diff != "" {
		t.Errorf("listing: %s", diff)
	}
	for _, user := range []bool{false, true} {
		a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
		if err := errors.Join(bare.Checkout(t.Context(), c, a, repo.CheckoutOptions{User: user}),
			split.Checkout(t.Context(), c, b, repo.CheckoutOptions{User: user})); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(facts(t, a), facts(t, b)); diff != "" {
			t.Errorf("checkout, user %v: %s", user, diff)
		}
	}
	for _, to := range []repo.Mode{repo.ModeBare, repo.ModeBareUser, repo.ModeArchive} {
		dest := repotest.Init(t, to)
		if _, err := dest.PullLocal(t.Context(), split, []string{"main"}, repo.PullOptions{}); err != nil {
			t.Errorf("pull into %s: %v", to, err)
			continue
		}
		ostree(t, dest.Path(), "fsck")
		if diff := cmp.Diff(want, ostree(t, dest.Path(), "ls", "-RXC", "main")); diff != "" {
			t.Errorf("pull into %s: %s", to, diff)
		}
	}
}
