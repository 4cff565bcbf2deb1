//go:build interop

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// kills is how often each process is killed in a repository of each mode.
const kills = 15

// killTree makes a tree that takes long enough to be interrupted anywhere: many small files, some large ones.
func killTree(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "tree")
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		path := filepath.Join(root, fmt.Sprintf("d%02d", i%40), fmt.Sprintf("f%d", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		size := 1 + rnd.IntN(20_000)
		if i%100 == 0 {
			size += 2 << 20
		}
		data := make([]byte, size)
		for j := range data {
			data[j] = byte(rnd.Uint32())
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// killed starts a command, kills it after d, and reports whether it had ended by itself.
func killed(t *testing.T, d time.Duration, args ...string) (finished bool) {
	t.Helper()
	cmd := exec.Command(program, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("%v failed by itself: %v", args, err)
		}
		return true
	case <-time.After(d):
		_ = cmd.Process.Signal(syscall.SIGKILL)
		<-done
		return false
	}
}

// dieOften kills a command at random instants, each time on a fresh repository or on what the last kill left. It checks
// that the repository stays valid, and that the next run completes and sets the ref.
func dieOften(t *testing.T, mode, ref string, args func(repo string) []string, want string) {
	t.Helper()
	repo := newSyncedRepo(t, mode)
	start := time.Now()
	if !killed(t, time.Hour, args(repo)...) {
		t.Fatal("the first run was to complete")
	}
	whole := time.Since(start)
	rnd := rand.New(rand.NewPCG(3, 4))
	died := 0
	for attempt := 0; died < kills; attempt++ {
		if attempt > 20*kills {
			t.Fatalf("only %d of %d runs were slow enough to be killed", died, attempt)
		}
		if attempt%5 == 0 { // four kills in one repository, then a fresh one
			repo = newSyncedRepo(t, mode)
		}
		if killed(t, time.Duration(rnd.Int64N(int64(whole))), args(repo)...) {
			repo = newSyncedRepo(t, mode)
			continue
		}
		died++
		fsck(t, repo)
		// Complete the next run in a copy, since it may be killed in the repository itself. The copies are removed at the
		// end, as filesystems are slow at making files after many were deleted.
		next := filepath.Join(t.TempDir(), "next")
		must(t, "cp", "-a", repo, next)
		must(t, program, args(next)...)
		if got := must(t, "ostree", "rev-parse", "--repo="+next, ref); got != want {
			t.Fatalf("after %d deaths the next run gave %s, want %s", died, got, want)
		}
		if died%5 == 0 {
			must(t, program, args(repo)...)
			fsck(t, repo)
			if got := must(t, "ostree", "rev-parse", "--repo="+repo, ref); got != want {
				t.Fatalf("after %d deaths the run that completed gave %s, want %s", died, got, want)
			}
			must(t, "ostree", "checkout", "--repo="+repo, "--user-mode", ref, filepath.Join(t.TempDir(), "tree"))
			repo = newSyncedRepo(t, mode)
		}
	}
	// The next run completes, also right after the last kill, and by the other program.
	must(t, program, args(repo)...)
	fsck(t, repo)
	if stale, _ := filepath.Glob(filepath.Join(repo, "tmp", "staging-*")); len(stale) > 0 {
		t.Errorf("staging directories remain after a completed run: %v", stale)
	}
}

func commitArgs(tree string) func(string) []string {
	return func(repo string) []string {
		return []string{"repo", "commit", "--repo=" + repo, "--branch=killed", "--parent=none", "--timestamp=@1700000000",
			tree}
	}
}

func importArgs(image string) func(string) []string {
	return func(repo string) []string {
		return []string{"container", "unencapsulate", "--quiet", "--repo=" + repo, "--write-ref=killed",
			"ostree-unverified-image:" + image}
	}
}

func TestInterop_ACommitKilledAnywhereLeavesASoundRepository(t *testing.T) {
	tree := killTree(t)
	for _, mode := range []string{"bare", "bare-user", "bare-user-only", "archive"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel() // most of the time goes into waiting for the disk
			repo := newSyncedRepo(t, mode)
			want := must(t, program, commitArgs(tree)(repo)...)
			dieOften(t, mode, "killed", commitArgs(tree), want)
		})
	}
}

func TestInterop_AnImportKilledAnywhereLeavesASoundRepository(t *testing.T) {
	source := newRepo(t, "archive")
	want := must(t, program, commitArgs(killTree(t))(source)...)
	image := "oci:" + t.TempDir() + "/image"
	must(t, program, "container", "encapsulate", "--repo="+source, "killed", image)
	for _, mode := range []string{"bare", "bare-user", "bare-user-only", "archive"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dieOften(t, mode, "killed", importArgs(image), want)
		})
	}
}
