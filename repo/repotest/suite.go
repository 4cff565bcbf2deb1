package repotest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Suite checks that repositories of a mode do what package repo documents. Mode bare requires root.
func Suite(t *testing.T, mode repo.Mode) {
	checks := []struct {
		name string
		run  func(*testing.T, *repo.Repo)
	}{
		{"written objects read back the same", readsBack},
		{"large content reads back the same", largeReadsBack},
		{"the same object is written once", writesOnce},
		{"nothing is visible before the commit", invisibleBeforeCommit},
		{"an aborted transaction leaves nothing", abortLeavesNothing},
		{"a transaction reads what it has staged", readsStaged},
		{"content of another length is refused", refusesLength},
		{"content of another checksum is refused", refusesChecksum},
		{"metadata of another checksum are refused", refusesMetadata},
		{"many writers share a transaction", manyWriters},
		{"transactions run side by side", sideBySide},
		{"a cancelled context stops the commit", cancelled},
		{"detached metadata is replaced", replacesDetached},
		{"partial marks are set and removed", partialMarks},
		{"detached metadata is deleted with its commit", deletesCommit},
		{"upstream's trees have upstream's checksums", releases},
	}
	for _, check := range checks {
		t.Run(check.name, func(t *testing.T) {
			t.Parallel()
			check.run(t, Init(t, mode))
		})
	}
}

// begin starts a transaction that is aborted at the end of the test if it is not committed.
func begin(t testing.TB, r *repo.Repo) *repo.Txn {
	t.Helper()
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := txn.Abort(); err != nil {
			t.Error(err)
		}
	})
	return txn
}

