package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/container/fetch"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/selinux"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/derived"
)

// DefaultLayers is how many layers are fetched at once by default.
const DefaultLayers = 4

// ImportOptions are the options of [Prepared.Import]. The zero value is what most callers need.
type ImportOptions struct {
	// Target is the reference under which the image is stored. The zero value means the one that it was opened by.
	Target imgref.ImageReference
	// NoRef stores the merge commit without a ref, so that a prune deletes it unless it is deployed.
	NoRef bool
	// NoCleanup keeps layers that no image needs any more.
	NoCleanup bool
	// Layers is how many layers are fetched at once; 0 means [DefaultLayers].
	Layers int
	// MaxBytes, if positive, is the most that may be fetched. If more is missing, nothing is fetched and the error is a
	// [*BudgetError].
	MaxBytes int64
	// FactoryVar is that of [derived.Root].
	FactoryVar bool
	// Progress receives one event at a time. It must not block for long.
	Progress func(progress.Event)
}

// Imported is the result of [Prepared.Import].
type Imported struct {
	// Image is the stored image. Its Ref is the zero value with ImportOptions.NoRef.
	*Image
	// Base is the commit that the image was made from, or zero.
	Base object.Checksum
	// Filtered counts the files of derived layers that have no place on a host, by name; see [derived.Layer]. Layers that
	// were stored before do not count.
	Filtered map[string]int
	// Removed is the number of layers that no image needed any more.
	Removed int
}

// BudgetError says that more would have to be fetched than is allowed.
type BudgetError struct {
	// Need and Limit are in bytes.
	Need, Limit int64
}

// Error implements error.
func (e *BudgetError) Error() string {
	return fmt.Sprintf("%s must be fetched, and the limit is %s: nothing was fetched; raise the limit to fetch them",
		sizes.Format(e.Need), sizes.Format(e.Limit))
}

// CheckBudget returns a [*BudgetError] if more is missing than MaxBytes.
func (o *ImportOptions) CheckBudget(p *Prepared) error {
	if _, need := p.Missing(); o.MaxBytes > 0 && need > o.MaxBytes {
		return &BudgetError{Need: need, Limit: o.MaxBytes}
	}
	return nil
}

// Import fetches the layers that are missing and writes the merge commit. Layers that were imported stay if it fails
// later, so that the next attempt fetches only the others; the ref of the image does not change then.
//
// It holds the shared lock of the repository, so a prune waits for it.
func (p *Prepared) Import(ctx context.Context, opts ImportOptions) (_ *Imported, err error) {
	if err := opts.CheckBudget(p); err != nil {
		return nil, err
	}
	if err := p.repo.Room(p.Room()); err != nil {
		return nil, err
	}
	lock, err := p.repo.Lock(ctx, repo.LockShared)
	if err != nil {
		return nil, err
	}
	im := &importer{
		p: p, repo: p.repo, opts: opts, emit: progress.Serialize(opts.Progress),
		res: &Imported{Filtered: map[string]int{}},
	}
	err = im.run(ctx)
	if err := errors.Join(err, lock.Unlock()); err != nil {
		return nil, fmt.Errorf("importing %s: %w", p.Ref.Image, err)
	}
	if !opts.NoCleanup {
		if im.res.Removed, err = pruneUnlessBusy(ctx, p.repo, im.relabelled); err != nil {
			return nil, fmt.Errorf("removing layers that are not needed any more: %w", err)
		}
	}
	return im.res, nil
}

// importer imports an image.
type importer struct {
	p    *Prepared
	repo *repo.Repo
	opts ImportOptions
	emit func(progress.Event)
	// checker, if set, makes transactions replace damaged objects.
	checker *repo.Checker
	// want, unless it is zero, is the merge commit that is to be made again. If another one results, only its objects are
	// written.
	want object.Checksum
	res  *Imported

	root derived.Root
	// label gives files the labels of the policy in the base commit, or in the image that is updated. It is nil without
	// one. The merge gives them those of the policy in the merged tree, so that a wrong label costs only time.
	label func(path string, mode uint32) (string, error)
	// guessed are the layers that were imported with the labels of the image that is updated.
	guessed []*Layer
	// relabelled says that layers were written again with other labels, so that objects may not be needed any more.
	relabelled bool

	mu sync.Mutex // of the layers' commits and of res.Filtered
}

func (im *importer) run(ctx context.Context) error {
	im.announce()
	if err := im.base(ctx); err != nil {
		return err
	}
	if err := im.derived(ctx); err != nil {
		return err
	}
	err := im.merge(ctx)
	if !errors.Is(err, errNoLabels) {
		return err
	}
	for _, l := range im.guessed {
		l.Commit = object.Checksum{}
	}
	im.guessed, im.label = nil, nil
	clear(im.res.Filtered)
	if err := im.derived(ctx); err != nil {
		return err
	}
	return im.merge(ctx)
}

// errNoLabels says that the merged tree has no policy, and that layers have the labels of another one.
var errNoLabels = errors.New("layers have labels of another policy")

