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
	// ErrUnsupportedTransport is wrapped by errors about transports that cannot be written to.
	ErrUnsupportedTransport = errors.New("transport is not supported")
	// ErrNotAnImageDir is wrapped by errors about a directory that holds something else than an image. It is not
	// overwritten.
	ErrNotAnImageDir = layout.ErrNotAnImageDir
	// ErrMismatch is wrapped by errors about a layer whose bytes differ from its digest.
	ErrMismatch = layout.ErrMismatch
)

// Options are the options of [Write]. The zero value is what most callers need.
type Options struct {
	// Registry has the options for talking to registries.
	Registry access.Options
	// Stdout receives an archive whose name is "-".
	Stdout io.Writer
	// Names are more names for the image, in the same place: tags in the same repository of a registry, or in an OCI
	// layout or archive; full names in a Docker archive or containers-storage. If the reference has no tag, an OCI layout
	// or archive has the image only under these names. See [Names].
	Names []string
}

// Write writes an image and returns the digest of its manifest, as a reader of the destination sees it. That is the
// digest of the image's own manifest, except in a Docker archive, which has no manifest of this kind. All readers of
// Docker archives derive the same one, and its digest is returned.
func Write(ctx context.Context, img v1.Image, ref imgref.ImageReference, opts Options) (digest.Digest, error) {
	names, err := Names(ref, opts.Names)
	if err != nil {
		return "", err
	}
	switch ref.Transport {
	case imgref.Registry:
		return writeRegistry(ctx, img, names, opts.Registry)
	case imgref.OCIDir:
		dir, _ := ref.PathAndTag()
		return layout.Write(ctx, img, dir, names...)
	case imgref.OCIArchive, imgref.DockerArchive:
		file, _ := ref.PathAndTag()
		to, err := openArchive(file, opts.Stdout)
		if err != nil {
			return "", err
		}
		if ref.Transport == imgref.DockerArchive {
			return writeDockerArchive(ctx, img, to, names)
		}
		return writeOCIArchive(ctx, img, to, names)
	case imgref.Dir:
		return layout.WriteDir(ctx, img, ref.Name)
	case imgref.ContainersStorage:
		return writeStorage(ctx, img, names)
	default:
		return "", fmt.Errorf("%w: %s: write to an oci-archive: and load that", ErrUnsupportedTransport, ref)
	}
}

// manifestDigest returns the digest of an image. All its layers must have been read.
func manifestDigest(img v1.Image) (digest.Digest, error) {
	h, err := img.Digest()
	if err != nil {
		return "", err
	}
	return digest.Digest(h.String()), nil
}
