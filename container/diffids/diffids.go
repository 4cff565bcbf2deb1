// Package diffids caches which blobs were found to have the diff-id that an image gives for them, so that a machine
// reads each blob only once.
//
// A manifest names blobs and a configuration names diff-ids. The only way to check that they match is to decompress the
// blob. A build that reuses layers of a prior image has to check, because some hosts do not.
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

// Cache stores pairs of a blob's digest and its diff-id in a directory, one small file each. Several processes may use
// it at once.
type Cache struct{ dir string }

// Open returns the cache in a directory. The directory is created when the first pair is stored. Empty means
// ostree-ext/diff-ids in the user's cache directory; if there is none, nothing is stored.
func Open(dir string) *Cache {
	if dir == "" {
		if user, err := os.UserCacheDir(); err == nil {
			dir = filepath.Join(user, "ostree-ext", "diff-ids")
		}
	}
	return &Cache{dir}
}

// Check reports whether a layer's blob has the layer's diff-id. It reads the blob unless the cache has the pair. The
// error is about a blob that cannot be read; for one with other content, Check returns false.
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

// keep stores a pair. It writes to a temporary file and renames it.
func (c *Cache) keep(l *oci.Layer) error {
	if c.dir == "" {
		return nil
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("storing a diff-id: %w", err)
	}
	f, err := os.CreateTemp(c.dir, ".tmp-")
	if err != nil {
		return fmt.Errorf("storing a diff-id: %w", err)
	}
	_, err = f.WriteString(l.DiffID.String())
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), c.path(l.Descriptor.Digest))
	}
	if err != nil {
		return fmt.Errorf("storing a diff-id: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