// guessLabels takes the labels from the policy of the image that is updated. Most updates have the same one, and every
// file is then written once: the policy of the update itself is known when its layers are there.
func (im *importer) guessLabels(ctx context.Context) {
	if !im.want.IsZero() {
		return
	}
	old, err := Query(ctx, im.repo, im.target())
	if err != nil {
		return
	}
	view, err := repo.ViewCommit(ctx, im.repo, old.Commit)
	if err != nil {
		return
	}
	if policy, err := selinux.Load(ctx, view); err == nil {
		im.label = policy.Label
	}
}

// announce reports what is to be fetched. There are no events about layers that are stored.
func (im *importer) announce() {
	missing, size := im.p.Missing()
	im.emit(progress.Event{Kind: progress.Planned, Image: im.p.Image.Name, Layer: len(missing), Total: size})
}

// begin starts a transaction.
func (im *importer) begin(ctx context.Context) (*repo.Txn, error) {
	if im.checker != nil {
		return im.checker.Begin(ctx)
	}
	return im.repo.Begin(ctx)
}

// group returns a group for fetching layers.
func (im *importer) group(ctx context.Context) (*errgroup.Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	n := im.opts.Layers
	if n <= 0 {
		n = DefaultLayers
	}
	if !im.p.Image.Parallel() {
		n = 1
	}
	g.SetLimit(n)
	return g, ctx
}

// read calls use with the stream of a layer, inside a transaction of its own. After it, commit ends the transaction.
func (im *importer) read(
	ctx context.Context, l *Layer, use func(*repo.Txn, io.Reader) error, commit func(*repo.Txn) error,
) error {
	err := im.readOnce(ctx, l, use, commit)
	if errors.Is(err, fetch.ErrKeptDamaged) {
		// Bytes that an earlier process had kept were wrong. They are gone now.
		err = im.readOnce(ctx, l, use, commit)
	}
	if err != nil {
		return fmt.Errorf("layer %s: %w", l.Descriptor.Digest, err)
	}
	return nil
}

func (im *importer) readOnce(
	ctx context.Context, l *Layer, use func(*repo.Txn, io.Reader) error, commit func(*repo.Txn) error,
) error {
	txn, err := im.begin(ctx)
	if err != nil {
		return err
	}
	opts := oci.ReadOptions{Progress: func(e progress.Event) {
		stats := txn.Stats()
		e.Objects = stats.MetadataTotal + stats.ContentTotal
		im.emit(e)
	}}
	err = im.p.Image.ReadLayer(ctx, l.Layer, opts, func(r io.Reader) error { return use(txn, r) })
	if err == nil {
		err = commit(txn)
	}
	if err != nil {
		return errors.Join(err, txn.Abort())
	}
	return nil
}

// store ends the transaction of a layer whose commit is complete.
func (im *importer) store(ctx context.Context, txn *repo.Txn, l *Layer, commit object.Checksum) error {
	ref, err := layerRef(l.Descriptor.Digest)
	if err != nil {
		return err
	}
	if l.Kind != oci.Commit {
		if err := recordDiffIDs(ctx, txn, commit, l.DiffID.String()); err != nil {
			return err
		}
	}
	if err := txn.Complete(ctx, commit, ref); err != nil {
		return err
	}
	if _, err := txn.Commit(ctx); err != nil {
		return err
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	l.Commit = commit
	return nil
}

// base imports the layers of the commit, if the image holds one. The commit becomes visible after all its objects. If
// it must be admitted, it is read first, and nothing of the other layers becomes visible before.
func (im *importer) base(ctx context.Context) error {
	if im.p.layers == nil {
		im.root = derived.Root{Other: true, FactoryVar: im.opts.FactoryVar}
		im.guessLabels(ctx)
		return nil
	}
	first := &im.p.Layers[0]
	var err error
	switch {
	case !first.Commit.IsZero():
		if err = admitStored(ctx, im.repo, im.p.Image, first.Commit); err == nil {
			err = im.chunks(ctx)
			break
		}
		// Another image may have replaced the signatures of the commit. Those of this one decide.
		err = im.commitLayer(ctx, first, func() error { return im.chunks(ctx) })
	case im.p.Image.AdmitCommit != nil || !im.p.Image.Parallel():
		err = im.commitLayer(ctx, first, func() error { return im.chunks(ctx) })
	default:
		// Both run at the same time: the chunks do not depend on the commit, only the commit on the chunks.
		chunks := make(chan error, 1)
		g, groupCtx := errgroup.WithContext(ctx)
		g.Go(func() error {
			err := im.chunks(groupCtx)
			chunks <- err
			return err
		})
		g.Go(func() error { return im.commitLayer(groupCtx, first, func() error { return <-chunks }) })
		err = g.Wait()
	}
	if err != nil {
		return err
	}
	im.res.Base = first.Commit
	return im.inspectBase(ctx, first.Commit)
}

// commitLayer imports the layer with the commit. It calls others after the layer was read, to wait for the objects of
// the other layers.
func (im *importer) commitLayer(ctx context.Context, l *Layer, others func() error) error {
	var commit object.Checksum
	return im.read(ctx, l, func(txn *repo.Txn, r io.Reader) (err error) {
		commit, err = tarfmt.ImportCommit(ctx, txn, r, im.admission(ctx))
		return err
	}, func(txn *repo.Txn) error {
		if err := im.p.Image.CheckCommit(commit.String()); err != nil {
			return err
		}
		if err := others(); err != nil {
			return err
		}
		txn.Refresh()
		return im.store(ctx, txn, l, commit)
	})
}

// admission returns options that ask whether the commit may be imported.
func (im *importer) admission(ctx context.Context) tarfmt.ImportOptions {
	admit := im.p.Image.AdmitCommit
	if admit == nil {
		return tarfmt.ImportOptions{}
	}
	return tarfmt.ImportOptions{Remote: im.p.Image.Remote, Verify: func(id object.Checksum, data, detached []byte) error {
		return admit(ctx, id.String(), data, detached)
	}}
}

// admitStored asks whether a commit may be used that was imported earlier, perhaps without verification.
func admitStored(ctx context.Context, r *repo.Repo, img *oci.Image, c object.Checksum) error {
	if img.AdmitCommit == nil {
		return nil
	}
	data, err := r.Metadata(ctx, object.Name{Checksum: c, Type: object.TypeCommit})
	if err != nil {
		return err
	}
	detached, err := r.Metadata(ctx, object.Name{Checksum: c, Type: object.TypeCommitMeta})
	if err != nil && !errors.Is(err, repo.ErrObjectNotFound) {
		return err
	}
	return img.AdmitCommit(ctx, c.String(), data, detached)
}

// chunks imports the chunk layers that are missing.
func (im *importer) chunks(ctx context.Context) error {
	g, ctx := im.group(ctx)
	for i := range im.p.Layers {
		l := &im.p.Layers[i]
		if l.Kind != oci.Chunk || !l.Commit.IsZero() {
			continue
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return im.chunk(ctx, l)
		})
	}
	return g.Wait()
}

