package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/derived"
)

// RepairOptions are the options of [Repair]. The zero value is what most callers need.
type RepairOptions struct {
	// Source says how the image is opened if layers must be fetched.
	Source source.Options
	// DryRun changes nothing, and fetches nothing.
	DryRun bool
	// Layers is how many layers are fetched at once; 0 means [DefaultLayers].
	Layers int
	// Progress receives one event at a time. It must not block for long.
	Progress func(progress.Event)
}

// Repaired says what was wrong with a stored image and what was done, or with a dry run, what has to be done.
type Repaired struct {
	Ref imgref.ImageReference
	// Commit is the merge commit.
	Commit object.Checksum
	// Damaged are the objects that were missing or corrupt, and Left those that still are.
	Damaged, Left []repo.FsckProblem
	// Layers are the digests of the layers to fetch, and Bytes is their size.
	Layers []digest.Digest
	Bytes  int64
	// Merged says that the merge commit and the objects that only it has are made again from the layers.
	Merged bool
	// Moved says that the reference names another image now. Then the layers came by their digests.
	Moved bool
	// Unmarked are the commits that were marked as partial and are complete again.
	Unmarked []object.Checksum
}

// Sound reports whether nothing had to be done.
func (r *Repaired) Sound() bool {
	return len(r.Damaged) == 0 && len(r.Layers) == 0 && len(r.Unmarked) == 0 && !r.Merged
}

// ErrUnrepaired is wrapped by errors about images that still have damaged objects.
var ErrUnrepaired = errors.New("some objects are still damaged")

// pullAgain says what always helps.
const pullAgain = "run 'ostree-ext repo fsck --delete', and pull the image again"

// Repair finds the missing and corrupt objects of a stored image, and puts them right: it fetches only the layers that
// have them, and makes what only the merge commit has from the layers again. The merge commit stays the same. Layers
// come from where the reference leads; if it leads to another image by now, from the same place by their digests.
//
// Several images may share a checker, so that objects which they have in common are read once. Objects are replaced,
// and not changed: a file in a deployment that is another name of a corrupt object stays as it is until the image is
// deployed again.
//
// The result is valid after an error too.
func Repair(
	ctx context.Context, r *repo.Repo, checker *repo.Checker, ref imgref.ImageReference, opts RepairOptions,
) (_ *Repaired, err error) {
	rp := &repairer{repo: r, checker: checker, opts: opts, res: &Repaired{Ref: ref}, fetched: map[digest.Digest]bool{}}
	lock, err := r.Lock(ctx, repo.LockShared)
	if err != nil {
		return rp.res, err
	}
	err = rp.run(ctx)
	if err := errors.Join(err, rp.close(), lock.Unlock()); err != nil {
		return rp.res, fmt.Errorf("repairing %s: %w", ref, err)
	}
	return rp.res, nil
}

// repairer repairs an image.
type repairer struct {
	repo    *repo.Repo
	checker *repo.Checker
	opts    RepairOptions
	res     *Repaired

	stored *Image     // nil if the merge commit cannot be read
	opened *oci.Image // nil until layers or documents are fetched
	// reader has the documents of the image, and the layers if it was opened.
	reader  *oci.Image
	fetched map[digest.Digest]bool
}

func (rp *repairer) close() error {
	if rp.opened == nil {
		return nil
	}
	return rp.opened.Close()
}

func (rp *repairer) run(ctx context.Context) error {
	if err := rp.load(ctx); err != nil {
		return err
	}
	if rp.reader == nil {
		return nil // a dry run without the merge commit cannot know more
	}
	p, err := rp.prepared()
	if err != nil {
		return err
	}
	problems, err := rp.damaged(ctx, p)
	if err != nil {
		return err
	}
	rp.res.Damaged, rp.res.Left = problems, problems
	if rp.opts.DryRun {
		plan := choose(p, problems)
		rp.note(plan.layers)
		rp.res.Merged = plan.merge
		return nil
	}
	if err := rp.mend(ctx, problems); err != nil {
		return err
	}
	return rp.finish(ctx)
}

// load finds the documents of the image: in the merge commit, or if that is damaged, where the image comes from.
func (rp *repairer) load(ctx context.Context) error {
	name, err := imageRef(rp.res.Ref)
	if err != nil {
		return err
	}
	rp.res.Commit, err = rp.repo.ResolveRef(name)
	if errors.Is(err, repo.ErrRefNotFound) {
		return fmt.Errorf("%w: %s", ErrNoImage, rp.res.Ref)
	}
	if err != nil {
		return err
	}
	merge := object.Name{Checksum: rp.res.Commit, Type: object.TypeCommit}
	damage := rp.checker.Check(ctx, merge)
	if err := ctx.Err(); err != nil {
		return err
	}
	if damage == nil {
		if rp.stored, err = Load(ctx, rp.repo, rp.res.Commit); err != nil {
			return err
		}
		rp.reader = rp.stored.Image
		return nil
	}
	problem := repo.FsckProblem{
		Object: merge, Missing: errors.Is(damage, repo.ErrObjectNotFound), Err: damage,
		Commits: []object.Checksum{rp.res.Commit},
	}
	rp.res.Damaged = []repo.FsckProblem{problem}
	rp.res.Left = rp.res.Damaged
	rp.res.Merged = true
	if rp.opts.DryRun {
		return nil
	}
	return rp.open(ctx)
}

