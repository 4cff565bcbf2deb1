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
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// ImportOptions are the options of [Import]. The zero value is what most callers need.
type ImportOptions struct {
	// WriteRef is the ref to set to the commit. If empty, nothing refers to the commit and a prune deletes it.
	WriteRef string
	// Progress receives one event at a time. It must not block for long.
	Progress func(progress.Event)
}

// Imported is the result of [Import].
type Imported struct {
	Commit object.Checksum
	// ManifestDigest is the digest of the image's manifest for this platform.
	ManifestDigest digest.Digest
}

// Unencapsulate opens an image and imports its commit. See [Import].
func Unencapsulate(
	ctx context.Context, r *repo.Repo, ref imgref.OstreeImageReference, fetch source.Options, opts ImportOptions,
) (*Imported, error) {
	if opts.WriteRef != "" {
		if _, _, err := repo.ParseRefspec(opts.WriteRef); err != nil {
			return nil, err
		}
	}
	img, err := source.Open(ctx, ref, fetch)
	if err != nil {
		return nil, err
	}
	res, err := Import(ctx, r, img, opts)
	if err := errors.Join(err, img.Close()); err != nil {
		return nil, fmt.Errorf("importing %s: %w", ref.Image, err)
	}
	return res, nil
}

// Import stores the commit of an image in a repository. If it fails, the repository is unchanged.
//
// Errors wrap [oci.ErrNotEncapsulated], [oci.ErrLayerMismatch], or those of packages source, tarfmt and repo.
func Import(ctx context.Context, r *repo.Repo, img *oci.Image, opts ImportOptions) (*Imported, error) {
	layers, err := img.CommitLayers()
	if err != nil {
		return nil, err
	}
	if n := len(layers.Derived); n > 0 {
		return nil, &DerivedError{Layers: n}
	}
	txn, err := r.Begin(ctx)
	if err != nil {
		return nil, err
	}
	commit, err := importLayers(ctx, txn, img, layers, progress.Serialize(opts.Progress))
	if err == nil {
		err = finish(ctx, txn, commit, img, opts.WriteRef)
	}
	if err != nil {
		return nil, errors.Join(err, txn.Abort())
	}
	return &Imported{Commit: commit, ManifestDigest: img.Top.Digest}, nil
}

// finish commits the transaction if the commit is complete and the one that the label names.
func finish(ctx context.Context, txn *repo.Txn, commit object.Checksum, img *oci.Image, ref string) error {
	if err := img.CheckCommit(commit.String()); err != nil {
		return err
	}
	if err := txn.Complete(ctx, commit, ref); err != nil {
		return err
	}
	_, err := txn.Commit(ctx)
	return err
}

// importLayers imports all layers, as many at a time as there are processors if the source allows.
//
// The layers may finish in any order. The transaction shows nothing until it is committed, and the objects of a chunk
// are the same whether or not the commit that refers to them is already staged.
func importLayers(
	ctx context.Context, txn *repo.Txn, img *oci.Image, l *oci.CommitLayers, emit func(progress.Event),
) (commit object.Checksum, err error) {
	planned := progress.Event{
		Kind: progress.Planned, Image: img.Name, Layer: 1 + len(l.Chunks), Total: l.Commit.Descriptor.Size,
	}
	for _, c := range l.Chunks {
		planned.Total += c.Descriptor.Size
	}
	emit(planned)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelism(img))
	do := func(l *oci.Layer, use func(io.Reader) error) {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := img.ReadLayer(ctx, l, oci.ReadOptions{Progress: emit}, use); err != nil {
				return fmt.Errorf("layer %s: %w", l.Descriptor.Digest, err)
			}
			return nil
		})
	}
	do(l.Commit, func(r io.Reader) (err error) {
		commit, err = tarfmt.ImportCommit(ctx, txn, r, admitted(ctx, img))
		return err
	})
	for _, c := range l.Chunks {
		do(c, func(r io.Reader) error {
			_, err := tarfmt.ImportObjectSet(ctx, txn, r)
			return err
		})
	}
	err = g.Wait()
	return commit, err
}

// admitted returns import options that ask img.AdmitCommit about the commit, if it is set.
func admitted(ctx context.Context, img *oci.Image) tarfmt.ImportOptions {
	if img.AdmitCommit == nil {
		return tarfmt.ImportOptions{}
	}
	return tarfmt.ImportOptions{Remote: img.Remote, Verify: func(commit object.Checksum, data, detached []byte) error {
		return img.AdmitCommit(ctx, commit.String(), data, detached)
	}}
}

// parallelism returns how many layers of an image to read at once.
func parallelism(img *oci.Image) int {
	if img.Parallel() {
		return runtime.GOMAXPROCS(0)
	}
	return 1
}