func (im *importer) chunk(ctx context.Context, l *Layer) error {
	var objects []object.Checksum
	return im.read(ctx, l, func(txn *repo.Txn, r io.Reader) (err error) {
		objects, err = tarfmt.ImportObjectSet(ctx, txn, r)
		return err
	}, func(txn *repo.Txn) error {
		commit, dirtree, dirmeta := tarfmt.SyntheticCommit(objects)
		id := object.HashMetadata(commit)
		for typ, data := range map[object.Type][]byte{
			object.TypeCommit: commit, object.TypeDirTree: dirtree, object.TypeDirMeta: dirmeta,
		} {
			name := object.Name{Checksum: object.HashMetadata(data), Type: typ}
			if err := txn.WriteMetadataAs(ctx, name, data); err != nil {
				return err
			}
		}
		return im.store(ctx, txn, l, id)
	})
}

// inspectBase reads from the base commit how the layers on top of it are treated.
func (im *importer) inspectBase(ctx context.Context, base object.Checksum) error {
	view, err := repo.ViewCommit(ctx, im.repo, base)
	if err != nil {
		return err
	}
	overlay, err := overlayRoot(ctx, view)
	if err != nil {
		return err
	}
	im.root = derived.Root{Other: overlay, FactoryVar: im.opts.FactoryVar}
	policy, err := selinux.Load(ctx, view)
	switch {
	case err == nil:
		im.label = policy.Label
	case !errors.Is(err, selinux.ErrNoPolicy):
		return err
	}
	return nil
}

// derived imports the missing layers that are not those of the commit.
func (im *importer) derived(ctx context.Context) error {
	g, ctx := im.group(ctx)
	for i := range im.p.Layers {
		l := &im.p.Layers[i]
		if l.Kind != oci.Derived && l.Kind != oci.Plain {
			continue
		}
		if !l.Commit.IsZero() && derived.Fits(ctx, im.repo, l.Commit, im.root) {
			continue
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return im.derivedLayer(ctx, l)
		})
	}
	return g.Wait()
}

func (im *importer) derivedLayer(ctx context.Context, l *Layer) error {
	var layer *derived.Layer
	return im.read(ctx, l, func(txn *repo.Txn, r io.Reader) (err error) {
		layer, err = derived.Import(ctx, txn, r, derived.ImportOptions{Root: im.root, Label: im.label})
		return err
	}, func(txn *repo.Txn) error {
		if err := im.store(ctx, txn, l, layer.Commit); err != nil {
			return err
		}
		im.mu.Lock()
		defer im.mu.Unlock()
		if im.p.layers == nil && im.label != nil {
			im.guessed = append(im.guessed, l)
		}
		for name, n := range maps.All(layer.Filtered) {
			im.res.Filtered[name] += n
		}
		return nil
	})
}
