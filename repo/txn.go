package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// publishers is how many directories of objects/ are filled at once. Most of that time is spent waiting for the disk.
const publishers = 16

// Txn collects objects and refs and makes them visible together: first the objects, durably, then the refs. It is safe
// for concurrent use. End it with Commit or Abort; until then it holds the repository's lock.
//
// A Txn is a [Source] that reads what it has staged as well as what the repository holds.
type Txn struct {
	repo  *Repo
	lock  *Lock
	tmp   *os.Root
	stage *staging
	reads objectDir // what is staged
	known *presence
	space *spaceBudget
	// replace lets staged objects take the place of those in the repository.
	replace bool

	// mu is held for reading by everything that uses the transaction, and for writing while it ends.
	mu   sync.RWMutex
	done bool

	stats txnStats

	notes    sync.Mutex // guards the fields below
	detached map[object.Checksum][]byte
	partial  map[object.Checksum]bool
	refs     map[string]object.Checksum // zero to delete the ref
}

var _ Source = (*Txn)(nil)

// Stats says what a transaction wrote. The totals also count objects that existed before.
type Stats struct {
	MetadataTotal, MetadataWritten int
	ContentTotal, ContentWritten   int
	// ContentBytes is the size of the content that was written, before compression.
	ContentBytes int64
}

type txnStats struct {
	metadataTotal, metadataWritten, contentTotal, contentWritten, contentBytes atomic.Int64
}

func (s *txnStats) load() Stats {
	return Stats{
		MetadataTotal: int(s.metadataTotal.Load()), MetadataWritten: int(s.metadataWritten.Load()),
		ContentTotal: int(s.contentTotal.Load()), ContentWritten: int(s.contentWritten.Load()),
		ContentBytes: s.contentBytes.Load(),
	}
}

// Stats returns what was written so far. Others may write meanwhile.
func (t *Txn) Stats() Stats { return t.stats.load() }

// Begin starts a transaction. It holds the repository's shared lock until it ends; see [Repo.Lock] for how long Begin
// waits for that. Several transactions of one repository may run at once.
func (r *Repo) Begin(ctx context.Context) (*Txn, error) {
	if !r.mode.writable() {
		return nil, fmt.Errorf("repository %s: %s: %w", r.path, r.mode, ErrReadOnlyMode)
	}
	if !r.writable {
		return nil, r.readOnlyError()
	}
	lock, err := r.acquire(ctx, &Lock{repo: r, kind: LockShared, txn: true})
	if err != nil {
		return nil, err
	}
	t := &Txn{
		repo: r, lock: lock, known: newPresence(&r.objects),
		detached: map[object.Checksum][]byte{}, partial: map[object.Checksum]bool{}, refs: map[string]object.Checksum{},
	}
	if err := t.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a transaction: %w", err), t.end())
	}
	return t, nil
}

func (t *Txn) prepare() error {
	r := t.repo
	if err := r.root.Mkdir("tmp", 0o775); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	var err error
	if t.tmp, err = r.root.OpenRoot("tmp"); err != nil {
		return err
	}
	// Tidy before measuring the free space, since a killed transaction may have left much.
	if err := tidyTmp(t.tmp, r.Config().TmpExpiry); err != nil {
		return err
	}
	if t.space, err = newSpaceBudget(r.rootFD, r.Config()); err != nil {
		return err
	}
	if t.stage, err = newStaging(t.tmp); err != nil {
		return err
	}
	t.reads = r.objects
	t.reads.fd = t.stage.fd
	return nil
}

// Repo returns the repository that the transaction writes to.
func (t *Txn) Repo() *Repo { return t.repo }

// use prevents the transaction from ending until the returned function is called.
func (t *Txn) use(ctx context.Context) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t.mu.RLock()
	if t.done {
		t.mu.RUnlock()
		return nil, ErrTxnDone
	}
	return t.mu.RUnlock, nil
}

// HasObject reports whether the object is staged or in the repository itself. It does not search parent repositories,
// since the objects of a transaction do not rely on them.
func (t *Txn) HasObject(name object.Name) (bool, error) {
	release, err := t.use(context.Background())
	if err != nil {
		return false, err
	}
	defer release()
	return t.known.has(name)
}

// Metadata implements [Source].
func (t *Txn) Metadata(ctx context.Context, name object.Name) ([]byte, error) {
	if name.Type == object.TypeCommitMeta {
		t.notes.Lock()
		data, ok := t.detached[name.Checksum]
		t.notes.Unlock()
		if ok {
			return data, nil
		}
	}
	return staged(ctx, t, func() ([]byte, error) { return t.reads.metadata(name) },
		func() ([]byte, error) { return t.repo.Metadata(ctx, name) })
}

