package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Keys of a merge commit's detached metadata: the signatures that were verified when the image was pulled, and those of
// the update that is pending, as JSON lists of [oci.Signature]. They are a record for people. No decision is ever made
// by them: the next pull verifies again.
const (
	keySignatures       = "ostree-ext.signatures"
	keyCachedSignatures = "ostree-ext.cached.signatures"
)

// signatures reads a record from detached metadata.
func signatures(d gvariant.Dict, key string) ([]oci.Signature, error) {
	data, ok, err := text(d, key)
	if err != nil || !ok {
		return nil, err
	}
	var list []oci.Signature
	if err := json.Unmarshal([]byte(data), &list); err != nil {
		return nil, fmt.Errorf("metadata %s: %w", key, err)
	}
	return list, nil
}

// withSignatures returns detached metadata with a record of the signatures of an image that were verified.
func withSignatures(d gvariant.Dict, key string, img *oci.Image) (gvariant.Dict, error) {
	if img.Signatures == nil {
		return d, nil
	}
	list := img.Signatures()
	if len(list) == 0 {
		return d, nil
	}
	data, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("recording the signatures: %w", err)
	}
	return d.Set(key, gvariant.String(string(data))), nil
}

// recordSignatures records the signatures of an image that was stored already, perhaps without asking for any. An older
// record stays if no signatures were asked for now: it is still true.
func recordSignatures(ctx context.Context, r *repo.Repo, commit object.Checksum, img *oci.Image) error {
	d, err := repo.LoadDetachedMetadata(ctx, r, commit)
	if err != nil {
		return err
	}
	old, err := signatures(d, keySignatures)
	if err == nil && (img.Signatures == nil || slices.Equal(old, img.Signatures())) {
		return nil
	}
	if d, err = withSignatures(d, keySignatures, img); err != nil {
		return err
	}
	return writeDetached(ctx, r, commit, d)
}

// Signatures returns the signatures that were verified when an image was pulled. There are none if nobody asked for
// them, or if another program stored the image.
func Signatures(ctx context.Context, src repo.Source, img *Image) ([]oci.Signature, error) {
	if img.update != nil {
		return signatures(img.update, keyCachedSignatures)
	}
	d, err := repo.LoadDetachedMetadata(ctx, src, img.Commit)
	if err != nil {
		return nil, err
	}
	return signatures(d, keySignatures)
}
