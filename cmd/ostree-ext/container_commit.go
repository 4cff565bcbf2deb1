package main

import (
	"context"
	"errors"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
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
func newlyCommitted(c *plan.Committed) *heldCommit {
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