// FileInfo implements [Source].
func (t *Txn) FileInfo(ctx context.Context, c object.Checksum) (*object.FileInfo, error) {
	return staged(ctx, t, func() (*object.FileInfo, error) { return t.reads.fileInfo(c) },
		func() (*object.FileInfo, error) { return t.repo.FileInfo(ctx, c) })
}

// OpenFile implements [Source].
func (t *Txn) OpenFile(ctx context.Context, c object.Checksum) (io.ReadCloser, *object.FileInfo, error) {
	var info *object.FileInfo
	f, err := staged(ctx, t, func() (f io.ReadCloser, err error) {
		f, info, err = t.reads.openFile(c)
		return f, err
	}, func() (f io.ReadCloser, err error) {
		f, info, err = t.repo.OpenFile(ctx, c)
		return f, err
	})
	return f, info, err
}

// staged calls f for the staging directory and then for the repository.
func staged[T any](ctx context.Context, t *Txn, own, repo func() (T, error)) (T, error) {
	release, err := t.use(ctx)
	if err != nil {
		var none T
		return none, err
	}
	defer release()
	v, err := own()
	if errors.Is(err, ErrObjectNotFound) {
		return repo()
	}
	return v, err
}

// MarkPartial marks the commit as partial: objects of it may be missing. The mark is written before the commit becomes
// visible.
func (t *Txn) MarkPartial(c object.Checksum) { t.setPartial(c, true) }

// UnmarkPartial removes the partial mark of a commit, set by this transaction or an earlier one: once the transaction
// is committed, all objects of the commit exist.
func (t *Txn) UnmarkPartial(c object.Checksum) { t.setPartial(c, false) }

func (t *Txn) setPartial(c object.Checksum, partial bool) {
	t.notes.Lock()
	defer t.notes.Unlock()
	t.partial[c] = partial
}

// SetRef sets a ref, "name" or "remote:name", to a commit when the transaction is committed. An invalid name is an
// error at once; a name that conflicts with another ref is an error of Commit.
func (t *Txn) SetRef(refspec string, c object.Checksum) error {
	if c.IsZero() {
		return fmt.Errorf("ref %s: %w: it must name a commit", refspec, object.ErrInvalidChecksum)
	}
	return t.noteRef(refspec, c)
}

// DeleteRef deletes a ref when the transaction is committed. It is not an error if the ref does not exist.
func (t *Txn) DeleteRef(refspec string) error { return t.noteRef(refspec, object.Checksum{}) }

func (t *Txn) noteRef(refspec string, c object.Checksum) error {
	if _, err := parseRefPath(refspec); err != nil {
		return err
	}
	t.notes.Lock()
	defer t.notes.Unlock()
	t.refs[refspec] = c
	return nil
}

// Abort discards the transaction. It does nothing after Commit, whether that succeeded or not, or after another Abort.
func (t *Txn) Abort() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return nil
	}
	return t.end()
}

// end cleans up and releases the locks. The caller holds t.mu or has the only reference.
func (t *Txn) end() error {
	t.done = true
	var errs []error
	if t.stage != nil {
		errs = append(errs, t.stage.remove())
	}
	if t.tmp != nil {
		errs = append(errs, t.tmp.Close())
	}
	return errors.Join(append(errs, t.lock.Unlock())...)
}

// Commit makes the objects durable and visible and then writes the refs. After an error, no ref was written unless
// writing refs is what failed, and no commit is visible without its objects. In each case the transaction is over.
func (t *Txn) Commit(ctx context.Context) (Stats, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return Stats{}, ErrTxnDone
	}
	err := t.publish(ctx)
	if err == nil {
		err = t.writeRefs(ctx)
	}
	if err == nil {
		// Old versions of libostree mark a running transaction with this file.
		err = ignoreMissing(t.repo.root.Remove("transaction"))
	}
	if err := errors.Join(err, t.end()); err != nil {
		return Stats{}, fmt.Errorf("committing a transaction: %w", err)
	}
	return t.stats.load(), nil
}

