//go:build interop

package store_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// fixturesPath is the path of the images in the names under which upstream's program stored them.
const fixturesPath = "/fixtures/upstream/derived"

// upstreamRepo unpacks a repository that upstream's program wrote, and adds the names of the images as they are here.
func upstreamRepo(t *testing.T, name, images string) *repo.Repo {
	t.Helper()
	dir := t.TempDir()
	run(t, "tar", "-I", "zstd", "--xattrs", "--xattrs-include=*", "-xpf",
		fixtures.Dir(t, "upstream", "store", name, "repo.tar.zst"), "-C", dir)
	path := filepath.Join(dir, "repo")
	r, err := repo.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	list, err := store.List(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range list {
		img, err := store.Query(t.Context(), r, ref)
		if err != nil {
			t.Fatal(err)
		}
		here := ref
		here.Name = strings.Replace(ref.Name, fixturesPath, images, 1)
		name, err := store.ImageRef(here)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.SetRef(t.Context(), name, img.Commit); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestUpstreamsRepositoriesAreContinued(t *testing.T) {
	images := fixtures.Dir(t, "upstream", "derived")
	for _, name := range []string{"archived-bare", "archived-bare-user", "current-bare", "current-bare-user"} {
		t.Run(name, func(t *testing.T) {
			r := upstreamRepo(t, name, images)
			path := r.Path()
			for _, tag := range []string{"derived1", "derived2", "derived-single", "derived-k4"} {
				p, err := store.Prepare(t.Context(), r, unverified(images, tag), store.Options{})
				if err != nil || !p.Present {
					t.Errorf("%s is not known as present: %+v, %v", tag, p, err)
				}
				if p != nil {
					_ = p.Close()
				}
			}
			for _, tag := range []string{"derived-fifo", "derived-lowerlink", "derived-symmode"} {
				p, err := store.Prepare(t.Context(), r, unverified(images, tag), store.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if missing, _ := p.Missing(); len(missing) != 1 {
					t.Errorf("%s: %d layers are missing, want 1", tag, len(missing))
				}
				if _, err := p.Import(t.Context(), store.ImportOptions{}); err != nil {
					t.Error(err)
				}
				_ = p.Close()
			}
			out := imgref.ImageReference{Transport: imgref.OCIDir, Name: t.TempDir() + ":again"}
			from := unverified(images, "derived2").Image
			if _, err := store.Export(t.Context(), r, from, out, store.ExportOptions{Dest: dest.Options{}}); err != nil {
				t.Fatal(err)
			}
			p, err := store.Prepare(t.Context(), r, imgref.Unverified(out), store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if missing, _ := p.Missing(); len(missing) != 0 {
				t.Errorf("the exported image lacks %d layers", len(missing))
			}
			if _, err := p.Import(t.Context(), store.ImportOptions{}); err != nil {
				t.Error(err)
			}
			_ = p.Close()
			all, err := store.List(r)
			if err != nil {
				t.Fatal(err)
			}
			stats, err := store.PruneImages(t.Context(), r, []imgref.ImageReference{from},
				store.PruneOptions{Layers: true, Objects: true})
			if err != nil || len(stats.Images) != len(all)-1 || stats.Layers == 0 || stats.Objects == 0 {
				t.Errorf("pruned %+v, %v", stats, err)
			}
			run(t, "ostree", "fsck", "--repo="+path)
			layers, err := r.Refs("ostree/container/blob")
			if err != nil || len(layers) != 18 {
				t.Errorf("%d layers are left, %v, want the 18 of the image", len(layers), err)
			}
		})
	}
}

func TestLayersAreThoseOfUpstreamInABareRepository(t *testing.T) {
	images := fixtures.Dir(t, "upstream", "derived")
	theirs := upstreamRepo(t, "current-bare", images)
	ours := newRepo(t, repo.ModeBare)
	for _, tag := range derivedTags {
		pull(t, ours, unverified(images, tag), store.ImportOptions{})
	}
	refs, err := theirs.Refs("ostree/container/blob")
	if err != nil {
		t.Fatal(err)
	}
	tree := func(r *repo.Repo, c object.Checksum) [2]object.Checksum {
		commit, err := repo.LoadCommit(t.Context(), r, c)
		if err != nil {
			t.Fatal(err)
		}
		return [2]object.Checksum{commit.Tree, commit.Meta}
	}
	for _, ref := range refs {
		got, err := ours.ResolveRef(ref.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		if a, b := tree(theirs, ref.Commit), tree(ours, got); a != b {
			t.Errorf("%s has the tree %s, upstream's is %s", ref.Name, b, a)
		}
	}
	run(t, "ostree", "fsck", "--repo="+ours.Path())
	if os.Geteuid() != 0 {
		t.Error("this test needs root")
	}
}
