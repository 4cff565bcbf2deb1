package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// DetachedOptions are the options of [ReplaceDetached]. The zero value is what most callers need.
type DetachedOptions struct {
	// Source and Dest have the options for reading and writing the image.
	Source source.Options
	Dest   dest.Options
	// Change, if not nil, returns the new detached metadata, given the bytes of the commit, whose hash was checked, and
	// the metadata in the image, which are nil if there are none. The layer that they are in is then read twice, since it
	// must be checked to the end before anything in it is signed.
	Change func(ctx context.Context, commit, detached []byte) ([]byte, error)
	// Progress receives one event at a time. It must not block for long.
	Progress func(progress.Event)
}

// ReplaceDetached copies the image of a commit with other detached metadata of the commit, such as signatures: the
// bytes of an a{sv}, or nil for none. With opts.Change, it is that function which makes them. The layer of the commit
// is made again with the same compression. Other layers stay as they are, as does everything in manifest and
// configuration that does not depend on that layer. It returns the digest of the new manifest.
//
// If the image has no chunks, the label ostree.final-diffid names the layer that changes, and is corrected. Upstream's
// program does so only if the image has no layers on top either, so that other images are unreadable afterwards.
func ReplaceDetached(
	ctx context.Context, from, to imgref.ImageReference, detached []byte, opts DetachedOptions,
) (_ digest.Digest, err error) {
	img, err := source.Open(ctx, imgref.Unverified(from), opts.Source)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	fail := func(err error) error { return fmt.Errorf("replacing the detached metadata in %s: %w", from, err) }
	layers, err := img.CommitLayers()
	if err != nil {
		return "", fail(err)
	}
	if err := img.CheckLayers(); err != nil {
		return "", fail(err)
	}
	if opts.Change != nil {
		if detached, err = changed(ctx, img, layers, opts.Change); err != nil {
			return "", fail(err)
		}
	}
	specs := make([]encapsulate.LayerSpec, len(img.Layers))
	for i := range img.Layers {
		l := &img.Layers[i]
		specs[i] = encapsulate.LayerSpec{Name: l.Title(), Held: &encapsulate.Held{Image: img, Layer: l}}
	}
	specs[0] = encapsulate.LayerSpec{Name: layers.Commit.Title(), Write: func(w io.Writer) error {
		return img.ReadLayer(ctx, layers.Commit, oci.ReadOptions{}, func(r io.Reader) error {
			return tarfmt.ReplaceDetached(ctx, w, r, detached)
		})
	}}
	compression, err := compressionOf(layers.Commit.Descriptor.MediaType)
	if err != nil {
		return "", fail(err)
	}
	at := time.Unix(0, 0)
	made, err := encapsulate.BuildPlain(ctx, specs, encapsulate.Options{
		Created: &at, Compression: compression, Name: to.String(), Progress: opts.Progress,
	})
	if err != nil {
		return "", fail(err)
	}
	d, err := dest.Write(ctx, &rebuilt{Image: made, from: img}, to, opts.Dest)
	if err != nil {
		return "", fail(err)
	}
	return d, nil
}

// changed returns what change makes of the detached metadata in an image.
func changed(
	ctx context.Context, img *oci.Image, layers *oci.CommitLayers,
	change func(ctx context.Context, commit, detached []byte) ([]byte, error),
) ([]byte, error) {
	var c *tarfmt.SignedCommit
	err := img.ReadLayer(ctx, layers.Commit, oci.ReadOptions{}, func(r io.Reader) (err error) {
		c, err = tarfmt.ReadCommit(ctx, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", layers.Commit.Descriptor.Digest, err)
	}
	if err := img.CheckCommit(c.ID.String()); err != nil {
		return nil, err
	}
	return change(ctx, c.Commit, c.Detached)
}

// compressionOf returns the compression of a layer.
func compressionOf(mediaType string) (encapsulate.Compression, error) {
	switch mediaType {
	case ocispec.MediaTypeImageLayerGzip:
		return encapsulate.Gzip, nil
	case ocispec.MediaTypeImageLayerZstd:
		return encapsulate.Zstd, nil
	case ocispec.MediaTypeImageLayer:
		return encapsulate.Uncompressed, nil
	}
	return 0, &oci.TypeError{MediaType: mediaType}
}
