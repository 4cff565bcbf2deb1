// Package image makes the image of the frontend. It has one static program and the labels that BuildKit reads. Equal
// programs give equal images.
package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/frontend"
)

// Program is the path of the program in the image.
const Program = "/ostree-ext-frontend"

// New returns the image of one platform's program.
func New(program []byte, p ocispec.Platform) (v1.Image, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	header := tar.Header{Name: Program[1:], Mode: 0o755, Size: int64(len(program)), ModTime: time.Unix(0, 0),
		Format: tar.FormatUSTAR}
	if err := w.WriteHeader(&header); err != nil {
		return nil, err
	}
	_, err := w.Write(program)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	epoch := v1.Time{Time: time.Unix(0, 0).UTC()}
	base := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	img, err := mutate.Append(base, mutate.Addendum{
		Layer: layer, History: v1.History{Created: epoch, CreatedBy: "the frontend's program"},
	})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created, config.OS, config.Architecture, config.Variant = epoch, p.OS, p.Architecture, p.Variant
	config.Config = v1.Config{
		Entrypoint: []string{Program}, WorkingDir: "/",
		Labels: map[string]string{
			"moby.buildkit.frontend.caps":         frontend.Caps,
			"moby.buildkit.frontend.network.none": "true",
		},
	}
	return mutate.ConfigFile(img, config)
}

// Index returns an index with the images of several platforms' programs.
func Index(programs [][]byte, of []ocispec.Platform) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, program := range programs {
		p := platforms.Normalize(of[i])
		img, err := New(program, p)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			MediaType: types.OCIManifestSchema1,
			Platform:  &v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant},
		}})
	}
	return index, nil
}

// WriteLayout writes the index as an OCI layout into a directory that is empty or does not exist.
func WriteLayout(index v1.ImageIndex, dir string) error {
	_, err := layout.Write(dir, index)
	return err
}

// Push writes the index to a registry, with the credentials of docker and podman.
func Push(ctx context.Context, index v1.ImageIndex, ref string) error {
	named, err := name.ParseReference(ref)
	if err != nil {
		return fmt.Errorf("%q is not the name of an image: %w", ref, err)
	}
	return remote.WriteIndex(named, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
}
