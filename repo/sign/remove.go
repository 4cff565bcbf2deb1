package sign

import (
	"context"
	"fmt"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// RemoveFromCommit removes signatures of one engine from a commit in a repository, and returns how many. k names the
// public keys whose signatures go; without any, all of the engine do. Of GPG, they are also ids that gpg knows, with
// home as its directory or the user's.
func RemoveFromCommit(
	ctx context.Context, r *repo.Repo, id object.Checksum, k Keys, home string, opts Options,
) (removed int, err error) {
	commit, err := Commit(ctx, r, id)
	if err != nil {
		return 0, err
	}
	key, drop, err := removal(ctx, k, home, opts)
	if err != nil {
		return 0, err
	}
	err = r.UpdateDetachedMetadata(ctx, id, func(old []byte) ([]byte, error) {
		m, err := parseMetadata(old)
		if err != nil {
			return nil, err
		}
		list, err := m.list(key)
		if err != nil {
			return nil, err
		}
		left := slices.DeleteFunc(slices.Clone(list), func(sig []byte) bool { return drop(commit, sig) })
		if removed = len(list) - len(left); removed == 0 {
			return old, nil
		}
		if m, err = m.with(key, left); err != nil {
			return nil, err
		}
		return m.encode()
	})
	return removed, err
}

// removal returns the key of the signatures that may be removed, and which of them are.
func removal(
	ctx context.Context, k Keys, home string, opts Options,
) (key string, drop func(commit, sig []byte) bool, err error) {
	if k.Engine == GPG {
		ids, err := gpgIDs(ctx, k.Keys, home)
		return gpgKey, func(_, element []byte) bool { return len(k.Keys) == 0 || madeBy(element, ids) }, err
	}
	e, err := findEngine(k.Engine, opts.getenv)
	if err != nil {
		return "", nil, err
	}
	if len(k.Keys) == 0 && k.File == "" && k.Dir == "" {
		return e.key(), func([]byte, []byte) bool { return true }, nil
	}
	v, err := ForKeys(k, opts)
	if err != nil {
		return "", nil, err
	}
	return e.key(), func(commit, sig []byte) bool {
		return slices.ContainsFunc(v.engines[0].keys, func(p publicKey) bool { return p.verify(commit, sig) })
	}, nil
}

// gpgIDs returns the fingerprints of all keys that ids mean. An id that gpg does not know must be the end of one.
func gpgIDs(ctx context.Context, ids []string, home string) (all []string, err error) {
	for _, id := range ids {
		known, err := gpgKeyIDs(ctx, home, id)
		if err != nil && !isKeyID(id) {
			return nil, fmt.Errorf("GPG key %s: %w", id, err)
		}
		all = append(append(all, known...), id)
	}
	return all, nil
}

// madeBy reports whether the signatures in an element say that they are by one of the keys.
func madeBy(element []byte, ids []string) bool {
	for sig, err := range parsedSignatures(element) {
		if err == nil && slices.ContainsFunc(ids, func(id string) bool {
			return matchesID(issuer(sig), id) || sig.IssuerKeyId != nil && matchesID(id, fmt.Sprintf("%016X", *sig.IssuerKeyId))
		}) {
			return true
		}
	}
	return false
}
