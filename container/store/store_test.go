package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// newRepo makes a repository.
func newRepo(t *testing.T, mode repo.Mode) *repo.Repo {
	t.Helper()
	r, err := repo.Init(filepath.Join(t.TempDir(), "repo"), mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// unverified returns the reference of an image in an OCI directory.
func unverified(dir, tag string) imgref.OstreeImageReference {
	return imgref.Unverified(imgref.ImageReference{Transport: imgref.OCIDir, Name: dir + ":" + tag})
}

// pull imports an image that is not stored.
func pull(t *testing.T, r *repo.Repo, ref imgref.OstreeImageReference, opts store.ImportOptions) *store.Imported {
	t.Helper()
	p, err := store.Prepare(t.Context(), r, ref, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	if p.Present {
		t.Fatalf("%s is already there", ref)
	}
	res, err := p.Import(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// upstreamRefs returns the refs of a repository that upstream's program wrote.
func upstreamRefs(t *testing.T, name string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(fixtures.Dir(t, "upstream", "store", name, "refs.txt"))
	if err != nil {
		t.Fatal(err)
	}
	refs := map[string]string{}
	for line := range strings.Lines(string(data)) {
		commit, ref, _ := strings.Cut(strings.TrimSpace(line), " ")
		refs[ref] = commit
	}
	return refs
}

var derivedTags = []string{"derived1", "derived2", "derived-single", "derived-k4", "plain"}

func TestMergeCommitsAreThoseOfUpstream(t *testing.T) {
	want := upstreamRefs(t, "current-bare")
	dir := fixtures.Dir(t, "upstream", "derived")
	for _, mode := range []repo.Mode{repo.ModeBareUser, repo.ModeArchive} {
		t.Run(mode.String(), func(t *testing.T) {
			r := newRepo(t, mode)
			for _, tag := range derivedTags {
				got := pull(t, r, unverified(dir, tag), store.ImportOptions{})
				if w := want["ostree/container/image/oci_3A__2F_fixtures/upstream/derived_3A_"+tag]; got.Commit.String() != w {
					t.Errorf("%s: merge commit %s, want %s", tag, got.Commit, w)
				}
			}
			for ref, commit := range want {
				if !strings.HasPrefix(ref, "ostree/container/blob/") {
					continue
				}
				got, err := r.ResolveRef(ref)
				if err != nil {
					t.Error(err)
					continue
				}
				c, err := repo.LoadCommit(t.Context(), r, got)
				if err != nil {
					t.Fatal(err)
				}
				if _, derived := c.Metadata.Lookup("ostree.importer.version"); !derived && got.String() != commit {
					t.Errorf("%s: commit %s, want %s", ref, got, commit)
				}
			}
			report, err := r.Fsck(t.Context(), repo.FsckOptions{All: true})
			if err != nil {
				t.Errorf("fsck: %v (%+v)", err, report)
			}
		})
	}
}
