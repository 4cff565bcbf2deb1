//go:build interop

package repo_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// These tests compare with libostree's own program. They need root for mode bare.

var writableModes = []repo.Mode{repo.ModeBare, repo.ModeBareUser, repo.ModeBareUserOnly, repo.ModeArchive}

// ostree runs libostree's program on a repository and returns what it prints.
func ostree(t testing.TB, path string, args ...string) string {
	t.Helper()
	out, err := tryOstree(t.Context(), path, args...)
	if err != nil {
		t.Fatalf("ostree %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func tryOstree(ctx context.Context, path string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "ostree", append([]string{"--repo=" + path}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestBareKeepsThePromises(t *testing.T) {
	t.Parallel()
	repotest.Suite(t, repo.ModeBare)
}

func TestLibostreeReadsOurRepositories(t *testing.T) {
	t.Parallel()
	for _, mode := range writableModes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			r := repotest.Init(t, mode)
			path := r.Path()
			var last object.Checksum
			for n := 1; n <= 2; n++ {
				c := repotest.CommitRelease(t, r, n)
				ostree(t, path, "fsck")
				listing := ostree(t, path, "ls", "-RXC", c.String())
				if mode != repo.ModeBareUserOnly && listing != repotest.ReleaseListing(n) {
					t.Errorf("release %d: listing differs", n)
				}
				last = c
			}
			if got := strings.TrimSpace(ostree(t, path, "rev-parse", "exampleos/x86_64/stable")); got != last.String() {
				t.Errorf("got %s, want %s", got, last)
			}
			if err := errors.Join(r.SetAlias(t.Context(), "alias", "exampleos/x86_64/stable"),
				r.SetRef(t.Context(), "origin:remote/ref", last)); err != nil {
				t.Fatal(err)
			}
			if got, want := ostree(t, path, "refs"),
				"alias\nexampleos/x86_64/stable\norigin:remote/ref\n"; sortLines(got) != want {
				t.Errorf("got refs %q, want %q", got, want)
			}
			if got := ostree(t, path, "refs", "-A"); got != "alias -> exampleos/x86_64/stable\n" {
				t.Errorf("got aliases %q", got)
			}
			dest := filepath.Join(t.TempDir(), "checkout")
			ostree(t, path, "checkout", "-U", last.String(), dest)
			checkTree(t, dest, repotest.For(mode, repotest.Release(2)))
			if got := ostree(t, path, "show", "--print-detached-metadata-key=detached.note",
				last.String()); got != "'hello-2'\n" {
				t.Errorf("got detached metadata %q", got)
			}
		})
	}
}

func sortLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		for j := i; j > 0 && lines[j] < lines[j-1]; j-- {
			lines[j], lines[j-1] = lines[j-1], lines[j]
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// checkTree compares content and symlinks of a checkout.
func checkTree(t *testing.T, dir string, tree []repotest.Entry) {
	t.Helper()
	for _, e := range tree {
		path := filepath.Join(dir, e.Path)
		switch {
		case e.Target != "":
			if got, err := os.Readlink(path); got != e.Target || err != nil {
				t.Errorf("%s: got %q, %v", e.Path, got, err)
			}
		case !e.IsDir():
			if got, err := os.ReadFile(path); !bytes.Equal(got, e.Content) || err != nil {
				t.Errorf("%s: content differs, %v", e.Path, err)
			}
		}
	}
}

func TestWeReadLibostreesRepositories(t *testing.T) {
	t.Parallel()
	source := t.TempDir()
	if err := repotest.MakeDir(source, repotest.Release(1), false); err != nil {
		t.Fatal(err)
	}
	for _, mode := range writableModes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "repo")
			ostree(t, path, "init", "--mode="+mode.String())
			id := strings.TrimSpace(ostree(t, path, "commit", "-b", "os/stable", "-s", "subject", "--timestamp=@1700000000",
				source))
			r := open(t, path)
			ours := repotest.Init(t, mode)
			txn := begin(t, ours)
			root, meta, err := repotest.Write(t.Context(), txn, repotest.For(mode, repotest.Release(1)))
			if err != nil {
				t.Fatal(err)
			}
			c, err := r.ResolveRef("os/stable")
			if err != nil || c.String() != id {
				t.Fatalf("got %s, %v, want %s", c, err, id)
			}
			commit, err := repo.LoadCommit(t.Context(), r, c)
			if err != nil {
				t.Fatal(err)
			}
			if commit.Tree != root || commit.Meta != meta {
				t.Errorf("root: theirs %s %s, ours %s %s", commit.Tree, commit.Meta, root, meta)
			}
			rehash(t, r)
		})
	}
}

