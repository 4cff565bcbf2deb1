// Package diffids remembers which blobs were read and found to have the diff-id that an image gives for them, so that each is
// read once on a machine.
//
// A manifest names blobs and a configuration names diff-ids, and only whoever decompresses a blob knows whether the two
// belong together. A build that takes layers over from the image before has to know, as some hosts never look.
package diffids

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// Cache keeps pairs of a blob's digest and its diff-id in a directory, a small file for each. Several processes may use it.
type Cache struct{ dir string }

// Open returns the cache in a directory, which is made when a pair is kept. Empty means ostree-ext/diff-ids in the user's
// cache directory; without one, nothing is remembered.
func Open(dir string) *Cache {
	if dir == "" {
		if user, err := os.UserCacheDir(); err == nil {
			dir = filepath.Join(user, "ostree-ext", "diff-ids")
		}
	}
	return &Cache{dir}
}

// Check reports whether a layer's blob has the layer's diff-id. It reads the blob unless it did so before. A blob that is
// not what it should be is no error; one that cannot be read is.
func (c *Cache) Check(ctx context.Context, img *oci.Image, l *oci.Layer) (bool, error) {
	if c.knows(l) {
		return true, nil
	}
	err := img.ReadLayer(ctx, l, oci.ReadOptions{Strict: true}, func(r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
	switch {
	case err == nil:
		return true, c.keep(l)
	case ctx.Err() == nil && (errors.Is(err, oci.ErrLayerMismatch) || errors.Is(err, oci.ErrInvalidStream)):
		return false, nil
	}
	return false, fmt.Errorf("reading layer %s of %s: %w", l.Descriptor.Digest, img.Name, err)
}

func (c *Cache) knows(l *oci.Layer) bool {
	if c.dir == "" || l.Descriptor.Digest.Validate() != nil {
		return false
	}
	data, err := os.ReadFile(c.path(l.Descriptor.Digest))
	return err == nil && string(data) == l.DiffID.String()
}

func (c *Cache) path(d digest.Digest) string { return filepath.Join(c.dir, d.Encoded()) }

// keep remembers a pair. The file is put in place in one step.
func (c *Cache) keep(l *oci.Layer) error {
	if c.dir == "" {
		return nil
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("remembering a blob: %w", err)
	}
	f, err := os.CreateTemp(c.dir, ".tmp-")
	if err != nil {
		return fmt.Errorf("remembering a blob: %w", err)
	}
	_, err = f.WriteString(l.DiffID.String())
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), c.path(l.Descriptor.Digest))
	}
	if err != nil {
		return fmt.Errorf("remembering a blob: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
