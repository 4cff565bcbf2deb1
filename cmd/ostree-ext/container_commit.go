package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/build"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// heldCommit is the commit that an image is of.
type heldCommit struct {
	commit  object.Checksum
	dropped []rootfs.Dropped
	// write stores it in a repository and sets a ref unless that is empty.
	write func(ctx context.Context, r *repo.Repo, ref string) error
}

// newlyCommitted is a commit that was made of a root filesystem.
func newlyCommitted(c *build.Committed) *heldCommit {
	return &heldCommit{commit: c.Commit, dropped: c.Dropped, write: func(ctx context.Context, r *repo.Repo, ref string) error {
		return inTransaction(ctx, r, func(txn *repo.Txn) error {
			if err := c.Source.WriteTo(ctx, txn); err != nil || ref == "" {
				return err
			}
			return txn.SetRef(ref, c.Commit)
		})
	}}
}

// alreadyCommitted is a commit that an image holds.
func alreadyCommitted(src *repo.Repo, commit object.Checksum) *heldCommit {
	return &heldCommit{commit: commit, write: func(ctx context.Context, r *repo.Repo, ref string) error {
		if _, err := r.PullLocal(ctx, src, []string{commit.String()}, repo.PullOptions{}); err != nil || ref == "" {
			return err
		}
		return inTransaction(ctx, r, func(txn *repo.Txn) error { return txn.SetRef(ref, commit) })
	}}
}

func inTransaction(ctx context.Context, r *repo.Repo, do func(*repo.Txn) error) error {
	txn, err := r.Begin(ctx)
	if err != nil {
		return err
	}
	if err := do(txn); err != nil {
		return errors.Join(err, txn.Abort())
	}
	_, err = txn.Commit(ctx)
	return err
}

// holdsCommit reports whether an image was made of a commit, and whether there is nothing on top of it.
func holdsCommit(image *encapsulate.Prior) (holds, alone bool) {
	last := image.Config.Config.Labels[encapsulate.LabelDiffID]
	for i, l := range image.Layers {
		if l.DiffID.String() == last {
			return true, i == len(image.Layers)-1
		}
	}
	return false, false
}

// openCommit reads the commit that an image holds into a repository that goes with it. Only so it is exact: the image's files
// alone do not tell everything of directories.
func openCommit(ctx context.Context, ref imgref.ImageReference, image *encapsulate.Prior, fetch source.Options) (o *opened, err error) {
	dir, err := os.MkdirTemp("", "ostree-ext-")
	if err != nil {
		return nil, err
	}
	o = &opened{image: image, close: func() error { return os.RemoveAll(dir) }}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	if o.repo, err = repo.Init(dir, repo.ModeBareUser); err != nil {
		return nil, err
	}
	o.close = both(o.repo.Close, o.close)
	from := imgref.OstreeImageReference{Signature: imgref.SignatureSource{Kind: imgref.ContainerPolicyAllowInsecure}, Image: ref}
	result, err := container.Unencapsulate(ctx, o.repo, from, container.UnencapsulateOptions{Source: fetch, WriteRef: "image"})
	if err != nil {
		return nil, fmt.Errorf("reading the commit of %s: %w", ref, err)
	}
	o.commit = result.Commit
	o.tree, err = rootfs.Commit(ctx, o.repo, o.commit)
	return o, err
}
