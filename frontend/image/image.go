// Package image makes the image of the frontend. It has one static program and the labels that BuildKit reads. Equal
// programs give equal images.
package image

import (
	"context"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/programs"
	"github.com/ostree-ext/ostree-ext-go/frontend"
)

// Program is the path of the program in the image.
const Program = "/ostree-ext-frontend"

// Platform is the program of one platform.
type Platform struct {
	ocispec.Platform
	Program []byte
}

// Options describe the image. Created is its time, and Annotations are those of the index and of each manifest.
type Options struct {
	Created     time.Time
	Annotations map[string]string
}

// New returns the image of one platform.
func New(ctx context.Context, p Platform, opts Options) (v1.Image, error) {
	return programs.New(ctx, describe(p, opts))
}

// Index returns an index with the images of several platforms.
func Index(ctx context.Context, of []Platform, opts Options) (v1.ImageIndex, error) {
	var images []programs.Image
	for _, p := range of {
		images = append(images, describe(p, opts))
	}
	return programs.Index(ctx, images, opts.Annotations)
}

func describe(p Platform, opts Options) programs.Image {
	return programs.Image{
		Platform: p.Platform,
		Layers: []programs.Layer{{
			Name: "the frontend's program", Files: []programs.File{{Path: Program, Mode: 0o755, Content: p.Program}},
		}},
		Config: ocispec.ImageConfig{
			Entrypoint: []string{Program}, WorkingDir: "/",
			Labels: map[string]string{
				"moby.buildkit.frontend.caps":         frontend.Caps,
				"moby.buildkit.frontend.network.none": "true",
			},
		},
		Annotations: opts.Annotations, Created: opts.Created,
	}
}
