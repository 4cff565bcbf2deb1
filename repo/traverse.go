package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// AllHistory is the depth that includes every ancestor of a commit.
const AllHistory = -1

// TraverseOptions say what [Traverse] visits.
type TraverseOptions struct {
	// Depth is how many ancestors of each commit are visited too: 0 for none, [AllHistory] for all.
	Depth int
	// CommitOnly leaves out the trees.
	CommitOnly bool
}

// partialSource is a source that knows which commits may lack objects.
type partialSource interface {
	IsPartial(c object.Checksum) (PartialState, error)
}

// Traverse visits each object of the given commits once: commits, dirtrees, dirmetas and files, but not detached
// metadata. History ends where a parent is absent, which is not an error. If another object is absent, the error wraps
// [ErrObjectNotFound], but absent objects of a commit that is marked as partial are left out. An error of visit ends
// the walk and is returned.
func Traverse(ctx context.Context, src Source, commits []object.Checksum, opts TraverseOptions,
	visit func(object.Name) error) error {
	t := newTraverser(src, visit)
	for _, c := range commits {
		if err := t.history(ctx, c, opts, false); err != nil {
			return err
		}
	}
	return nil
}

// traverser visits objects once, over several commits.
type traverser struct {
	src   Source
	seen  map[object.Name]struct{}
	visit func(object.Name) error
	// depths holds the depth to which the ancestors of a commit were followed.
	depths map[object.Checksum]int
}

func newTraverser(src Source, visit func(object.Name) error) *traverser {
	return &traverser{src: src, seen: map[object.Name]struct{}{}, visit: visit, depths: map[object.Checksum]int{}}
}

// first records an object and reports whether it is new.
func (t *traverser) first(n object.Name) (bool, error) {
	if _, ok := t.seen[n]; ok {
		return false, nil
	}
	t.seen[n] = struct{}{}
	if t.visit == nil {
		return true, nil
	}
	return true, t.visit(n)
}

// history visits a commit and its ancestors. optional is whether the commit itself may be absent.
func (t *traverser) history(ctx context.Context, c object.Checksum, opts TraverseOptions, optional bool) error {
	for depth := max(opts.Depth, AllHistory); !c.IsZero(); {
		if done, ok := t.depths[c]; ok && (done < 0 || depth >= 0 && done >= depth) {
			return nil
		}
		commit, err := t.commit(ctx, c, opts.CommitOnly)
		if err != nil {
			if optional && commit == nil && isMissing(err) {
				return nil
			}
			return fmt.Errorf("commit %s: %w", c, err)
		}
		t.depths[c] = depth
		if depth == 0 {
			return nil
		}
		if depth > 0 {
			depth--
		}
		c, optional = commit.Parent, true
	}
	return nil
}

// commit visits one commit and its tree. If only the tree fails, it returns the commit together with the error.
func (t *traverser) commit(ctx context.Context, c object.Checksum, only bool) (*object.Commit, error) {
	commit, err := LoadCommit(ctx, t.src, c)
	if err != nil {
		return nil, err
	}
	if _, err := t.first(object.Name{Checksum: c, Type: object.TypeCommit}); err != nil || only {
		return commit, err
	}
	partial := false
	if p, ok := t.src.(partialSource); ok {
		state, err := p.IsPartial(c)
		if err != nil {
			return commit, err
		}
		partial = state != CommitComplete
	}
	return commit, t.dir(ctx, commit.Tree, commit.Meta, partial, 0)
}

// dir visits a directory. It does not check that objects exist, except those that it must read.
func (t *traverser) dir(ctx context.Context, tree, meta object.Checksum, partial bool, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > object.MaxTreeDepth {
		return object.ErrTooDeep
	}
	if _, err := t.first(object.Name{Checksum: meta, Type: object.TypeDirMeta}); err != nil {
		return err
	}
	n := object.Name{Checksum: tree, Type: object.TypeDirTree}
	if fresh, err := t.first(n); err != nil || !fresh {
		return err
	}
	// Libostree accepts trees that are not in normal form. Their objects must not be lost for that reason.
	d, err := load(ctx, t.src, n, object.ParseDirTreeLoose)
	if err != nil {
		if partial && isMissing(err) {
			return nil
		}
		return err
	}
	for _, f := range d.Files {
		if _, err := t.first(fileName(f.Checksum)); err != nil {
			return err
		}
	}
	for _, e := range d.Dirs {
		if err := t.dir(ctx, e.Tree, e.Meta, partial, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func isMissing(err error) bool { return errors.Is(err, ErrObjectNotFound) }
