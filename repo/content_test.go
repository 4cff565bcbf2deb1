package repo_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// transact runs f in a transaction, and commits it.
func transact(t testing.TB, r *repo.Repo, f func(txn *repo.Txn) error) {
	t.Helper()
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	if err := f(txn); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func storeFile(t testing.TB, r *repo.Repo, h *object.FileHeader, content string) (c object.Checksum) {
	t.Helper()
	transact(t, r, func(txn *repo.Txn) (err error) {
		c, err = txn.WriteFile(t.Context(), h, int64(len(content)), strings.NewReader(content))
		return err
	})
	return c
}

func rewriteHeader(t testing.TB, r *repo.Repo, h *object.FileHeader, from object.Checksum) (c object.Checksum) {
	t.Helper()
	transact(t, r, func(txn *repo.Txn) (err error) {
		c, err = txn.WriteHeader(t.Context(), h, from)
		return err
	})
	return c
}

func TestUncompressedContentIsReadAtRandom(t *testing.T) {
	t.Parallel()
	const content = "0123456789"
	for _, mode := range []repo.Mode{repo.ModeBareUser, repo.ModeBareUserOnly} {
		r := repotest.Init(t, mode)
		c := storeFile(t, r, &object.FileHeader{Mode: 0o100644}, content)
		f, _, err := r.OpenFile(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		s, ok := f.(io.ReadSeeker)
		if !ok {
			t.Fatalf("%s: content is a %T", mode, f)
		}
		if err := iotest.TestReader(s, []byte(content)); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if _, err := s.Seek(0, io.SeekStart); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: seeking in a closed file: %v", mode, err)
		}
	}
}

// A file that was truncated meanwhile does not look like the end of the content.
func TestContentThatIsCutOffIsAnErrorAtRandomToo(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeBareUser)
	c := storeFile(t, r, &object.FileHeader{Mode: 0o100644}, "0123456789")
	f, _, err := r.OpenFile(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name := c.String()
	if err := os.Truncate(r.Path()+"/objects/"+name[:2]+"/"+name[2:]+".file", 4); err != nil {
		t.Fatal(err)
	}
	if n, err := f.(io.ReaderAt).ReadAt(make([]byte, 8), 2); n != 2 || !errors.Is(err, object.ErrCorrupt) {
		t.Errorf("got %d bytes, %v, want ErrCorrupt", n, err)
	}
	if data, err := io.ReadAll(f); len(data) != 4 || !errors.Is(err, object.ErrCorrupt) {
		t.Errorf("got %d bytes, %v, want ErrCorrupt", len(data), err)
	}
}

func TestAHeaderIsRewrittenWithTheContentOfAnother(t *testing.T) {
	t.Parallel()
	label := object.FileHeader{Mode: 0o100600, Xattrs: object.Xattrs{{Name: "user.label", Value: []byte("x")}}}
	for _, mode := range []repo.Mode{repo.ModeArchive, repo.ModeBareUser} {
		r := repotest.Init(t, mode)
		for _, content := range []string{"", "short", strings.Repeat("long ", 1<<16)} {
			from := storeFile(t, r, &object.FileHeader{Mode: 0o100644}, content)
			got := rewriteHeader(t, r, &label, from)
			if want := storeFile(t, repotest.Init(t, mode), &label, content); got != want {
				t.Errorf("%s, %d bytes: got %s, want %s", mode, len(content), got, want)
			}
			if err := r.VerifyObject(t.Context(), object.Name{Checksum: got, Type: object.TypeFile}); err != nil {
				t.Errorf("%s, %d bytes: %v", mode, len(content), err)
			}
		}
		link := storeFile(t, r, &object.FileHeader{Mode: 0o120777, Target: "x"}, "")
		txn, err := r.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := txn.WriteHeader(t.Context(), &label, link); !errors.Is(err, object.ErrNotNormal) {
			t.Errorf("%s: a symlink becomes a regular file: %v, want ErrNotNormal", mode, err)
		}
		if _, err := txn.WriteHeader(t.Context(), &label, object.Checksum{1}); !errors.Is(err, repo.ErrObjectNotFound) {
			t.Errorf("%s: content of an absent object: %v, want ErrObjectNotFound", mode, err)
		}
		if err := txn.Abort(); err != nil {
			t.Error(err)
		}
	}
}

func TestOnlyACompleteCommitLosesItsMarkAndGetsARef(t *testing.T) {
	t.Parallel()
	src, dst := repotest.Init(t, repo.ModeArchive), repotest.Init(t, repo.ModeArchive)
	c := repotest.CommitRelease(t, src, 1)
	if _, err := dst.PullLocal(t.Context(), src, []string{c.String()}, repo.PullOptions{CommitOnly: true}); err != nil {
		t.Fatal(err)
	}
	txn, err := dst.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var missing *repo.IncompleteError
	err = txn.Complete(t.Context(), c, "main")
	if !errors.As(err, &missing) || missing.Path != "/" || missing.Commit != c {
		t.Errorf("a commit without its tree: got %v, want an IncompleteError about the root", err)
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state, err := dst.IsPartial(c); state != repo.CommitPartial || err != nil {
		t.Errorf("state %v, %v, want partial", state, err)
	}
	if _, err := dst.ResolveRef("main"); !errors.Is(err, repo.ErrRefNotFound) {
		t.Errorf("the ref of an incomplete commit: %v, want ErrRefNotFound", err)
	}

	transact(t, dst, func(txn *repo.Txn) error {
		if err := repo.Traverse(t.Context(), src, []object.Checksum{c}, repo.TraverseOptions{}, func(n object.Name) error {
			if n.Type != object.TypeFile {
				data, err := src.Metadata(t.Context(), n)
				return errors.Join(err, txn.WriteMetadataAs(t.Context(), n, data))
			}
			r, info, err := src.OpenFile(t.Context(), n.Checksum)
			if err != nil {
				return err
			}
			return errors.Join(txn.WriteFileAs(t.Context(), n.Checksum, &info.FileHeader, info.Size, r), r.Close())
		}); err != nil {
			return err
		}
		return txn.Complete(t.Context(), c, "main")
	})
	if state, err := dst.IsPartial(c); state != repo.CommitComplete || err != nil {
		t.Errorf("state %v, %v, want complete", state, err)
	}
	if got, err := dst.ResolveRef("main"); got != c || err != nil {
		t.Errorf("main is %s, %v, want %s", got, err, c)
	}
}

func TestPullLetsInOnlyCommitsThatWereAdmitted(t *testing.T) {
	t.Parallel()
	src := repotest.Init(t, repo.ModeArchive)
	first, second := repotest.CommitRelease(t, src, 1), repotest.CommitRelease(t, src, 2)
	refused := errors.New("refused")
	dst := repotest.Init(t, repo.ModeArchive)
	verify := func(_ context.Context, c object.Checksum, data, detached []byte) error {
		if object.HashMetadata(data) != c {
			t.Errorf("commit %s comes with other bytes", c)
		}
		want, err := src.Metadata(t.Context(), object.Name{Checksum: c, Type: object.TypeCommitMeta})
		if err != nil && !errors.Is(err, repo.ErrObjectNotFound) || string(want) != string(detached) {
			t.Errorf("commit %s comes with detached metadata %x, want %x, %v", c, detached, want, err)
		}
		if c == second {
			return refused
		}
		return nil
	}
	opts := repo.PullOptions{NoDetached: true, Verify: verify}
	names := []string{first.String(), second.String()}
	if _, err := dst.PullLocal(t.Context(), src, names, opts); !errors.Is(err, refused) {
		t.Errorf("got %v, want the error of Verify", err)
	}
	objects, err := os.ReadDir(dst.Path() + "/objects")
	if err != nil || len(objects) > 0 {
		t.Errorf("objects/ has %d directories, %v, want none", len(objects), err)
	}
	if _, err := dst.PullLocal(t.Context(), src, names[:1], opts); err != nil {
		t.Error(err)
	}
	if ok, err := dst.Has(object.Name{Checksum: first, Type: object.TypeCommit}); !ok || err != nil {
		t.Errorf("the admitted commit is there: %t, %v", ok, err)
	}
}
