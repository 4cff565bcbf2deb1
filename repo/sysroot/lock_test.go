package sysroot_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

func TestTheLockExcludesOthers(t *testing.T) {
	t.Parallel()
	s, _ := makeHost(t, -1)
	var wg sync.WaitGroup
	var holders, most atomic.Int32
	for range 8 {
		wg.Go(func() {
			other := open(t, sysroot.Host{Run: t.TempDir()}, s.Path())
			unlock, err := other.Lock(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			most.Store(max(most.Load(), holders.Add(1)))
			time.Sleep(time.Millisecond)
			holders.Add(-1)
			if err := unlock(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := most.Load(); n != 1 {
		t.Errorf("%d held the lock at once", n)
	}
	if _, err := os.Lstat(filepath.Join(s.Path(), "ostree/lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that the file is gone", err)
	}
}

func TestWaitingForTheLockEndsWithTheContext(t *testing.T) {
	t.Parallel()
	s, _ := makeHost(t, -1)
	unlock, err := s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
}
