package container

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// ImageInfo describes an image.
type ImageInfo struct {
	// Image is the reference that was asked for.
	Image string `json:"image"`
	// Digest is the digest of the manifest for this platform.
	Digest   digest.Digest     `json:"digest"`
	Manifest ocispec.Manifest  `json:"manifest"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// Info returns a description of an image. ref is the reference that it was opened by.
func Info(ref imgref.OstreeImageReference, img *oci.Image) *ImageInfo {
	return &ImageInfo{Image: ref.String(), Digest: img.Top.Digest, Manifest: img.Manifest, Labels: img.Config.Labels}
}