// rehash checks that every object hashes to its name.
func rehash(t *testing.T, r *repo.Repo) {
	t.Helper()
	count := 0
	for n, err := range r.Objects(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case n.Type == object.TypeFile:
			f, info, err := r.OpenFile(t.Context(), n.Checksum)
			if err != nil {
				t.Fatal(err)
			}
			h, err := object.FileHasher(&info.FileHeader)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(h, f); err != nil {
				t.Fatal(err)
			}
			if got, err := object.ChecksumFromBytes(h.Sum(nil)); got != n.Checksum || err != nil {
				t.Errorf("%s reads as %s, %v", n, got, err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		case n.Type == object.TypeCommit || n.Type == object.TypeDirTree || n.Type == object.TypeDirMeta:
			data, err := r.Metadata(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			if got := object.HashMetadata(data); got != n.Checksum {
				t.Errorf("%s reads as %s", n, got)
			}
		}
		count++
	}
	if count < 100 {
		t.Errorf("got %d objects only", count)
	}
}

func TestWeReadUpstreamsRepository(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tar := fixtures.Dir(t, "upstream", "archive.tar.zst")
	if out, err := exec.Command("tar", "-C", dir, "--zstd", "-xf", tar).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r := open(t, filepath.Join(dir, "archive"))
	rehash(t, r)
	if got, err := r.ResolveRev("exampleos/x86_64/stable^"); got != repotest.ReleaseCommit(1) || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

// A lock of either program makes the other wait.
func TestLibostreeHonoursOurLock(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	repotest.CommitRelease(t, r, 1)
	if err := r.SetConfig("core", "lock-timeout-secs", "1"); err != nil {
		t.Fatal(err)
	}
	txn := begin(t, r)
	out, err := tryOstree(t.Context(), r.Path(), "prune", "--refs-only")
	if err == nil || !strings.Contains(out, "temporarily unavailable") {
		t.Errorf("prune during our transaction: got %v\n%s", err, out)
	}
	if err := txn.Abort(); err != nil {
		t.Fatal(err)
	}
	ostree(t, r.Path(), "prune", "--refs-only")
	l := lock(t, r, repo.LockExclusive)
	out, err = tryOstree(t.Context(), r.Path(), "commit", "-b", "x", "--tree=ref=exampleos/x86_64/stable")
	if err == nil || !strings.Contains(out, "temporarily unavailable") {
		t.Errorf("commit during our exclusive lock: got %v\n%s", err, out)
	}
	unlock(t, l)
}

func TestWeHonourLibostreesLock(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	if err := r.SetConfig("core", "lock-timeout-secs", "0"); err != nil {
		t.Fatal(err)
	}
	// A commit from a pipe holds its transaction until the pipe ends.
	cmd := exec.CommandContext(t.Context(), "ostree", "--repo="+r.Path(), "commit", "-b", "x", "--tree=tar=-")
	pipe, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, filepath.Join(r.Path(), "tmp/staging-*-lock"))
	wantLocked(t, r, repo.LockExclusive)
	if err := begin(t, r).Abort(); err != nil {
		t.Errorf("a transaction beside theirs: %v", err)
	}
	if _, err := pipe.Write(make([]byte, 10240)); err != nil { // an empty tar
		t.Fatal(err)
	}
	if err := errors.Join(pipe.Close(), ignoreExit(cmd.Wait())); err != nil {
		t.Fatal(err)
	}
	unlock(t, lock(t, r, repo.LockExclusive))
}

// waitFor waits until another process has made a file.
func waitFor(t *testing.T, pattern string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if found, err := filepath.Glob(pattern); len(found) > 0 || err != nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("%s never appeared", pattern)
}

func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// Writers of both programs and a prune work on one repository at once. What has a ref survives.
func TestConcurrentWritersAndPrune(t *testing.T) {
	t.Parallel()
	source := t.TempDir()
	if err := repotest.MakeDir(source, repotest.Release(2), false); err != nil {
		t.Fatal(err)
	}
	for _, mode := range writableModes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			concurrentWriters(t, repotest.Init(t, mode), source)
		})
	}
}

