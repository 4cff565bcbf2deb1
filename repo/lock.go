package repo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// LockKind is the kind of a lock on a repository.
type LockKind uint8

// The kinds of lock.
const (
	// LockShared keeps others from deleting objects. Any number of users may hold it at once.
	LockShared LockKind = iota + 1
	// LockExclusive keeps others from holding any lock. Prune takes it.
	LockExclusive
)

// String returns the kind as it appears in error messages.
func (k LockKind) String() string {
	if k == LockExclusive {
		return "exclusive"
	}
	return "shared"
}

// Lock is a held lock on a repository. See [Repo.Lock].
type Lock struct {
	repo *Repo
	kind LockKind
	txn  bool
	once sync.Once
	err  error
}

// repoLock counts the locks that one Repo holds. The kernel's lock on the file .lock is as strong as the strongest
// of them.
type repoLock struct {
	mu     sync.Mutex
	fd     int // of .lock, which the first lock opens; -1 before
	kernel int16
	shared int // including those of transactions
	excl   int
	txns   int
	flock  bool // the kernel has no OFD locks
}

const (
	lockPollMin = 50 * time.Millisecond
	lockPollMax = time.Second
)

// Lock takes libostree's lock on the repository. It waits for other Repo values and for other processes, including
// those of libostree. After the time that core.lock-timeout-secs sets, it returns an error that wraps [ErrLocked].
//
// Locks of one Repo are counted and do not exclude each other, so a function that takes a lock may be called with the
// lock held. Transactions are an exception: [Repo.Begin] waits while this Repo holds an exclusive lock, and the
// reverse, since a prune would delete objects that the transaction relies on.
//
// If locking is disabled, or the user may not write to the repository, Lock does nothing.
func (r *Repo) Lock(ctx context.Context, kind LockKind) (*Lock, error) {
	return r.acquire(ctx, &Lock{repo: r, kind: kind})
}

func (r *Repo) acquire(ctx context.Context, l *Lock) (*Lock, error) {
	if !r.writable || !r.Config().Locking {
		return &Lock{}, nil
	}
	deadline := time.Now().Add(r.Config().LockTimeout)
	wait := lockPollMin
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ok, err := r.lock.try(r.rootFD, l)
		if err != nil {
			return nil, fmt.Errorf("locking repo %s: %w", l.kind, err)
		}
		if ok {
			return l, nil
		}
		pause := wait/2 + rand.N(wait/2+1)
		wait = min(wait*2, lockPollMax)
		if r.Config().LockTimeout >= 0 {
			left := time.Until(deadline)
			if left <= 0 {
				return nil, fmt.Errorf("locking repo %s failed: %w", l.kind, ErrLocked)
			}
			pause = min(pause, left)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// Unlock releases the lock. Further calls do nothing.
func (l *Lock) Unlock() error {
	if l.repo == nil {
		return nil
	}
	l.once.Do(func() { l.err = l.repo.lock.release(l) })
	return l.err
}

// try takes the lock if it is free.
func (k *repoLock) try(rootFD int, l *Lock) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.txn && k.excl > 0 || l.kind == LockExclusive && k.txns > 0 {
		return false, nil
	}
	if k.fd < 0 {
		fd, err := openat(rootFD, ".lock", unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o660)
		if err != nil {
			return false, err
		}
		k.fd = fd
	}
	want := k.kernel
	if l.kind == LockExclusive {
		want = unix.F_WRLCK
	} else if k.kernel == unix.F_UNLCK {
		want = unix.F_RDLCK
	}
	if ok, err := k.set(want); !ok || err != nil {
		return false, err
	}
	k.count(l, 1)
	return true, nil
}

func (k *repoLock) release(l *Lock) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count(l, -1)
	want := int16(unix.F_UNLCK)
	if k.excl > 0 {
		want = unix.F_WRLCK
	} else if k.shared > 0 {
		want = unix.F_RDLCK
	}
	_, err := k.set(want)
	return err
}

func (k *repoLock) count(l *Lock, by int) {
	if l.kind == LockExclusive {
		k.excl += by
	} else {
		k.shared += by
	}
	if l.txn {
		k.txns += by
	}
}

// set changes the kernel's lock to the given type. It reports false if another holder prevents that.
func (k *repoLock) set(typ int16) (bool, error) {
	if typ == k.kernel {
		return true, nil
	}
	ok, err := tryLockFile(k.fd, typ, &k.flock)
	if ok {
		k.kernel = typ
	}
	return ok, err
}

func (k *repoLock) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fd < 0 {
		return nil
	}
	err := unix.Close(k.fd)
	k.fd, k.kernel = -1, unix.F_UNLCK
	return err
}

// tryLockFile changes the lock of the open file description to F_RDLCK, F_WRLCK or F_UNLCK without waiting.
// libostree uses OFD locks, which flock locks do not exclude, and flock only where the kernel has no OFD locks.
func tryLockFile(fd int, typ int16, flock *bool) (bool, error) {
	err := unix.EINVAL
	if !*flock {
		e := retry(func() error {
			return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: typ, Whence: unix.SEEK_SET})
		})
		if e == nil {
			return true, nil
		}
		if !errors.As(e, &err) {
			return false, e
		}
	}
	if err == unix.EINVAL {
		*flock = true
		how := map[int16]int{unix.F_RDLCK: unix.LOCK_SH, unix.F_WRLCK: unix.LOCK_EX, unix.F_UNLCK: unix.LOCK_UN}[typ]
		if e := retry(func() error { return unix.Flock(fd, how|unix.LOCK_NB) }); e == nil {
			return true, nil
		} else if !errors.As(e, &err) {
			return false, e
		}
	}
	if err == unix.EAGAIN || err == unix.EACCES {
		return false, nil
	}
	return false, err
}
