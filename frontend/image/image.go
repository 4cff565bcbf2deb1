// Package image describes the image of the frontend, for package programs to make. It has one static program and the
// labels that BuildKit reads. Equal programs give equal images.
package image

import (
	"time"

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

// Of describes the image of one platform.
func Of(p Platform, opts Options) programs.Image {
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
