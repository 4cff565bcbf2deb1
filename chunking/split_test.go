package chunking_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// commitOf returns a commit of files with the given contents.
func commitOf(t *testing.T, files map[string]string) (repo.Source, object.Checksum) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	d, err := rootfs.Dir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	hashed, err := rootfs.Hash(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	src, err := rootfs.NewSource(hashed)
	if err != nil {
		t.Fatal(err)
	}
	commit, err := src.AddCommit(object.Commit{})
	if err != nil {
		t.Fatal(err)
	}
	return src, commit
}

func TestCheckFindsWhatASplitLacksOrRepeats(t *testing.T) {
	t.Parallel()
	src, commit := commitOf(t, map[string]string{"a": "a", "dir/a-again": "a", "dir/b": "b", "c": "c"})
	all, err := repo.CommitContent(t.Context(), src, commit)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(c repo.Content) repo.Content) repo.Content { return change(slices.Clone(all)) }
	for name, p := range map[string]*chunking.Split{
		"nothing":             {},
		"a path is missing":   {Remainder: all[:3]},
		"a path occurs twice": {Layers: []chunking.Layer{{Content: all[:1]}}, Remainder: all},
		"one for another": {Layers: []chunking.Layer{{Content: all[:1]}},
			Remainder: with(func(c repo.Content) repo.Content {
				return append(c[:1], c[2:]...)
			})},
		"not in order": {Remainder: with(func(c repo.Content) repo.Content {
			slices.Reverse(c)
			return c
		})},
		"a path of no commit": {Remainder: append(repo.Content{{Checksum: object.Checksum{}, Path: "/x"}}, all...)},
		"another object": {Remainder: with(func(c repo.Content) repo.Content {
			c[0].Path, c[3].Path = c[3].Path, c[0].Path
			return c
		})},
	} {
		if err := p.Check(t.Context(), src, commit); !errors.Is(err, chunking.ErrInvalidSplit) {
			t.Errorf("%s: %v, want ErrInvalidSplit", name, err)
		}
	}
	for name, p := range map[string]*chunking.Split{
		"one layer": chunking.SingleLayer(all),
		"an object in two layers": {
			Layers: []chunking.Layer{{Content: all[:1]}, {Content: all[1:2]}}, Remainder: all[2:],
		},
		"layers and nothing for the first": {Layers: []chunking.Layer{{}, {Content: all}}},
	} {
		if err := p.Check(t.Context(), src, commit); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
