package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// PruneOptions say which objects are still needed. The zero value keeps every commit and deletes what no commit needs.
type PruneOptions struct {
	// RefsOnly keeps only commits that can be reached from refs. The fields below imply it, except CommitOnly.
	RefsOnly bool
	// Depth is how many ancestors of a ref's commit are kept; nil keeps all of them. It has an effect with RefsOnly.
	Depth *int
	// KeepYoungerThan, if set, keeps the commit that each ref names, and its ancestors up to the first older one.
	KeepYoungerThan time.Time
	// RetainBranchDepth is Depth for single refs.
	RetainBranchDepth map[string]int
	// OnlyBranches, if not empty, names the refs whose history is cut; other refs keep theirs.
	OnlyBranches []string
	// DeleteCommits are deleted first; it is an error if a ref names one of them. It also sets core.tombstone-commits, so
	// that commits deleted from then on leave tombstones.
	DeleteCommits []object.Checksum
	// CommitOnly deletes commits and leaves other objects.
	CommitOnly bool
	// NoPrune counts what would be deleted and deletes nothing. It cannot be combined with DeleteCommits.
	NoPrune bool
	// WithoutRefs are refs to ignore, to find out what would be deleted without them. It needs NoPrune and RefsOnly.
	WithoutRefs []string
}

// PruneStats says what was or would be deleted.
type PruneStats struct {
	Total   int // objects that were considered
	Deleted int
	Bytes   int64 // size of what was deleted
}

// ErrCommitInUse says that a commit cannot be deleted because a ref names it.
var ErrCommitInUse = errors.New("commit is in use")

// Prune deletes the objects that are not needed any more. It holds the exclusive lock, so it waits for transactions,
// and new ones wait for it. It never deletes objects of parent repositories.
func (r *Repo) Prune(ctx context.Context, opts PruneOptions) (stats PruneStats, err error) {
	if !r.writable && !opts.NoPrune {
		return stats, r.readOnlyError()
	}
	if opts.NoPrune && len(opts.DeleteCommits) > 0 {
		return stats, errors.New("a commit cannot be deleted and nothing be pruned")
	}
	if len(opts.WithoutRefs) > 0 && !(opts.NoPrune && opts.RefsOnly) {
		return stats, errors.New("refs can only be ignored to find out what a prune would delete")
	}
	lock, err := r.Lock(ctx, LockExclusive)
	if err != nil {
		return stats, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	for _, c := range opts.DeleteCommits {
		if err := r.deleteCommit(ctx, c); err != nil {
			return stats, err
		}
	}
	reachable, err := r.needed(ctx, opts)
	if err != nil {
		return stats, err
	}
	return r.sweep(ctx, reachable, opts)
}

// deleteCommit deletes a commit object that no ref names, and leaves a tombstone.
func (r *Repo) deleteCommit(ctx context.Context, c object.Checksum) error {
	refs, err := r.Refs("")
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if ref.Commit == c {
			return fmt.Errorf("%w: commit '%s' is referenced by '%s'", ErrCommitInUse, c, ref.Name)
		}
	}
	if !r.Config().TombstoneCommits {
		if err := r.SetConfig("core", "tombstone-commits", "true"); err != nil {
			return err
		}
	}
	if ok, err := r.objects.has(object.Name{Checksum: c, Type: object.TypeCommit}); err != nil {
		return err
	} else if !ok {
		return notFound(object.Name{Checksum: c, Type: object.TypeCommit})
	}
	return r.DeleteObject(ctx, object.Name{Checksum: c, Type: object.TypeCommit})
}

// needed returns the objects to keep.
func (r *Repo) needed(ctx context.Context, opts PruneOptions) (map[object.Name]struct{}, error) {
	t := newTraverser(r, nil)
	composite := len(opts.RetainBranchDepth)+len(opts.OnlyBranches) > 0 || !opts.KeepYoungerThan.IsZero()
	var err error
	if opts.RefsOnly || composite {
		err = r.neededByRefs(ctx, t, opts)
	} else {
		err = r.neededByCommits(ctx, t, opts)
	}
	return t.seen, err
}

func (r *Repo) neededByCommits(ctx context.Context, t *traverser, opts PruneOptions) error {
	var commits []object.Checksum
	for n, err := range r.Objects(ctx) {
		if err != nil {
			return err
		}
		if n.Type == object.TypeCommit {
			commits = append(commits, n.Checksum)
		}
	}
	for _, c := range commits {
		if err := t.history(ctx, c, TraverseOptions{CommitOnly: opts.CommitOnly}, true); err != nil {
			return err
		}
	}
	return nil
}

