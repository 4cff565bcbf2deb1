package repo_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// impatient returns two Repos of one path that do not wait for locks.
func impatient(t *testing.T) (one, two *repo.Repo) {
	t.Helper()
	one = repotest.Init(t, repo.ModeArchive)
	if err := one.SetConfig("core", "lock-timeout-secs", "0"); err != nil {
		t.Fatal(err)
	}
	return one, open(t, one.Path())
}

func open(t *testing.T, path string) *repo.Repo {
	t.Helper()
	r, err := repo.Open(path)
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

func lock(t *testing.T, r *repo.Repo, kind repo.LockKind) *repo.Lock {
	t.Helper()
	l, err := r.Lock(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func unlock(t *testing.T, l *repo.Lock) {
	t.Helper()
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
}

func wantLocked(t *testing.T, r *repo.Repo, kind repo.LockKind) {
	t.Helper()
	if l, err := r.Lock(t.Context(), kind); !errors.Is(err, repo.ErrLocked) {
		t.Errorf("%v lock: got %v, %v, want ErrLocked", kind, l, err)
	}
}

func TestLocksOfTwoUsersExcludeEachOther(t *testing.T) {
	t.Parallel()
	one, two := impatient(t)
	l := lock(t, one, repo.LockExclusive)
	wantLocked(t, two, repo.LockShared)
	wantLocked(t, two, repo.LockExclusive)
	unlock(t, l)
	unlock(t, l) // a second call does nothing

	l = lock(t, one, repo.LockShared)
	unlock(t, lock(t, two, repo.LockShared))
	wantLocked(t, two, repo.LockExclusive)
	unlock(t, l)
	unlock(t, lock(t, two, repo.LockExclusive))
}

func TestLocksOfOneUserAreCounted(t *testing.T) {
	t.Parallel()
	one, two := impatient(t)
	shared := lock(t, one, repo.LockShared)
	exclusive := lock(t, one, repo.LockExclusive)
	again := lock(t, one, repo.LockShared)
	wantLocked(t, two, repo.LockShared)
	unlock(t, shared)
	unlock(t, exclusive)
	unlock(t, lock(t, two, repo.LockShared))
	wantLocked(t, two, repo.LockExclusive)
	unlock(t, again)
	unlock(t, lock(t, two, repo.LockExclusive))
}

// A prune must not run while a transaction relies on existing objects, not even one of the same Repo.
func TestTransactionsAndExclusiveLocksExcludeEachOther(t *testing.T) {
	t.Parallel()
	one, two := impatient(t)
	txn, err := one.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantLocked(t, one, repo.LockExclusive)
	wantLocked(t, two, repo.LockExclusive)
	if err := txn.Abort(); err != nil {
		t.Fatal(err)
	}
	l := lock(t, one, repo.LockExclusive)
	for _, r := range []*repo.Repo{one, two} {
		if _, err := r.Begin(t.Context()); !errors.Is(err, repo.ErrLocked) {
			t.Errorf("got %v, want ErrLocked", err)
		}
	}
	unlock(t, l)
}

func TestLockIsAnOFDLock(t *testing.T) {
	t.Parallel()
	one, _ := impatient(t)
	unlock(t, lock(t, one, repo.LockShared)) // makes the file
	f, err := os.OpenFile(filepath.Join(one.Path(), ".lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	theirs := &unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, theirs); err != nil {
		t.Fatal(err)
	}
	wantLocked(t, one, repo.LockShared)
	theirs.Type = unix.F_UNLCK
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, theirs); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	unlock(t, lock(t, one, repo.LockExclusive))
}

func TestLockWaits(t *testing.T) {
	t.Parallel()
	one := repotest.Init(t, repo.ModeArchive)
	if err := one.SetConfig("core", "lock-timeout-secs", "-1"); err != nil {
		t.Fatal(err)
	}
	two := open(t, one.Path())
	l := lock(t, one, repo.LockExclusive)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := two.Lock(ctx, repo.LockShared); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			l, err := two.Lock(t.Context(), repo.LockShared)
			if err != nil {
				t.Error(err)
				return
			}
			if err := l.Unlock(); err != nil {
				t.Error(err)
			}
		})
	}
	unlock(t, l)
	wg.Wait()
}

func TestLockingCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	one, _ := impatient(t)
	if err := one.SetConfig("core", "locking", "false"); err != nil {
		t.Fatal(err)
	}
	unlock(t, lock(t, one, repo.LockExclusive))
	if _, err := os.Stat(filepath.Join(one.Path(), ".lock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no lock file", err)
	}
}
