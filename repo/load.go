package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// LoadCommit reads a commit.
func LoadCommit(ctx context.Context, src Source, c object.Checksum) (*object.Commit, error) {
	return load(ctx, src, object.Name{Checksum: c, Type: object.TypeCommit}, object.ParseCommit)
}

// LoadDirTree reads a dirtree.
func LoadDirTree(ctx context.Context, src Source, c object.Checksum) (*object.DirTree, error) {
	return load(ctx, src, object.Name{Checksum: c, Type: object.TypeDirTree}, object.ParseDirTree)
}

// LoadDirMeta reads a dirmeta.
func LoadDirMeta(ctx context.Context, src Source, c object.Checksum) (*object.DirMeta, error) {
	return load(ctx, src, object.Name{Checksum: c, Type: object.TypeDirMeta}, object.ParseDirMeta)
}

// LoadDetachedMetadata reads the detached metadata of a commit. It returns nil if there is none.
func LoadDetachedMetadata(ctx context.Context, src Source, c object.Checksum) (gvariant.Dict, error) {
	d, err := load(ctx, src, object.Name{Checksum: c, Type: object.TypeCommitMeta}, gvariant.ParseDict)
	if errors.Is(err, ErrObjectNotFound) {
		return nil, nil
	}
	return d, err
}

// load reads a metadata object and parses it.
func load[T any](ctx context.Context, src Source, n object.Name, parse func([]byte) (T, error)) (T, error) {
	var none T
	data, err := src.Metadata(ctx, n)
	if err != nil {
		return none, err
	}
	v, err := parse(data)
	if err != nil {
		return none, fmt.Errorf("object %s: %w", n, err)
	}
	return v, nil
}