func (r *Repo) neededByRefs(ctx context.Context, t *traverser, opts PruneOptions) error {
	refs, err := r.Refs("")
	if err != nil {
		return err
	}
	refs = slices.DeleteFunc(refs, func(ref Ref) bool { return slices.Contains(opts.WithoutRefs, ref.Name) })
	known := map[string]bool{}
	for _, ref := range refs {
		known[ref.Name] = true
	}
	named := slices.Concat(opts.OnlyBranches, slices.Sorted(maps.Keys(opts.RetainBranchDepth)))
	for _, name := range named {
		if !known[name] {
			return fmt.Errorf("ref %s: %w", name, ErrRefNotFound)
		}
	}
	for _, ref := range refs {
		if err := r.neededByRef(ctx, t, ref, opts); err != nil {
			return fmt.Errorf("ref %s: %w", ref.Name, err)
		}
	}
	return nil
}

func (r *Repo) neededByRef(ctx context.Context, t *traverser, ref Ref, opts PruneOptions) error {
	walk := TraverseOptions{Depth: AllHistory, CommitOnly: opts.CommitOnly}
	own, hasOwn := opts.RetainBranchDepth[ref.Name]
	switch {
	case len(opts.OnlyBranches) > 0 && !slices.Contains(opts.OnlyBranches, ref.Name):
	case hasOwn:
		walk.Depth = own
	case !opts.KeepYoungerThan.IsZero():
		return t.young(ctx, ref.Commit, opts)
	case opts.Depth != nil:
		walk.Depth = *opts.Depth
	}
	return t.history(ctx, ref.Commit, walk, true)
}

// young visits a commit, and its ancestors up to the first that is older than opts.KeepYoungerThan.
func (t *traverser) young(ctx context.Context, c object.Checksum, opts PruneOptions) error {
	for head := true; !c.IsZero(); head = false {
		commit, err := LoadCommit(ctx, t.src, c)
		if isMissing(err) {
			return nil
		}
		if err != nil {
			return err
		}
		old := commit.Timestamp < uint64(max(opts.KeepYoungerThan.Unix(), 0))
		if old && !head {
			return nil
		}
		if err := t.history(ctx, c, TraverseOptions{CommitOnly: opts.CommitOnly}, true); err != nil || old {
			return err
		}
		c = commit.Parent
	}
	return nil
}

// sweep deletes the objects that are not needed. Commits are deleted first, so that no commit ever lacks its objects.
func (r *Repo) sweep(ctx context.Context, needed map[object.Name]struct{}, opts PruneOptions) (PruneStats, error) {
	var stats PruneStats
	var commits, rest, strays []object.Name
	for n, err := range r.Objects(ctx) {
		if err != nil {
			return stats, err
		}
		switch n.Type {
		case object.TypeCommitMeta:
			strays = append(strays, n)
			continue
		case object.TypeCommit, object.TypeDirTree, object.TypeDirMeta, object.TypeFile:
		default:
			continue
		}
		if opts.CommitOnly && n.Type != object.TypeCommit {
			continue
		}
		stats.Total++
		if _, ok := needed[n]; ok {
			continue
		}
		if n.Type == object.TypeCommit {
			commits = append(commits, n)
		} else {
			rest = append(rest, n)
		}
	}
	for _, n := range append(commits, rest...) {
		if err := r.pruneObject(ctx, n, opts.NoPrune, &stats); err != nil {
			return stats, err
		}
	}
	if opts.NoPrune {
		return stats, nil
	}
	return stats, r.pruneStrays(ctx, strays)
}

func (r *Repo) pruneObject(ctx context.Context, n object.Name, dry bool, stats *PruneStats) error {
	var st unix.Stat_t
	err := unix.Fstatat(r.objects.fd, loosePath(n, r.mode), &st, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return wrapOpen(n, err)
	}
	if !dry {
		if err := r.DeleteObject(ctx, n); err != nil {
			return err
		}
	}
	stats.Deleted++
	stats.Bytes += st.Size
	return nil
}

// pruneStrays deletes detached metadata without a commit. Young ones stay, since their commit may be about to be
// written.
func (r *Repo) pruneStrays(ctx context.Context, list []object.Name) error {
	for _, n := range list {
		if ok, err := r.Has(object.Name{Checksum: n.Checksum, Type: object.TypeCommit}); ok || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		var st unix.Stat_t
		if err := unix.Fstatat(r.objects.fd, loosePath(n, r.mode), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			continue
		}
		if time.Since(time.Unix(st.Ctim.Unix())) < r.Config().TmpExpiry {
			continue
		}
		if err := r.DeleteObject(ctx, n); err != nil && !isMissing(err) {
			return err
		}
	}
	return nil
}