// open opens the image, to read its layers, or its documents if the merge commit is damaged.
func (rp *repairer) open(ctx context.Context) error {
	if rp.opened != nil {
		return nil
	}
	img, err := source.Open(ctx, imgref.Unverified(rp.res.Ref), rp.opts.Source)
	if rp.stored == nil || err == nil && img.Top.Digest == rp.stored.ManifestDigest {
		rp.opened, rp.reader = img, img
		return err
	}
	rp.res.Moved = err == nil
	if ref, ok := pin(rp.res.Ref, rp.stored.ManifestDigest); ok {
		if exact, exactErr := source.Open(ctx, imgref.Unverified(ref), rp.opts.Source); exactErr == nil {
			if img != nil {
				err = img.Close()
			}
			rp.opened, rp.reader = exact, exact
			return err
		}
	}
	if err != nil {
		return err
	}
	rp.opened, rp.reader = img, rp.stored.WithContentOf(img)
	return nil
}

// pin returns the reference of an image in a registry by its digest.
func pin(ref imgref.ImageReference, id digest.Digest) (imgref.ImageReference, bool) {
	if ref.Transport != imgref.Registry {
		return ref, false
	}
	name, _, _ := strings.Cut(ref.Name, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	ref.Name = name + "@" + id.String()
	return ref, true
}

// prepared returns the image as it is stored. Layers that have no ref have no commit.
func (rp *repairer) prepared() (*Prepared, error) {
	p := &Prepared{Ref: imgref.Unverified(rp.res.Ref), repo: rp.repo, Image: rp.reader}
	if err := p.arrange(); err != nil {
		return nil, err
	}
	for i := range p.Layers {
		ref, err := layerRef(p.Layers[i].Descriptor.Digest)
		if err != nil {
			return nil, err
		}
		// The commit may be marked as partial.
		p.Layers[i].Commit, err = rp.repo.ResolveRef(ref)
		if err != nil && !errors.Is(err, repo.ErrRefNotFound) {
			return nil, err
		}
		if err != nil && rp.stored == nil {
			return nil, fmt.Errorf("%w: the merge commit is damaged, and the reference seems to name another image now: %s",
				ErrUnrepaired, pullAgain)
		}
	}
	return p, nil
}

// commits returns the commits of the image: that of the merged tree, and those of the layers.
func (rp *repairer) commits(p *Prepared) []object.Checksum {
	list := []object.Checksum{rp.res.Commit}
	for _, l := range p.Layers {
		if !l.Commit.IsZero() && !slices.Contains(list, l.Commit) {
			list = append(list, l.Commit)
		}
	}
	return list
}

func (rp *repairer) damaged(ctx context.Context, p *Prepared) ([]repo.FsckProblem, error) {
	return rp.checker.Damaged(ctx, rp.commits(p))
}

// note records that layers are fetched.
func (rp *repairer) note(layers []*Layer) {
	for _, l := range layers {
		rp.res.Layers = append(rp.res.Layers, l.Descriptor.Digest)
		rp.res.Bytes += l.Descriptor.Size
	}
}

// mend fetches the layers that have damaged objects, and merges again. Layers of the commit come first: what only a
// damaged directory leads to is found once that is put right.
func (rp *repairer) mend(ctx context.Context, problems []repo.FsckProblem) error {
	if err := rp.writeConstants(ctx, problems); err != nil {
		return err
	}
	for {
		p, err := rp.prepared()
		if err != nil {
			return err
		}
		if problems, err = rp.damaged(ctx, p); err != nil {
			return err
		}
		plan := choose(p, problems)
		var base, others []*Layer
		for _, l := range plan.layers {
			switch {
			case rp.fetched[l.Descriptor.Digest]:
			case l.Kind == oci.Derived || l.Kind == oci.Plain:
				others = append(others, l)
			default:
				base = append(base, l)
			}
		}
		if len(base) > 0 {
			if err := rp.fetchBase(ctx, base); err != nil {
				return err
			}
			continue
		}
		if len(others) == 0 && !plan.merge {
			return nil
		}
		return rp.merge(ctx, others)
	}
}

// importer returns an importer that replaces damaged objects, and imports the given layers.
func (rp *repairer) importer(ctx context.Context, layers []*Layer) (*importer, error) {
	if len(layers) > 0 {
		rp.note(layers)
		if err := rp.repo.Room(rp.res.Bytes); err != nil {
			return nil, err
		}
		if err := rp.open(ctx); err != nil {
			return nil, err
		}
	}
	p, err := rp.prepared()
	if err != nil {
		return nil, err
	}
	opts := ImportOptions{Layers: rp.opts.Layers}
	for i := range p.Layers {
		l := &p.Layers[i]
		if !l.Commit.IsZero() && (l.Kind == oci.Derived || l.Kind == oci.Plain) {
			opts.FactoryVar = opts.FactoryVar || derived.FactoryVar(ctx, rp.repo, l.Commit)
		}
		again := func(o *Layer) bool { return o.Descriptor.Digest == l.Descriptor.Digest }
		if slices.ContainsFunc(layers, again) {
			rp.fetched[l.Descriptor.Digest] = true
			l.Commit = object.Checksum{}
		}
	}
	return &importer{
		p: p, repo: rp.repo, opts: opts, emit: progress.Serialize(rp.opts.Progress), checker: rp.checker,
		want: rp.res.Commit, res: &Imported{Filtered: map[string]int{}},
	}, nil
}

// fetchBase imports layers of the commit again.
func (rp *repairer) fetchBase(ctx context.Context, layers []*Layer) error {
	im, err := rp.importer(ctx, layers)
	if err != nil {
		return err
	}
	im.announce()
	if first := &im.p.Layers[0]; first.Kind == oci.Commit && first.Commit.IsZero() {
		err = im.commitLayer(ctx, first, func() error { return im.chunks(ctx) })
	} else {
		err = im.chunks(ctx)
	}
	return rp.explain(err)
}

// merge imports other layers again, and makes the merge commit again.
func (rp *repairer) merge(ctx context.Context, layers []*Layer) error {
	im, err := rp.importer(ctx, layers)
	if err != nil {
		return err
	}
	rp.res.Merged = true
	return rp.explain(im.run(ctx))
}

// explain says what to do if a layer is not where the image came from.
func (rp *repairer) explain(err error) error {
	if err == nil || !rp.res.Moved {
		return err
	}
	return fmt.Errorf("%w: the reference names another image now, so layers were asked for by their digests: %s",
		err, pullAgain)
}

// writeConstants writes damaged objects whose content is known.
func (rp *repairer) writeConstants(ctx context.Context, problems []repo.FsckProblem) (err error) {
	known := constants()
	wanted := func(p repo.FsckProblem) bool { return known[p.Object] != nil }
	if !slices.ContainsFunc(problems, wanted) {
		return nil
	}
	txn, err := rp.checker.Begin(ctx)
	if err != nil {
		return err
	}
	for _, p := range problems {
		if wanted(p) {
			if err := txn.WriteMetadataAs(ctx, p.Object, known[p.Object]); err != nil {
				return errors.Join(err, txn.Abort())
			}
		}
	}
	_, err = txn.Commit(ctx)
	return err
}

// finish checks the image again and removes the marks of commits that are complete.
func (rp *repairer) finish(ctx context.Context) error {
	p, err := rp.prepared()
	if err != nil {
		return err
	}
	if rp.res.Left, err = rp.damaged(ctx, p); err != nil {
		return err
	}
	if err := rp.dropReplaced(ctx, p); err != nil {
		return err
	}
	txn, err := rp.checker.Begin(ctx)
	if err != nil {
		return err
	}
	for _, c := range rp.commits(p) {
		needs := func(p repo.FsckProblem) bool { return slices.Contains(p.Commits, c) }
		state, err := rp.repo.IsPartial(c)
		if err != nil {
			return errors.Join(err, txn.Abort())
		}
		if state != repo.CommitComplete && !slices.ContainsFunc(rp.res.Left, needs) {
			txn.UnmarkPartial(c)
			rp.res.Unmarked = append(rp.res.Unmarked, c)
		}
	}
	if _, err := txn.Commit(ctx); err != nil {
		return err
	}
	if len(rp.res.Left) > 0 {
		return fmt.Errorf("%w: %d: %s", ErrUnrepaired, len(rp.res.Left), pullAgain)
	}
	return nil
}

// dropReplaced deletes corrupt commits of layers in place of which a layer has another commit now. Those of upstream's
// program have the time of the import, so they are not made again.
func (rp *repairer) dropReplaced(ctx context.Context, p *Prepared) (err error) {
	var old []object.Name
	current := rp.commits(p)
	for _, problem := range rp.res.Damaged {
		n := problem.Object
		if n.Type != object.TypeCommit || problem.Missing || slices.Contains(current, n.Checksum) {
			continue
		}
		if rp.checker.Check(ctx, n) != nil {
			old = append(old, n)
		}
	}
	if len(old) == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	lock, err := rp.repo.Lock(ctx, repo.LockExclusive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	for _, n := range old {
		if err := rp.repo.DeleteObject(ctx, n); err != nil && !errors.Is(err, repo.ErrObjectNotFound) {
			return err
		}
	}
	return nil
}
