package container

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
)

// ImageInfo is what an image says of itself.
type ImageInfo struct {
	// Image is the reference that was asked for.
	Image string `json:"image"`
	// Digest is that of the manifest for this platform.
	Digest   digest.Digest     `json:"digest"`
	Manifest ocispec.Manifest  `json:"manifest"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// Info reads manifest and configuration of an image. A reference that asks for signatures is refused with
// [ErrVerificationUnsupported].
func Info(ctx context.Context, ref imgref.OstreeImageReference, opts source.Options) (info *ImageInfo, err error) {
	if err := checkSignatureSource(ref); err != nil {
		return nil, err
	}
	src, err := source.Open(ctx, ref.Image, opts)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", ref.Image, err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	m, err := src.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := src.Config(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref.Image, err)
	}
	config, err := parseConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref.Image, err)
	}
	return &ImageInfo{Image: ref.String(), Digest: m.Digest, Manifest: m.OCI, Labels: config.Config.Labels}, nil
}
