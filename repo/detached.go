package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// UpdateDetachedMetadata replaces the detached metadata of a commit with what change makes of them. change gets nil if
// there are none. Readers see either the old or the new metadata, even after a crash. If change returns an error or the
// same bytes, nothing is written.
//
// The repository is locked exclusively meanwhile, so that two programs that add signatures at once keep each other's.
// Therefore change must not take long and must not begin a transaction.
func (r *Repo) UpdateDetachedMetadata(
	ctx context.Context, c object.Checksum, change func(old []byte) ([]byte, error),
) (err error) {
	if !r.writable {
		return r.readOnlyError()
	}
	lock, err := r.Lock(ctx, LockExclusive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	ok, err := r.Has(object.Name{Checksum: c, Type: object.TypeCommit})
	if err == nil && !ok {
		err = ErrObjectNotFound
	}
	if err != nil {
		return fmt.Errorf("commit %s: %w", c, err)
	}
	name := object.Name{Checksum: c, Type: object.TypeCommitMeta}
	old, err := r.Metadata(ctx, name)
	if err != nil && !isMissing(err) {
		return err
	}
	data, err := change(old)
	if err != nil || bytes.Equal(data, old) {
		return err
	}
	if len(data) > object.MaxMetadataSize {
		return fmt.Errorf("detached metadata of commit %s: %d bytes are more than %d", c, len(data), object.MaxMetadataSize)
	}
	file := path.Join("objects", loosePath(name, r.mode))
	if err := r.root.Mkdir(path.Dir(file), 0o775); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return r.replaceFile(file, data)
}

// WithDetachedMetadata returns a view of a source in which a commit has other detached metadata: the bytes of an a{sv},
// or nil for none.
func WithDetachedMetadata(src Source, c object.Checksum, detached []byte) Source {
	return &detachedSource{src, object.Name{Checksum: c, Type: object.TypeCommitMeta}, detached}
}

type detachedSource struct {
	Source
	name object.Name
	data []byte
}

func (s *detachedSource) Metadata(ctx context.Context, n object.Name) ([]byte, error) {
	switch {
	case n != s.name:
		return s.Source.Metadata(ctx, n)
	case s.data == nil:
		return nil, fmt.Errorf("object %s: %w", n, ErrObjectNotFound)
	}
	return s.data, nil
}