// publish moves the staged objects into place. Commits are moved last, once everything else is durable, so that no
// commit exists without its objects, whenever the machine stops.
func (t *Txn) publish(ctx context.Context) error {
	if err := t.stageDetached(); err != nil {
		return err
	}
	rest, commits := t.stagedObjects()
	if len(rest)+len(commits) > 0 && t.repo.Config().Fsync {
		if err := retry(func() error { return unix.Syncfs(t.repo.rootFD) }); err != nil {
			return fmt.Errorf("syncing the filesystem: %w", err)
		}
	}
	if err := t.moveAll(ctx, rest); err != nil {
		return err
	}
	if err := t.writePartialMarks(true); err != nil {
		return err
	}
	if err := t.moveAll(ctx, commits); err != nil {
		return err
	}
	if err := t.dropTombstones(commits); err != nil {
		return err
	}
	return t.writePartialMarks(false)
}

// Refresh makes objects known that other transactions have made visible since this one began. Without it they may or
// may not be found.
func (t *Txn) Refresh() { t.known.refresh() }

// stagedObjects returns the staged objects by the first byte of their ids.
func (t *Txn) stagedObjects() (rest, commits map[byte][]object.Name) {
	rest, commits = map[byte][]object.Name{}, map[byte][]object.Name{}
	for i := range t.known.shards {
		for _, n := range t.known.shards[i].staged {
			if n.Type == object.TypeCommit {
				commits[byte(i)] = append(commits[byte(i)], n)
			} else {
				rest[byte(i)] = append(rest[byte(i)], n)
			}
		}
	}
	return rest, commits
}

// moveAll moves objects from the staging directory to objects/ and makes their names durable.
func (t *Txn) moveAll(ctx context.Context, objects map[byte][]object.Name) error {
	if len(objects) == 0 {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(publishers)
	for first, names := range objects {
		g.Go(func() error { return t.moveDir(ctx, first, names) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if !t.repo.Config().Fsync {
		return nil
	}
	return fsync(t.repo.objects.fd)
}

func (t *Txn) moveDir(ctx context.Context, first byte, names []object.Name) error {
	from, err := t.stage.dir(first)
	if err != nil {
		return err
	}
	to, err := makeDir(t.repo.objects.fd, hexByte(first), 0o777)
	if err != nil {
		return fmt.Errorf("objects/%s: %w", hexByte(first), err)
	}
	for _, n := range names {
		if err = ctx.Err(); err != nil {
			break
		}
		if err = moveObject(from, to, looseBase(n, t.repo.mode), t.replace || n.Type == object.TypeCommitMeta); err != nil {
			err = fmt.Errorf("object %s: %w", n, err)
			break
		}
	}
	if err == nil && t.repo.Config().Fsync {
		err = fsync(to)
	}
	return errors.Join(err, unix.Close(to))
}

// moveObject renames a staged object. If the object exists by now, it stays, since others may have linked to it.
// Objects that are not named by their content are replaced, and corrupt ones by the transactions of a [Checker].
func moveObject(from, to int, base string, replace bool) error {
	if replace {
		return unix.Renameat(from, base, to, base)
	}
	err := retry(func() error { return unix.Renameat2(from, base, to, base, unix.RENAME_NOREPLACE) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// The filesystem cannot do that. The staged name is deleted with the staging directory.
		err = unix.Linkat(from, base, to, base, 0)
	}
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// dropTombstones removes the tombstones of commits that exist again.
func (t *Txn) dropTombstones(commits map[byte][]object.Name) error {
	for _, names := range commits {
		for _, n := range names {
			tombstone := object.Name{Checksum: n.Checksum, Type: object.TypeTombstone}
			if err := t.repo.objects.remove(tombstone); err != nil && !errors.Is(err, ErrObjectNotFound) {
				return err
			}
		}
	}
	return nil
}

// writePartialMarks sets or removes the partial marks that the transaction recorded.
func (t *Txn) writePartialMarks(set bool) error {
	var changed bool
	for c, partial := range t.partial {
		if partial != set {
			continue
		}
		changed = true
		if err := t.repo.setPartialMark(c, set); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	return t.repo.syncDir("state")
}

// writeRefs writes the recorded refs in the order of their names. It writes new refs before it deletes any.
func (t *Txn) writeRefs(ctx context.Context) error {
	if len(t.refs) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(t.refs))
	for _, deletes := range []bool{false, true} {
		for _, name := range names {
			c := t.refs[name]
			if c.IsZero() != deletes {
				continue
			}
			write := func() error { return t.repo.SetRef(ctx, name, c) }
			if deletes {
				write = func() error { return t.repo.DeleteRef(ctx, name) }
			}
			if err := write(); err != nil && !errors.Is(err, ErrRefNotFound) {
				return err
			}
		}
	}
	return nil
}
