package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/derived"
)

// ownBase is below [basePrefix]. Its refs keep the layers of commits that [Unencapsulate] stored. The rest of a ref's
// name is the escaped refspec of the commit.
const ownBase = basePrefix + "/ostree-ext"

// Unencapsulate stores the commit of an image under a ref, as [container.Unencapsulate] does, and keeps its layers, so
// that the next image under this ref needs only the layers that are new. They stay as long as the ref exists. Layers
// that were imported stay if it fails.
//
// If the image does not hold a commit, or has layers on top of it, the error wraps [oci.ErrNotEncapsulated].
func Unencapsulate(
	ctx context.Context, r *repo.Repo, ref imgref.OstreeImageReference, fetch source.Options,
	opts container.ImportOptions,
) (_ *container.Imported, err error) {
	if _, _, err := repo.ParseRefspec(opts.WriteRef); err != nil {
		return nil, err
	}
	keep, err := escape(opts.WriteRef)
	if err != nil {
		return nil, err
	}
	p := &Prepared{Ref: ref, repo: r}
	keepBytes(r, &fetch)
	if p.Image, err = source.Open(ctx, ref, fetch); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	layers, err := p.Image.CommitLayers()
	if err != nil {
		return nil, fmt.Errorf("importing %s: %w", ref.Image, err)
	}
	if n := len(layers.Derived); n > 0 {
		return nil, fmt.Errorf("importing %s: %w", ref.Image, &container.DerivedError{Layers: n})
	}
	lock, err := r.Lock(ctx, repo.LockShared)
	if err != nil {
		return nil, err
	}
	commit, err := p.keepCommit(ctx, ownBase+"/"+keep, opts)
	if err := errors.Join(err, lock.Unlock()); err != nil {
		return nil, fmt.Errorf("importing %s: %w", ref.Image, err)
	}
	if _, err := pruneUnlessBusy(ctx, r, false); err != nil {
		return nil, fmt.Errorf("removing layers that are not needed any more: %w", err)
	}
	return &container.Imported{Commit: commit, ManifestDigest: p.Image.Top.Digest}, nil
}

// keepCommit imports the layers and writes the refs of the commit, of the layers, and the one that keeps the layers.
func (p *Prepared) keepCommit(
	ctx context.Context, keep string, opts container.ImportOptions,
) (base object.Checksum, err error) {
	if err := p.arrange(); err != nil {
		return base, err
	}
	if err := p.find(ctx); err != nil {
		return base, err
	}
	im := &importer{p: p, repo: p.repo, emit: progress.Serialize(opts.Progress), res: &Imported{}}
	im.announce()
	if err := im.base(ctx); err != nil {
		return base, err
	}
	base = im.res.Base
	txn, err := p.repo.Begin(ctx)
	if err != nil {
		return base, err
	}
	if err := p.keepRefs(ctx, txn, base, keep, opts.WriteRef); err != nil {
		return base, errors.Join(err, txn.Abort())
	}
	_, err = txn.Commit(ctx)
	return base, err
}

func (p *Prepared) keepRefs(ctx context.Context, txn *repo.Txn, base object.Checksum, keep, ref string) error {
	for _, l := range p.Layers {
		name, err := layerRef(l.Descriptor.Digest)
		if err != nil {
			return err
		}
		if err := txn.SetRef(name, l.Commit); err != nil {
			return err
		}
	}
	old, err := repo.LoadCommit(ctx, txn, base)
	if err != nil {
		return err
	}
	metadata, err := p.metadata()
	if err != nil {
		return err
	}
	c := &object.Commit{
		Parent: base, Timestamp: created(p.Image), Metadata: metadata, Tree: old.Tree, Meta: old.Meta,
	}
	id, err := txn.WriteCommit(ctx, c)
	if err != nil {
		return err
	}
	if err := txn.SetRef(keep, id); err != nil {
		return err
	}
	return txn.Complete(ctx, base, ref)
}

// metadata returns the metadata of the image's merge commit.
func (p *Prepared) metadata() (gvariant.Dict, error) {
	manifest, config, err := documents(p.Image)
	if err != nil {
		return nil, err
	}
	return gvariant.Dict{}.
		Set(keyConfig, gvariant.String(string(config))).
		Set(keyImporter, gvariant.String(derived.Version)).
		Set(keyManifest, gvariant.String(string(manifest))).
		Set(keyDigest, gvariant.String(p.Image.Top.Digest.String())), nil
}

// dropKept removes the refs that keep the layers of commits whose ref is gone.
func dropKept(ctx context.Context, r *repo.Repo) error {
	refs, err := r.Refs(ownBase)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		name, err := unescape(ref.Name[len(ownBase)+1:])
		if err == nil {
			if _, err = r.ResolveRef(name); err == nil {
				continue
			}
		}
		if err != nil && !errors.Is(err, repo.ErrRefNotFound) && !errors.Is(err, errInvalidName) {
			return err
		}
		if err := r.DeleteRef(ctx, ref.Name); err != nil {
			return err
		}
	}
	return nil
}
