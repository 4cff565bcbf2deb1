package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Keys of the detached metadata of a layer's commit: the diff-ids of the layers that it was made from, which were
// compared with the layers' bytes, and a proof that this program wrote them, here. An image cannot bring such keys for
// its commit: package tarfmt leaves out those that begin with "ostree-ext.". Other programs that write into the
// repository do not, so only a record with its proof counts for references that ask for signatures.
const (
	keyDiffIDs     = "ostree-ext.diff-ids"
	keyDiffIDProof = "ostree-ext.diff-ids-proof"
)

// proof returns the proof for the diff-ids of a commit: an HMAC-SHA256 with the secret of the repository, in
// hexadecimal digits.
func proof(secret []byte, commit object.Checksum, ids []string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(keyDiffIDs + "\x00" + commit.String()))
	for _, id := range ids {
		mac.Write([]byte("\x00" + id))
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// verifiedDiffID reports whether this program made a layer's commit from a layer with a diff-id.
func verifiedDiffID(
	ctx context.Context, src repo.Source, secret []byte, commit object.Checksum, id digest.Digest,
) bool {
	return slices.Contains(provenDiffIDs(ctx, src, secret, commit), id.String())
}

// provenDiffIDs returns the diff-ids that are recorded for a layer's commit, if they have their proof.
func provenDiffIDs(ctx context.Context, src repo.Source, secret []byte, commit object.Checksum) []string {
	d, err := repo.LoadDetachedMetadata(ctx, src, commit)
	if err != nil || len(secret) == 0 {
		return nil
	}
	list := recorded(d)
	got, _, err := text(d, keyDiffIDProof)
	if err != nil || !hmac.Equal([]byte(got), []byte(proof(secret, commit, list))) {
		return nil
	}
	return list
}

// diffIDs returns the diff-ids that are recorded for a layer's commit, by whomever.
func diffIDs(ctx context.Context, src repo.Source, commit object.Checksum) []string {
	d, err := repo.LoadDetachedMetadata(ctx, src, commit)
	if err != nil {
		return nil
	}
	return recorded(d)
}

func recorded(d gvariant.Dict) []string {
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

// recordDiffIDs adds diff-ids to those that are recorded for a layer's commit. A record without its proof is replaced.
func recordDiffIDs(ctx context.Context, txn *repo.Txn, commit object.Checksum, ids ...string) error {
	secret, err := makeSecret(txn.Repo())
	if err != nil {
		return err
	}
	old := provenDiffIDs(ctx, txn, secret, commit)
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
	d = d.Set(keyDiffIDs, gvariant.Strings(list)).Set(keyDiffIDProof, gvariant.String(proof(secret, commit, list)))
	return txn.WriteDetachedMetadata(ctx, commit, d.Encode())
}
