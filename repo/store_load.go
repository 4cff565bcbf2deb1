package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// load reads and parses a metadata object.
func load[T any](ctx context.Context, r *Repo, n object.Name, parse func([]byte) (T, error)) (T, error) {
	var none T
	data, err := r.Metadata(ctx, n)
	if err != nil {
		return none, err
	}
	v, err := parse(data)
	if err != nil {
		return none, fmt.Errorf("object %s: %w", n, err)
	}
	return v, nil
}

// LoadCommit reads a commit.
func (r *Repo) LoadCommit(ctx context.Context, c object.Checksum) (*object.Commit, error) {
	return load(ctx, r, object.Name{Checksum: c, Type: object.TypeCommit}, object.ParseCommit)
}

// LoadDirTree reads a dirtree.
func (r *Repo) LoadDirTree(ctx context.Context, c object.Checksum) (*object.DirTree, error) {
	return load(ctx, r, object.Name{Checksum: c, Type: object.TypeDirTree}, object.ParseDirTree)
}

// LoadDirMeta reads a dirmeta.
func (r *Repo) LoadDirMeta(ctx context.Context, c object.Checksum) (*object.DirMeta, error) {
	return load(ctx, r, object.Name{Checksum: c, Type: object.TypeDirMeta}, object.ParseDirMeta)
}

// DetachedMetadata returns what is stored beside a commit, and nil where there is nothing.
func (r *Repo) DetachedMetadata(ctx context.Context, c object.Checksum) (gvariant.Dict, error) {
	d, err := load(ctx, r, object.Name{Checksum: c, Type: object.TypeCommitMeta}, gvariant.ParseDict)
	if errors.Is(err, ErrObjectNotFound) {
		return nil, nil
	}
	return d, err
}
