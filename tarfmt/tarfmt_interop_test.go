//go:build interop

package tarfmt_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// ostree runs libostree's program and returns what it prints.
func ostree(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ostree", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ostree %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// wantSound lets libostree check every object, and that the commits are complete.
func wantSound(t *testing.T, r *repo.Repo) {
	t.Helper()
	ostree(t, "fsck", "--repo="+r.Path())
}

func TestOSTreeAcceptsImportedStreams(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"archived", "current"} {
		for _, mode := range []repo.Mode{repo.ModeBare, repo.ModeBareUser, repo.ModeArchive} {
			t.Run(program+"/"+mode.String(), func(t *testing.T) {
				t.Parallel()
				r := repotest.Init(t, mode)
				for _, n := range []string{"1", "2"} {
					want := revision(t, "rev"+n)
					stream := unzstd(t, fixtures.Dir(t, "upstream", program, "v"+n+".tar.zst"))
					if got, err := importCommit(t.Context(), t, r, stream, tarfmt.ImportOptions{}); err != nil || got != want {
						t.Fatalf("got %s, %v, want %s", got, err, want)
					}
					if err := r.SetRef(t.Context(), "release-"+n, want); err != nil {
						t.Fatal(err)
					}
				}
				wantSound(t, r)
			})
		}
	}
}

func TestOSTreeAcceptsImportedLayers(t *testing.T) {
	t.Parallel()
	images := openLayout(t, fixtures.Dir(t, "upstream", "current", "images"))
	for _, tag := range []string{"single1", "single2", "chunked1", "exclusive1", "parents1"} {
		t.Run(tag, func(t *testing.T) {
			t.Parallel()
			layers, _ := images.layers(t, tag)
			r := repotest.Init(t, repo.ModeBare)
			txn := begin(t, r)
			commit, err := tarfmt.ImportCommit(t.Context(), txn, bytes.NewReader(layers[0]), tarfmt.ImportOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, layer := range layers[1:] {
				if _, err := tarfmt.ImportObjectSet(t.Context(), txn, bytes.NewReader(layer)); err != nil {
					t.Fatal(err)
				}
			}
			if err := txn.VerifyComplete(t.Context(), commit); err != nil {
				t.Fatal(err)
			}
			txn.UnmarkPartial(commit)
			if err := txn.SetRef("image", commit); err != nil {
				t.Fatal(err)
			}
			if _, err := txn.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantSound(t, r)
		})
	}
}

// A stored synthetic commit keeps libostree's prune from deleting a layer's objects.
func TestOSTreeKeepsTheObjectsOfSyntheticCommits(t *testing.T) {
	t.Parallel()
	src, commit := exampleOS(t)
	all := content(t, src, commit)
	r := repotest.Init(t, repo.ModeArchive)
	txn := begin(t, r)
	objects, err := tarfmt.ImportObjectSet(t.Context(), txn, bytes.NewReader(exportChunk(t, src, commit, all, false)))
	if err != nil {
		t.Fatal(err)
	}
	data, dirtree, dirmeta := tarfmt.SyntheticCommit(objects)
	for typ, data := range map[object.Type][]byte{object.TypeCommit: data, object.TypeDirTree: dirtree,
		object.TypeDirMeta: dirmeta} {
		if _, err := txn.WriteMetadata(t.Context(), typ, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := txn.SetRef("layer", object.HashMetadata(data)); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	ostree(t, "prune", "--repo="+r.Path(), "--refs-only")
	wantSound(t, r)
	for _, o := range objects {
		if ok, err := r.Has(object.Name{Checksum: o, Type: object.TypeFile}); err != nil || !ok {
			t.Errorf("object %s is gone, %v", o, err)
		}
	}
}

// Libostree reads tar streams with libarchive, which ranks records in another order than we do.
func TestLibarchiveReadsSymlinkTargets(t *testing.T) {
	t.Parallel()
	src, commit := oddCommit(t)
	file := filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(file, exportChunk(t, src, commit, linksOnly(t, src, commit), false), 0o600); err != nil {
		t.Fatal(err)
	}
	r := repotest.Init(t, repo.ModeArchive)
	ostree(t, "commit", "--repo="+r.Path(), "--branch=x", "--tree=tar="+file, "--tar-autocreate-parents")
	listing := ostree(t, "ls", "--repo="+r.Path(), "-R", "x")
	for _, f := range src.files {
		if f.info.IsSymlink() && !strings.Contains(listing, " -> "+f.info.Target+"\n") && isPrintable(f.info.Target) {
			t.Errorf("target %q is not in the listing", f.info.Target)
		}
	}
}

func linksOnly(t *testing.T, src *memSource, commit object.Checksum) repo.Content {
	var c repo.Content
	for _, o := range content(t, src, commit) {
		if f := src.files[o.Checksum]; f.info.IsSymlink() {
			c = append(c, o)
		}
	}
	return c
}

// isPrintable reports whether a listing prints the text unchanged.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