func concurrentWriters(t *testing.T, r *repo.Repo, source string) {
	const rounds = 10
	path := r.Path()
	g, ctx := errgroup.WithContext(t.Context())
	for _, ref := range []string{"ours/a", "ours/b"} {
		own := open(t, path)
		g.Go(func() error {
			for i := range rounds {
				if err := commitRound(ctx, own, ref, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, args := range [][]string{
		{"commit", "-b", "theirs", "--tree=dir=" + source},
		{"prune", "--refs-only", "--depth=0"},
	} {
		g.Go(func() error {
			for range rounds {
				if out, err := tryOstree(ctx, path, args...); err != nil {
					return errors.New(out)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	ostree(t, path, "fsck")
	for _, ref := range []string{"ours/a", "ours/b", "theirs"} {
		ostree(t, path, "checkout", "-U", ref, filepath.Join(t.TempDir(), "out"))
	}
}

// commitRound commits a tree, part of which is new each time.
func commitRound(ctx context.Context, r *repo.Repo, ref string, round int) error {
	txn, err := r.Begin(ctx)
	if err != nil {
		return err
	}
	defer txn.Abort()
	tree := repotest.For(r.Mode(), repotest.Release(1+round%2))
	for i := range tree {
		if e := &tree[i]; !e.IsDir() && e.Target == "" && i%7 == round%7 {
			e.Content = append(bytes.Clone(e.Content), byte(round))
		}
	}
	c := object.Commit{Subject: ref, Timestamp: uint64(round)}
	if c.Tree, c.Meta, err = repotest.Write(ctx, txn, tree); err != nil {
		return err
	}
	id, err := txn.WriteCommit(ctx, &c)
	if err != nil {
		return err
	}
	if err := txn.SetRef(ref, id); err != nil {
		return err
	}
	_, err = txn.Commit(ctx)
	return err
}

const crashVariable = "REPO_TEST_CRASH"

// TestCrashHelper is the process that TestKilledWriters kills.
func TestCrashHelper(t *testing.T) {
	path := os.Getenv(crashVariable)
	if path == "" {
		return
	}
	r := open(t, path)
	for round := 0; ; round++ {
		if err := commitRound(t.Context(), r, "crash", round); err != nil {
			t.Fatal(err)
		}
	}
}

// Whenever a writer is killed, the repository is valid and the next writer of either program succeeds.
func TestKilledWriters(t *testing.T) {
	t.Parallel()
	for _, mode := range []repo.Mode{repo.ModeBare, repo.ModeArchive} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			r := repotest.Init(t, mode)
			if err := r.SetConfig("core", "fsync", "true"); err != nil {
				t.Fatal(err)
			}
			for i := range 25 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(40+i*17)*time.Millisecond)
				cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestCrashHelper$")
				cmd.Env = append(os.Environ(), crashVariable+"="+r.Path())
				out, err := cmd.CombinedOutput()
				cancel()
				if err == nil || len(out) > 0 {
					t.Fatalf("the writer ended by itself: %v\n%s", err, out)
				}
				ostree(t, r.Path(), "fsck")
			}
			age(t, filepath.Join(r.Path(), "tmp"))
			if err := commitRound(t.Context(), r, "after", 1); err != nil {
				t.Fatal(err)
			}
			left, err := filepath.Glob(filepath.Join(r.Path(), "tmp/staging-*"))
			if len(left) > 0 || err != nil {
				t.Errorf("got %v, %v, want what the killed ones left to be gone", left, err)
			}
			ostree(t, r.Path(), "commit", "-b", "theirs", "--tree=ref=after")
			ostree(t, r.Path(), "fsck")
		})
	}
}

// age backdates the content of a directory, since we leave young files alone: they may belong to a libostree that has
// just started.
func age(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Minute)
	for _, e := range entries {
		if err := os.Chtimes(filepath.Join(dir, e.Name()), old, old); err != nil {
			t.Fatal(err)
		}
	}
}
