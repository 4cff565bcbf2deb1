package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// FsckOptions say what [Repo.Fsck] checks and does.
type FsckOptions struct {
	// All goes on after the first problem.
	All bool
	// Delete removes corrupt objects. It implies All, and takes the exclusive lock.
	Delete bool
	// VerifyBindings checks that each commit is bound to the refs that name it. It is implied if the repository has a
	// collection id.
	VerifyBindings bool
	// VerifyBackRefs checks that the refs which a commit is bound to exist. It implies VerifyBindings.
	VerifyBackRefs bool
	// AddTombstones leaves tombstones for absent parents.
	AddTombstones bool
	// Verify, if not nil, decides whether a commit is signed as it must be. It is called for each commit that is checked,
	// with its bytes and those of its detached metadata, which are nil if there is none. Whether the bytes hash to the
	// commit's id is checked apart. A commit that it refuses is a problem, and is neither deleted nor marked.
	Verify func(ctx context.Context, commit object.Checksum, data, detached []byte) error
}

// FsckProblem is one problem that a check found.
type FsckProblem struct {
	// Object is zero for problems of refs and of signatures.
	Object object.Name
	// Ref is the ref that has the problem, or empty.
	Ref string
	// Missing is whether the object is absent; otherwise it is corrupt.
	Missing bool
	// Unsigned is whether the problem is that [FsckOptions].Verify refused the only one of Commits.
	Unsigned bool
	// Commits are the commits that need the object, sorted.
	Commits []object.Checksum
	Err     error
}

// String describes the problem in libostree's words.
func (p FsckProblem) String() string {
	if !p.Missing {
		return p.Err.Error()
	}
	ids := make([]string, len(p.Commits))
	for i, c := range p.Commits {
		ids[i] = c.String()
	}
	return fmt.Sprintf("Object missing in commits %s: %s", strings.Join(ids, ","), p.Object)
}

// FsckReport says what was checked and what was found.
type FsckReport struct {
	// Commits is how many commits were checked and Partial how many were left out; FsckPartial counts those of Partial
	// that an earlier check marked because of corrupt or missing objects.
	Commits, Partial, FsckPartial int
	Objects                       int
	// Problems is sorted by object.
	Problems []FsckProblem
}

// ErrRepositoryCorrupt is returned by [Repo.Fsck] when it found a problem.
var ErrRepositoryCorrupt = errors.New("repository corruption encountered")

// Fsck reads and hashes each object that a commit needs, several at a time, and checks the refs. Commits that are
// marked as partial are left out. If it finds a problem, the error wraps [ErrRepositoryCorrupt] and the report is
// valid; commits that lack objects are then marked as partial if the repository is writable.
func (r *Repo) Fsck(ctx context.Context, opts FsckOptions) (report FsckReport, err error) {
	kind := LockShared
	if opts.Delete {
		kind, opts.All = LockExclusive, true
	}
	lock, err := r.Lock(ctx, kind)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	f := &fsck{repo: r, opts: opts, source: tolerantSource{r}}
	if err := f.run(ctx); err != nil {
		return f.report, err
	}
	switch n := f.report.FsckPartial; {
	case len(f.report.Problems) > 0:
		return f.report, ErrRepositoryCorrupt
	case n > 0:
		return f.report, fmt.Errorf("%w: %d partial commits from fsck-detected corruption", ErrRepositoryCorrupt, n)
	}
	return f.report, nil
}

type fsck struct {
	repo    *Repo
	opts    FsckOptions
	report  FsckReport
	commits []object.Checksum // objects to check, sorted
	source  Source            // where trees are read

	mu sync.Mutex // guards report.Problems
}

