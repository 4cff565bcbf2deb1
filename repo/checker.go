package repo

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Checker finds objects of a repository that are missing or corrupt, and replaces them. It remembers which objects are
// sound, so that each is hashed once. It is safe for concurrent use.
type Checker struct {
	repo *Repo

	mu    sync.Mutex
	sound map[object.Name]struct{}
}

// NewChecker returns a checker that has not seen any object yet.
func (r *Repo) NewChecker() *Checker { return &Checker{repo: r, sound: map[object.Name]struct{}{}} }

// Check is [Repo.VerifyObject], but reads an object that was sound only once.
func (c *Checker) Check(ctx context.Context, n object.Name) error {
	c.mu.Lock()
	_, ok := c.sound[n]
	c.mu.Unlock()
	if ok {
		return nil
	}
	if err := c.repo.VerifyObject(ctx, n); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sound[n] = struct{}{}
	return nil
}

// Damaged returns the objects of commits that are missing or corrupt, sorted, each with those of the given commits that
// need it. Unlike [Repo.Fsck] it also checks commits that are marked as partial, and does not mark any. What only a
// corrupt directory or commit leads to is not found, since its content cannot be trusted.
func (c *Checker) Damaged(ctx context.Context, commits []object.Checksum) ([]FsckProblem, error) {
	f := &fsck{
		repo: c.repo, opts: FsckOptions{All: true}, commits: slices.Clone(commits), source: checkedSource{c.repo, c},
	}
	slices.SortFunc(f.commits, object.Checksum.Compare)
	f.commits = slices.Compact(f.commits)
	objects := f.objects(ctx)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, n := range objects {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			err := c.Check(gctx, n)
			if err != nil && gctx.Err() == nil {
				f.found(n, err)
			}
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.attribute(ctx)
	return f.report.Problems, nil
}

// Begin is [Repo.Begin] for a transaction that replaces corrupt objects: such an object counts as missing, so it may be
// written again. The new object takes the name of the old one in one step. Other names of the old one, such as files of
// a checkout, are not changed.
func (c *Checker) Begin(ctx context.Context) (*Txn, error) {
	t, err := c.repo.Begin(ctx)
	if err != nil {
		return nil, err
	}
	t.replace = true
	t.known.sound = func(n object.Name) (bool, error) {
		if n.Type == object.TypeCommitMeta || n.Type == object.TypeTombstone {
			return true, nil // not named by their content
		}
		err := c.Check(ctx, n)
		return err == nil, ctx.Err()
	}
	return t, nil
}

// checkedSource replaces a directory that is missing or corrupt by an empty one, and has no corrupt commits.
type checkedSource struct {
	*Repo
	checker *Checker
}

// Metadata implements [Source].
func (s checkedSource) Metadata(ctx context.Context, n object.Name) ([]byte, error) {
	if err := s.checker.Check(ctx, n); err != nil {
		if n.Type == object.TypeDirTree && ctx.Err() == nil {
			return object.EncodeDirTree(&object.DirTree{})
		}
		return nil, fmt.Errorf("object %s: %w", n, err)
	}
	return s.Repo.Metadata(ctx, n)
}
