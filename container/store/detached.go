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
	// Progress receives one event at a time. It must not block for long.
	Progress func(progress.Event)
}

// ReplaceDetached copies the image of a commit with other detached metadata of the commit, such as signatures: the
// bytes of an a{sv}, or nil for none. The layer of the commit is made again with the same compression. Other layers
// stay as they are, as does everything in manifest and configuration that does not depend on that layer. It returns the
// digest of the new manifest.
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