func (f *fsck) run(ctx context.Context) error {
	if err := f.refs(ctx); err != nil || f.stop() {
		return err
	}
	if err := f.findCommits(ctx); err != nil || f.stop() {
		return err
	}
	if err := f.signatures(ctx); err != nil || f.stop() {
		return err
	}
	objects := f.objects(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, n := range objects {
		if f.stop() || gctx.Err() != nil {
			break
		}
		g.Go(func() error { return f.check(gctx, n) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	f.report.Objects = len(objects)
	return f.settle(ctx)
}

// stop reports whether the check may end.
func (f *fsck) stop() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.opts.All && len(f.report.Problems) > 0
}

func (f *fsck) found(n object.Name, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.opts.All && len(f.report.Problems) > 0 {
		// This object was being checked when the first problem was found.
		return
	}
	f.report.Problems = append(f.report.Problems, FsckProblem{Object: n, Missing: isMissing(err), Err: err})
}

// findCommits decides which commits are checked.
func (f *fsck) findCommits(ctx context.Context) error {
	var all []object.Checksum
	for n, err := range f.repo.Objects(ctx) {
		if err != nil {
			return err
		}
		if n.Type == object.TypeCommit {
			all = append(all, n.Checksum)
		}
	}
	slices.SortFunc(all, object.Checksum.Compare)
	for _, c := range all {
		state, err := f.repo.IsPartial(c)
		if err != nil {
			return err
		}
		switch state {
		case CommitComplete:
			f.commits = append(f.commits, c)
			if err := f.tombstone(ctx, c); err != nil {
				return err
			}
		case CommitFsckPartial:
			f.report.FsckPartial++
			f.report.Partial++
		default:
			f.report.Partial++
		}
	}
	f.report.Commits = len(f.commits)
	return nil
}

// signatures asks about the signatures of each commit.
func (f *fsck) signatures(ctx context.Context) error {
	if f.opts.Verify == nil {
		return nil
	}
	for _, c := range f.commits {
		data, err := f.repo.Metadata(ctx, object.Name{Checksum: c, Type: object.TypeCommit})
		if err != nil {
			continue // The check of the commit itself reports what is wrong with it.
		}
		detached, err := f.repo.Metadata(ctx, object.Name{Checksum: c, Type: object.TypeCommitMeta})
		if err == nil || isMissing(err) {
			err = f.opts.Verify(ctx, c, data, detached)
		}
		if err == nil {
			continue
		}
		if e := ctx.Err(); e != nil {
			return e
		}
		f.report.Problems = append(f.report.Problems,
			FsckProblem{Unsigned: true, Commits: []object.Checksum{c}, Err: fmt.Errorf("commit %s: %w", c, err)})
		if f.stop() {
			return nil
		}
	}
	return nil
}

// tombstone marks the parent of a commit as deleted if it is absent.
func (f *fsck) tombstone(ctx context.Context, c object.Checksum) error {
	if !f.opts.AddTombstones {
		return nil
	}
	commit, err := LoadCommit(ctx, f.repo, c)
	if err != nil || commit.Parent.IsZero() {
		// The check of the commit itself reports what is wrong with it.
		return nil
	}
	if ok, err := f.repo.Has(object.Name{Checksum: commit.Parent, Type: object.TypeCommit}); ok || err != nil {
		return err
	}
	return f.repo.writeTombstone(commit.Parent)
}

// objects lists the objects that the commits need, including those that cannot be read: the check finds them.
func (f *fsck) objects(ctx context.Context) []object.Name {
	var list []object.Name
	t := newTraverser(f.source, func(n object.Name) error {
		list = append(list, n)
		return nil
	})
	for _, c := range f.commits {
		t.needs(ctx, c)
	}
	return list
}

// tolerantSource replaces a directory that cannot be read by an empty one.
type tolerantSource struct{ *Repo }

func (s tolerantSource) Metadata(ctx context.Context, n object.Name) ([]byte, error) {
	data, err := s.Repo.Metadata(ctx, n)
	if n.Type == object.TypeDirTree && ctx.Err() == nil {
		if err == nil {
			_, err = object.ParseDirTreeLoose(data)
		}
		if err != nil {
			return object.EncodeDirTree(&object.DirTree{})
		}
	}
	return data, err
}

// needs visits a commit and its tree as far as they can be read.
func (t *traverser) needs(ctx context.Context, c object.Checksum) {
	if _, err := t.commit(ctx, c, false); err != nil {
		// The commit itself is unreadable, so there is nothing else to visit. It is checked below.
		// The visitor of a check does not fail.
		_, _ = t.first(object.Name{Checksum: c, Type: object.TypeCommit})
	}
}

// check hashes one object.
func (f *fsck) check(ctx context.Context, n object.Name) error {
	if f.stop() {
		return nil
	}
	err := f.repo.VerifyObject(ctx, n)
	if err == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f.found(n, err)
	return nil
}

// VerifyObject reads an object, compares its hash with its name and checks that its bytes are valid for its type. The
// error about bytes that hash to another id is a [*object.CorruptError].
func (r *Repo) VerifyObject(ctx context.Context, n object.Name) error { return verifyObject(ctx, r, n) }

func verifyObject(ctx context.Context, src Source, n object.Name) error {
	if n.Type == object.TypeFile {
		return verifyFile(ctx, src, n)
	}
	data, err := src.Metadata(ctx, n)
	if err != nil {
		return err
	}
	if actual := object.HashMetadata(data); actual != n.Checksum {
		return &object.CorruptError{Name: n, Actual: actual}
	}
	switch n.Type {
	case object.TypeDirTree:
		var d *object.DirTree
		if d, err = object.ParseDirTreeLoose(data); err == nil {
			// Libostree does not check the order of names, and then cannot find some of them.
			err = d.Validate()
		}
	case object.TypeDirMeta:
		_, err = object.ParseDirMetaLoose(data)
	case object.TypeCommit:
		_, err = object.ParseCommit(data)
	}
	if err != nil {
		return fmt.Errorf("object %s: %w", n, err)
	}
	return nil
}

func verifyFile(ctx context.Context, src Source, n object.Name) (err error) {
	content, info, err := src.OpenFile(ctx, n.Checksum)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	h, err := object.FileHasher(&info.FileHeader)
	if err != nil {
		return fmt.Errorf("object %s: %w: %w", n, object.ErrCorrupt, err)
	}
	if _, err := io.Copy(h, ctxio.Reader(ctx, content)); err != nil {
		return err
	}
	var actual object.Checksum
	if h.Sum(actual[:0]); actual != n.Checksum {
		return &object.CorruptError{Name: n, Actual: actual}
	}
	return nil
}

// settle records the commits that each problem concerns, and deletes or marks as the options say.
func (f *fsck) settle(ctx context.Context) error {
	f.attribute(ctx)
	for _, p := range f.report.Problems {
		if p.Object.Type == 0 {
			continue
		}
		if err := f.repair(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// attribute sorts the problems and records the commits that each one concerns.
func (f *fsck) attribute(ctx context.Context) {
	problems := f.report.Problems
	if len(problems) == 0 {
		return
	}
	slices.SortStableFunc(problems, func(a, b FsckProblem) int {
		return cmp.Or(a.Object.Checksum.Compare(b.Object.Checksum), cmp.Compare(a.Object.Type, b.Object.Type))
	})
	for _, c := range f.commits {
		t := newTraverser(f.source, nil)
		t.needs(ctx, c)
		for i := range problems {
			if _, ok := t.seen[problems[i].Object]; ok {
				problems[i].Commits = append(problems[i].Commits, c)
			}
		}
	}
}

func (f *fsck) repair(ctx context.Context, p FsckProblem) error {
	if !p.Missing {
		if !f.opts.Delete {
			return nil
		}
		if err := f.repo.DeleteObject(ctx, p.Object); err != nil && !isMissing(err) {
			return err
		}
	}
	if !f.repo.writable {
		return nil
	}
	for _, c := range p.Commits {
		if p.Object == (object.Name{Checksum: c, Type: object.TypeCommit}) {
			continue
		}
		if err := f.repo.replaceFile(partialMark(c), []byte("f")); err != nil {
			return err
		}
	}
	return nil
}

// refs checks that refs name commits, and the ref bindings of these commits.
func (f *fsck) refs(ctx context.Context) error {
	refs, err := f.repo.Refs("")
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, ref := range refs {
		known[ref.Name] = true
	}
	bindings := f.opts.VerifyBindings || f.opts.VerifyBackRefs || f.repo.Config().CollectionID != ""
	for _, ref := range refs {
		commit, err := LoadCommit(ctx, f.repo, ref.Commit)
		if err == nil && bindings {
			err = f.binding(ref, commit, known)
		}
		if err != nil {
			if e := ctx.Err(); e != nil {
				return e
			}
			f.mu.Lock()
			f.report.Problems = append(f.report.Problems,
				FsckProblem{Ref: ref.Name, Err: fmt.Errorf("loading commit for ref %s: %w", ref.Name, err)})
			f.mu.Unlock()
		}
	}
	return nil
}

func (f *fsck) binding(ref Ref, commit *object.Commit, known map[string]bool) error {
	v, ok := commit.Metadata.Lookup(metaRefBinding)
	if !ok {
		return nil
	}
	bound, err := v.Strings()
	if err != nil {
		return fmt.Errorf("%s: %w", metaRefBinding, err)
	}
	_, name, _ := strings.Cut(ref.Name, ":")
	if name == "" {
		name = ref.Name
	}
	if !slices.Contains(bound, name) {
		return fmt.Errorf("commit %s is not bound to it but to %s", ref.Commit, strings.Join(bound, ", "))
	}
	if !f.opts.VerifyBackRefs {
		return nil
	}
	remote := strings.TrimSuffix(ref.Name, name)
	for _, b := range bound {
		if !known[remote+b] {
			return fmt.Errorf("commit %s is bound to the ref %s, which does not exist", ref.Commit, path.Clean(remote+b))
		}
	}
	return nil
}
