package layout

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

// blobDir is a directory of blobs, each named by the hexadecimal part of its digest.
type blobDir struct{ dir string }

// has reports whether a blob exists. It reads the content: blobs are not synced when they are written, since images can
// be made again, so a file may be incomplete after a crash.
func (b blobDir) has(ctx context.Context, h v1.Hash, size int64) bool {
	st, err := os.Lstat(b.path(h))
	if err != nil || !st.Mode().IsRegular() || st.Size() != size {
		return false
	}
	f, err := os.Open(b.path(h))
	if err != nil {
		return false
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, ctxio.Reader(ctx, f))
	return err == nil && hex.EncodeToString(sum.Sum(nil)) == h.Hex
}

func (b blobDir) path(h v1.Hash) string { return filepath.Join(b.dir, h.Hex) }

// put stores the content of r as a blob.
func (b blobDir) put(ctx context.Context, r io.Reader) (h v1.Hash, size int64, err error) {
	f, err := output.Temp(b.dir)
	if err != nil {
		return h, 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
		err = errors.Join(err, f.Close())
	}()
	sum := sha256.New()
	if size, err = io.Copy(io.MultiWriter(f, sum), ctxio.Reader(ctx, r)); err != nil {
		return h, 0, err
	}
	h = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	return h, size, os.Rename(f.Name(), b.path(h))
}

// putBytes stores a small blob.
func (b blobDir) putBytes(ctx context.Context, data []byte) (v1.Hash, error) {
	sum := sha256.Sum256(data)
	h := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	if b.has(ctx, h, int64(len(data))) {
		return h, nil
	}
	_, _, err := b.put(ctx, bytes.NewReader(data))
	return h, err
}

// putLayer stores a layer's compressed bytes, unless the blob exists.
func (b blobDir) putLayer(ctx context.Context, l v1.Layer) error {
	if h, err := l.Digest(); err == nil {
		if size, err := l.Size(); err == nil && b.has(ctx, h, size) {
			return nil
		}
	} else if !errors.Is(err, stream.ErrNotComputed) {
		return err
	}
	r, err := l.Compressed()
	if err != nil {
		return err
	}
	h, _, err := b.put(ctx, r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	want, err := l.Digest()
	if err != nil {
		return err
	}
	if h != want {
		return fmt.Errorf("%w: %s gave %s", ErrMismatch, want, h)
	}
	return nil
}

// putImage stores the layers and the configuration, and returns the manifest.
func (b blobDir) putImage(ctx context.Context, img v1.Image) ([]byte, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	if err := b.putLayers(ctx, layers); err != nil {
		return nil, err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	if _, err := b.putBytes(ctx, config); err != nil {
		return nil, err
	}
	return img.RawManifest()
}

func (b blobDir) putLayers(ctx context.Context, layers []v1.Layer) error {
	return EachLayer(ctx, layers, func(ctx context.Context, _ int, l v1.Layer) error { return b.putLayer(ctx, l) })
}

// Parallelism returns how many layers to make and write at once. Each takes some memory.
func Parallelism() int { return min(runtime.GOMAXPROCS(0), 4) }

// EachLayer calls f for each layer, at most [Parallelism] at once, and returns the first error.
func EachLayer(ctx context.Context, layers []v1.Layer, f func(ctx context.Context, i int, l v1.Layer) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(Parallelism())
	for i, l := range layers {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(ctx, i, l); err != nil {
				return fmt.Errorf("layer %d: %w", i, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// mkdir makes directories, but not their parents, so that a mistyped path is an error.
func mkdir(names ...string) error {
	for _, name := range names {
		if err := os.Mkdir(name, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}
