package dest

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/dest/layout"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
)

// Errors that callers branch on.
var (
	// ErrUnsupportedTransport is wrapped by errors about references whose transport cannot be written.
	ErrUnsupportedTransport = errors.New("transport is not supported")
	// ErrNotAnImageDir says that a directory has other content than an image, which will not be overwritten.
	ErrNotAnImageDir = layout.ErrNotAnImageDir
	// ErrMismatch says that a layer gave other bytes than the image's manifest says.
	ErrMismatch = layout.ErrMismatch
)

// Options says how to write an image. The zero value is what most callers need.
type Options struct {
	// Registry says how to speak to registries.
	Registry access.Options
	// Stdout is where an archive goes whose name is "-".
	Stdout io.Writer
}

// Write writes an image and returns the digest of its manifest as a reader of the destination finds it. That is the
// digest of the image's own manifest, except in a Docker archive, which holds none: there it is that of the manifest
// that every reader makes up in the same way.
func Write(ctx context.Context, img v1.Image, ref imgref.ImageReference, opts Options) (digest.Digest, error) {
	switch ref.Transport {
	case imgref.Registry:
		return writeRegistry(ctx, img, ref.Name, opts.Registry)
	case imgref.OCIDir:
		dir, tag := ref.PathAndTag()
		return layout.Write(ctx, img, dir, tag)
	case imgref.OCIArchive, imgref.DockerArchive:
		name, tag := ref.PathAndTag()
		to, err := openArchive(name, opts.Stdout)
		if err != nil {
			return "", err
		}
		if ref.Transport == imgref.DockerArchive {
			return writeDockerArchive(ctx, img, to, tag)
		}
		return writeOCIArchive(ctx, img, to, tag)
	case imgref.Dir:
		return layout.WriteDir(ctx, img, ref.Name)
	case imgref.ContainersStorage:
		return writeStorage(ctx, img, ref.Name)
	default:
		return "", fmt.Errorf("%w: %s: write to an oci-archive: and load that", ErrUnsupportedTransport, ref)
	}
}

// manifestDigest returns the digest of an image all of whose layers were read.
func manifestDigest(img v1.Image) (digest.Digest, error) {
	h, err := img.Digest()
	if err != nil {
		return "", err
	}
	return digest.Digest(h.String()), nil
}
