package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/internal/progress"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// UnencapsulateOptions says how to turn an image back into a commit. The zero value is what most callers need.
type UnencapsulateOptions struct {
	Source source.Options
	// WriteRef is the ref to set to the commit. If it is empty nothing refers to the commit, and a prune takes it.
	WriteRef string
	// Progress is told what happens, one event at a time. It must not block for long.
	Progress func(progress.Event)
}

// UnencapsulateResult is what came of an image.
type UnencapsulateResult struct {
	Commit object.Checksum
	// ManifestDigest is the digest of the manifest of the image for this platform.
	ManifestDigest digest.Digest
}

// Unencapsulate fetches an image and stores the commit that it holds. After an error the repository is as it was.
//
// Errors wrap [ErrVerificationUnsupported], [ErrNotEncapsulated], [ErrLayerMismatch], or those of packages source,
// tarfmt and repo.
func Unencapsulate(ctx context.Context, r *repo.Repo, ref imgref.OstreeImageReference, opts UnencapsulateOptions) (*UnencapsulateResult, error) {
	if err := checkSignatureSource(ref); err != nil {
		return nil, err
	}
	if opts.WriteRef != "" {
		if _, _, err := repo.ParseRefspec(opts.WriteRef); err != nil {
			return nil, err
		}
	}
	src, err := source.Open(ctx, ref.Image, opts.Source)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", ref.Image, err)
	}
	res, err := importImage(ctx, r, src, opts)
	if err := errors.Join(err, src.Close()); err != nil {
		return nil, fmt.Errorf("importing %s: %w", ref.Image, err)
	}
	return res, nil
}

// checkSignatureSource admits only references that ask for no signatures.
func checkSignatureSource(ref imgref.OstreeImageReference) error {
	if ref.Signature.Kind != imgref.ContainerPolicyAllowInsecure {
		return &VerificationError{Ref: ref}
	}
	return nil
}

// importImage imports from an open source.
func importImage(ctx context.Context, r *repo.Repo, src source.Source, opts UnencapsulateOptions) (*UnencapsulateResult, error) {
	m, err := src.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := src.Config(ctx)
	if err != nil {
		return nil, err
	}
	config, err := parseConfig(raw)
	if err != nil {
		return nil, err
	}
	layers, err := layoutOf(&m.OCI, config)
	if err != nil {
		return nil, err
	}
	if layers.derived > 0 {
		return nil, notEncapsulated("Image has %d non-ostree layers", layers.derived)
	}
	txn, err := r.Begin(ctx)
	if err != nil {
		return nil, err
	}
	commit, err := importLayers(ctx, txn, src, layers, progress.Serialize(opts.Progress))
	if err == nil {
		err = finish(ctx, txn, commit, config, opts.WriteRef)
	}
	if err != nil {
		return nil, errors.Join(err, txn.Abort())
	}
	return &UnencapsulateResult{Commit: commit, ManifestDigest: m.Digest}, nil
}

// finish commits the transaction if the commit is the promised one and complete.
func finish(ctx context.Context, txn *repo.Txn, commit object.Checksum, config *imageConfig, ref string) error {
	if label, ok := config.Config.Labels[labelCommit]; ok && label != commit.String() {
		return &CommitMismatchError{Label: label, Actual: commit}
	}
	if err := txn.Complete(ctx, commit, ref); err != nil {
		return err
	}
	_, err := txn.Commit(ctx)
	return err
}

// importLayers imports all layers, as many at a time as there are processors if the source allows.
//
// The order in which they end does not matter: the transaction shows nothing before its end, and the objects of a chunk
// are the same whether the commit that refers to them is staged already or not.
func importLayers(ctx context.Context, txn *repo.Txn, src source.Source, l *layout, emit func(progress.Event)) (commit object.Checksum, err error) {
	plan := progress.Event{Kind: progress.Planned, Layer: 1 + len(l.chunks), Total: l.commit.descriptor.Size}
	for _, c := range l.chunks {
		plan.Total += c.descriptor.Size
	}
	emit(plan)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(1)
	if src.ParallelBlobs() {
		g.SetLimit(runtime.GOMAXPROCS(0))
	}
	do := func(l layer, use func(io.Reader) error) {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := readLayer(ctx, src, l, emit, use); err != nil {
				return fmt.Errorf("layer %s: %w", l.descriptor.Digest, err)
			}
			return nil
		})
	}
	do(l.commit, func(r io.Reader) (err error) {
		commit, err = tarfmt.ImportCommit(ctx, txn, r, tarfmt.ImportOptions{})
		return err
	})
	for _, c := range l.chunks {
		do(c, func(r io.Reader) error {
			_, err := tarfmt.ImportObjectSet(ctx, txn, r)
			return err
		})
	}
	err = g.Wait()
	return commit, err
}
