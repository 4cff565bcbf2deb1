package container

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
)

// OpenPrior reads an image that another one shall continue from. Its layers can be read until close is called.
func OpenPrior(ctx context.Context, ref imgref.ImageReference, opts source.Options) (prior *encapsulate.Prior, closePrior func() error, err error) {
	src, err := source.Open(ctx, ref, opts)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = src.Close()
		}
	}()
	m, err := src.Manifest(ctx)
	if err != nil {
		return nil, nil, err
	}
	config, err := src.Config(ctx)
	if err != nil {
		return nil, nil, err
	}
	manifest, err := json.Marshal(m.OCI)
	if err != nil {
		return nil, nil, fmt.Errorf("manifest of %s: %w", ref, err)
	}
	prior, err = encapsulate.NewPrior(manifest, config, func(ctx context.Context, l encapsulate.PriorLayer) (io.ReadCloser, error) {
		return src.Blob(ctx, ocispec.Descriptor{MediaType: string(l.MediaType), Digest: digest.Digest(l.Digest.String()), Size: l.Size})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", ref, err)
	}
	return prior, src.Close, nil
}
