package store

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// keyDiffIDs is a key of the detached metadata of a layer's commit: the diff-ids of the layers that it was made from.
// They were compared with the layers' bytes. An image cannot bring such a key for its commit: package tarfmt leaves out
// the keys that begin with "ostree-ext.".
const keyDiffIDs = "ostree-ext.diff-ids"

// verifiedDiffID reports whether a layer's commit was made from a layer with a diff-id.
func verifiedDiffID(ctx context.Context, src repo.Source, commit object.Checksum, id digest.Digest) bool {
	return slices.Contains(diffIDs(ctx, src, commit), id.String())
}

// diffIDs returns the diff-ids that are recorded for a layer's commit.
func diffIDs(ctx context.Context, src repo.Source, commit object.Checksum) []string {
	d, err := repo.LoadDetachedMetadata(ctx, src, commit)
	if err != nil {
		return nil
	}
	v, ok := d.Lookup(keyDiffIDs)
	if !ok {
		return nil
	}
	list, err := v.Strings()
	if err != nil {
		return nil
	}
	return list
}

// recordDiffIDs adds diff-ids to those that are recorded for a layer's commit.
func recordDiffIDs(ctx context.Context, txn *repo.Txn, commit object.Checksum, ids ...string) error {
	old := diffIDs(ctx, txn, commit)
	list := slices.Clone(old)
	for _, id := range ids {
		if !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	if len(list) == len(old) {
		return nil
	}
	slices.Sort(list)
	d, err := repo.LoadDetachedMetadata(ctx, txn, commit)
	if err != nil {
		d = nil
	}
	return txn.WriteDetachedMetadata(ctx, commit, d.Set(keyDiffIDs, gvariant.Strings(list)).Encode())
}