func finish(t testing.TB, txn *repo.Txn) repo.Stats {
	t.Helper()
	stats, err := txn.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

func put(t testing.TB, txn *repo.Txn, content string) object.Checksum {
	t.Helper()
	h := &object.FileHeader{Mode: object.ModeRegular | 0o644}
	c, err := txn.WriteFile(t.Context(), h, int64(len(content)), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func readFile(t testing.TB, src repo.Source, c object.Checksum) (string, *object.FileInfo) {
	t.Helper()
	f, info, err := src.OpenFile(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return string(data), info
}

func file(c object.Checksum) object.Name {
	return object.Name{Checksum: c, Type: object.TypeFile}
}

func objects(t testing.TB, r *repo.Repo) []object.Name {
	t.Helper()
	var all []object.Name
	for n, err := range r.Objects(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

func readsBack(t *testing.T, r *repo.Repo) {
	txn := begin(t, r)
	written := map[object.Checksum]Entry{}
	for _, e := range slices.Concat(For(r.Mode(), Release(1)), For(r.Mode(), Vectors())) {
		if e.IsDir() {
			continue
		}
		c, err := txn.WriteFile(t.Context(), e.Header(), int64(len(e.Content)), bytes.NewReader(e.Content))
		if err != nil {
			t.Fatalf("%s: %v", e.Path, err)
		}
		written[c] = e
	}
	finish(t, txn)
	for c, e := range written {
		want := &object.FileInfo{FileHeader: *e.Header(), Size: int64(len(e.Content))}
		alone, err := r.FileInfo(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, alone); diff != "" {
			t.Errorf("%s: header differs (-want +got):\n%s", e.Path, diff)
		}
		if unreadable(r, &e) {
			continue
		}
		content, info := readFile(t, r, c)
		if content != string(e.Content) {
			t.Errorf("%s: content differs", e.Path)
		}
		if diff := cmp.Diff(alone, info); diff != "" {
			t.Errorf("%s: OpenFile gives another header than FileInfo:\n%s", e.Path, diff)
		}
	}
	if got := len(objects(t, r)); got != len(written) {
		t.Errorf("got %d objects, want %d", got, len(written))
	}
}

// unreadable reports whether an ordinary user cannot read the content because the object on disk has the permissions of
// the file.
func unreadable(r *repo.Repo, e *Entry) bool {
	return r.Mode() == repo.ModeBareUserOnly && os.Geteuid() != 0 && e.Mode&0o400 == 0
}

// largeReadsBack checks content that is not held in memory, around the sizes of the buffers.
func largeReadsBack(t *testing.T, r *repo.Repo) {
	txn := begin(t, r)
	written := map[object.Checksum]string{}
	for _, size := range []int{64 << 10, 128 << 10, 128<<10 + 1, 256 << 10, 256<<10 + 1, 1 << 20} {
		content := strings.Repeat("0123456789abcde\n", size/16+1)[:size]
		written[put(t, txn, content)] = content
	}
	finish(t, txn)
	for c, want := range written {
		if got, info := readFile(t, r, c); got != want || info.Size != int64(len(want)) {
			t.Errorf("%d bytes: got %d of size %d", len(want), len(got), info.Size)
		}
	}
}

func writesOnce(t *testing.T, r *repo.Repo) {
	large := strings.Repeat("large", 64<<10)
	for i, want := range []int{2, 0} {
		txn := begin(t, r)
		c := put(t, txn, large)
		put(t, txn, "small")
		put(t, txn, "small")
		h := &object.FileHeader{Mode: object.ModeRegular | 0o644}
		if err := txn.WriteFileAs(t.Context(), c, h, int64(len(large)), strings.NewReader(large)); err != nil {
			t.Fatal(err)
		}
		stats := finish(t, txn)
		if stats.ContentTotal != 4 || stats.ContentWritten != want {
			t.Errorf("transaction %d: got %d of %d written, want %d of 4", i, stats.ContentWritten, stats.ContentTotal, want)
		}
	}
}

func invisibleBeforeCommit(t *testing.T, r *repo.Repo) {
	txn := begin(t, r)
	c := put(t, txn, "content")
	if err := txn.SetRef("ref", ReleaseCommit(1)); err != nil {
		t.Fatal(err)
	}
	if got := objects(t, r); len(got) != 0 {
		t.Errorf("got %v before the commit, want nothing", got)
	}
	if _, err := r.ResolveRef("ref"); !errors.Is(err, repo.ErrRefNotFound) {
		t.Errorf("got %v before the commit, want ErrRefNotFound", err)
	}
	finish(t, txn)
	if ok, err := r.Has(file(c)); !ok || err != nil {
		t.Errorf("got %v, %v after the commit", ok, err)
	}
	if got, err := r.ResolveRef("ref"); got != ReleaseCommit(1) || err != nil {
		t.Errorf("got %v, %v after the commit", got, err)
	}
	if _, err := txn.Commit(t.Context()); !errors.Is(err, repo.ErrTxnDone) {
		t.Errorf("second commit: got %v, want ErrTxnDone", err)
	}
}

func abortLeavesNothing(t *testing.T, r *repo.Repo) {
	txn := begin(t, r)
	c := put(t, txn, "content")
	put(t, txn, strings.Repeat("large", 64<<10))
	if err := txn.SetRef("ref", ReleaseCommit(1)); err != nil {
		t.Fatal(err)
	}
	txn.MarkPartial(ReleaseCommit(1))
	for range 2 {
		if err := txn.Abort(); err != nil {
			t.Fatal(err)
		}
	}
	if got := objects(t, r); len(got) != 0 {
		t.Errorf("got %v, want no objects", got)
	}
	if refs, err := r.Refs(""); len(refs) != 0 || err != nil {
		t.Errorf("got %v, %v, want no refs", refs, err)
	}
	if state, err := r.IsPartial(ReleaseCommit(1)); state != repo.CommitComplete || err != nil {
		t.Errorf("got %v, %v, want no mark", state, err)
	}
	wantTidy(t, r)
	if _, err := r.FileInfo(t.Context(), c); !errors.Is(err, repo.ErrObjectNotFound) {
		t.Errorf("got %v, want ErrObjectNotFound", err)
	}
	h := &object.FileHeader{Mode: object.ModeRegular | 0o644}
	if _, err := txn.WriteFile(t.Context(), h, 0, nil); !errors.Is(err, repo.ErrTxnDone) {
		t.Errorf("write after the end: got %v, want ErrTxnDone", err)
	}
}

// wantTidy checks that no temporary files are left.
func wantTidy(t testing.TB, r *repo.Repo) {
	t.Helper()
	entries, err := os.ReadDir(r.Path() + "/tmp")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "cache" {
			t.Errorf("tmp/%s is left", e.Name())
		}
	}
}

func readsStaged(t *testing.T, r *repo.Repo) {
	first := begin(t, r)
	old := put(t, first, "old")
	finish(t, first)
	txn := begin(t, r)
	staged := put(t, txn, "staged")
	for c, want := range map[object.Checksum]string{old: "old", staged: "staged"} {
		if got, _ := readFile(t, txn, c); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if ok, err := txn.HasObject(file(c)); !ok || err != nil {
			t.Errorf("%s: got %v, %v", want, ok, err)
		}
	}
	if ok, err := txn.HasObject(file(ReleaseCommit(1))); ok || err != nil {
		t.Errorf("absent object: got %v, %v", ok, err)
	}
}

func refusesLength(t *testing.T, r *repo.Repo) {
	txn := begin(t, r)
	h := &object.FileHeader{Mode: object.ModeRegular | 0o644}
	for _, size := range []int64{0, 1, 4, 6, 1 << 20} {
		if _, err := txn.WriteFile(t.Context(), h, size, strings.NewReader("12345")); err == nil {
			t.Errorf("5 bytes written as %d", size)
		}
	}
	large := strings.Repeat("x", 1<<20)
	for _, size := range []int64{1<<20 - 1, 1<<20 + 1, 1 << 17} {
		if _, err := txn.WriteFile(t.Context(), h, size, strings.NewReader(large)); err == nil {
			t.Errorf("%d bytes written as %d", len(large), size)
		}
	}
	finish(t, txn)
	if got := objects(t, r); len(got) != 0 {
		t.Errorf("got %v, want nothing", got)
	}
}

func refusesChecksum(t *testing.T, r *repo.Repo) {
	txn := begin(t, r)
	h := &object.FileHeader{Mode: object.ModeRegular | 0o644}
	for _, content := range []string{"small", strings.Repeat("large", 64<<10)} {
		err := txn.WriteFileAs(t.Context(), ReleaseCommit(1), h, int64(len(content)), strings.NewReader(content))
		var corrupt *object.CorruptError
		if !errors.As(err, &corrupt) || corrupt.Name.Checksum != ReleaseCommit(1) {
			t.Errorf("%d bytes: got %v, want a CorruptError", len(content), err)
		}
	}
	finish(t, txn)
	if got := objects(t, r); len(got) != 0 {
		t.Errorf("got %v, want nothing", got)
	}
}

func refusesMetadata(t *testing.T, r *repo.Repo) {
	txn := begin(t, r)
	name := object.Name{Checksum: ReleaseCommit(1), Type: object.TypeDirTree}
	err := txn.WriteMetadataAs(t.Context(), name, []byte{0})
	if !errors.Is(err, object.ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
	if _, err := txn.WriteMetadata(t.Context(), object.TypeDirTree, []byte("garbage")); err == nil {
		t.Error("garbage was taken for a dirtree")
	}
}

func manyWriters(t *testing.T, r *repo.Repo) {
	txn := begin(t, r)
	g, ctx := errgroup.WithContext(t.Context())
	for range 8 {
		g.Go(func() error { // each transaction writes the same objects
			for i := range 200 {
				content := strings.Repeat(string(rune('a'+i%26)), i)
				h := &object.FileHeader{Mode: object.ModeRegular | 0o644}
				if _, err := txn.WriteFile(ctx, h, int64(i), strings.NewReader(content)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	stats := finish(t, txn)
	if stats.ContentTotal != 1600 || stats.ContentWritten != 200 {
		t.Errorf("got %d of %d written, want 200 of 1600", stats.ContentWritten, stats.ContentTotal)
	}
	if got := len(objects(t, r)); got != 200 {
		t.Errorf("got %d objects, want 200", got)
	}
}

func sideBySide(t *testing.T, r *repo.Repo) {
	one, two := begin(t, r), begin(t, r)
	a, b := put(t, one, "both"), put(t, two, "both")
	only := put(t, two, "second")
	finish(t, one)
	finish(t, two)
	if a != b {
		t.Errorf("got %s and %s", a, b)
	}
	for _, c := range []object.Checksum{a, only} {
		readFile(t, r, c)
	}
	wantTidy(t, r)
}

func cancelled(t *testing.T, r *repo.Repo) {
	txn := begin(t, r)
	put(t, txn, "content")
	if err := txn.SetRef("ref", ReleaseCommit(1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := txn.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if refs, err := r.Refs(""); len(refs) != 0 || err != nil {
		t.Errorf("got %v, %v, want no refs", refs, err)
	}
	wantTidy(t, r)
	finish(t, begin(t, r))
}

func replacesDetached(t *testing.T, r *repo.Repo) {
	c := CommitRelease(t, r, 1)
	dict, err := repo.LoadDetachedMetadata(t.Context(), r, c)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := dict.Lookup("detached.note"); !ok || v.String() != "'hello-1'" {
		t.Errorf("got %v", dict)
	}
	txn := begin(t, r)
	if err := txn.WriteDetachedMetadata(t.Context(), c, nil); err != nil {
		t.Fatal(err)
	}
	finish(t, txn)
	if dict, err = repo.LoadDetachedMetadata(t.Context(), r, c); len(dict) != 0 || err != nil {
		t.Errorf("got %v, %v, want nothing", dict, err)
	}
}

func partialMarks(t *testing.T, r *repo.Repo) {
	c := ReleaseCommit(1)
	for _, want := range []repo.PartialState{repo.CommitPartial, repo.CommitComplete} {
		txn := begin(t, r)
		txn.MarkPartial(c)
		if want == repo.CommitComplete {
			txn.UnmarkPartial(c)
		}
		finish(t, txn)
		if got, err := r.IsPartial(c); got != want || err != nil {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
}

func deletesCommit(t *testing.T, r *repo.Repo) {
	if err := r.SetConfig("core", "tombstone-commits", "true"); err != nil {
		t.Fatal(err)
	}
	c := CommitRelease(t, r, 1)
	name := object.Name{Checksum: c, Type: object.TypeCommit}
	if err := r.DeleteObject(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := r.DeleteObject(t.Context(), name); !errors.Is(err, repo.ErrObjectNotFound) {
		t.Errorf("second time: got %v, want ErrObjectNotFound", err)
	}
	has := func(typ object.Type) bool {
		ok, err := r.Has(object.Name{Checksum: c, Type: typ})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if has(object.TypeCommit) || has(object.TypeCommitMeta) || !has(object.TypeTombstone) {
		t.Error("want a tombstone in place of the commit and its metadata")
	}
	CommitRelease(t, r, 1)
	if !has(object.TypeCommit) || has(object.TypeTombstone) {
		t.Error("want the commit in place of the tombstone")
	}
}

func releases(t *testing.T, r *repo.Repo) {
	for n := 1; n <= 2; n++ {
		c := CommitRelease(t, r, n)
		commit, err := repo.LoadCommit(t.Context(), r, c)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.ResolveRev("exampleos/x86_64/stable"); got != c || err != nil {
			t.Errorf("release %d: got %v, %v", n, got, err)
		}
		tree, err := repo.LoadDirTree(t.Context(), r, commit.Tree)
		if err != nil {
			t.Fatal(err)
		}
		if len(tree.Dirs) == 0 || len(tree.Files) == 0 {
			t.Errorf("release %d: empty root", n)
		}
		if _, err := repo.LoadDirMeta(t.Context(), r, commit.Meta); err != nil {
			t.Error(err)
		}
	}
}
