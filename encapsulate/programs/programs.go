package programs

import (
	"context"
	"encoding/json"
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
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/plain"
)

// Image describes the image of one platform.
type Image struct {
	Platform ocispec.Platform
	Layers   []Layer
	Config   ocispec.ImageConfig
	// Annotations are those of the manifest.
	Annotations map[string]string
	// Created is the image's time. The files' times are always 1970-01-01.
	Created time.Time
}

// Layer is a layer of an image. Its name is shown in the image's history.
type Layer struct {
	Name  string
	Files []File
}

// New returns an image. It makes the layers once, to know their digests, and again whenever they are read.
func New(ctx context.Context, i Image) (v1.Image, error) {
	config, err := json.Marshal(i.Config)
	if err != nil {
		return nil, err
	}
	p, created := platforms.Normalize(i.Platform), i.Created.UTC()
	specs := make([]encapsulate.LayerSpec, len(i.Layers))
	for n, l := range i.Layers {
		t, err := newTree(l.Files)
		if err != nil {
			return nil, fmt.Errorf("layer %q: %w", l.Name, err)
		}
		all := make([]uint32, t.Entries().Len())
		for e := range all {
			all[e] = uint32(e)
		}
		specs[n] = encapsulate.LayerSpec{Name: l.Name, Write: func(w io.Writer) error {
			return plain.Write(ctx, w, t, all, plain.Options{})
		}}
	}
	img, err := encapsulate.BuildPlain(ctx, specs, encapsulate.Options{
		Config: config, Annotations: i.Annotations, Created: &created, Platform: &p,
	})
	if err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, r)
		if err := errors.Join(err, r.Close()); err != nil {
			return nil, err
		}
	}
	return img, nil
}

// Index returns an index with an image for each of several platforms, and with annotations of its own.
func Index(ctx context.Context, images []Image, annotations map[string]string) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, i := range images {
		img, err := New(ctx, i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", platforms.Format(i.Platform), err)
		}
		p := platforms.Normalize(i.Platform)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			MediaType: types.OCIManifestSchema1,
			Platform:  &v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant},
		}})
	}
	if len(annotations) == 0 {
		return index, nil
	}
	annotated, ok := mutate.Annotations(index, annotations).(v1.ImageIndex)
	if !ok {
		return nil, errors.New("an index with annotations is not an index")
	}
	return annotated, nil
}

// Destination is where an index is written to: a registry, a directory, or both.
type Destination struct {
	// Image is the name of an image in a registry, or empty. The credentials are those of docker and podman.
	Image string
	// Layout is a directory that is empty or does not exist, for an OCI layout, or empty.
	Layout string
}

// Check returns an error if there is no destination.
func (d *Destination) Check() error {
	if *d == (Destination{}) {
		return errors.New("name a destination: --push=IMAGE or --layout=DIR")
	}
	if d.Image == "" {
		return nil
	}
	_, err := d.reference()
	return err
}

func (d *Destination) reference() (name.Reference, error) {
	ref, err := name.ParseReference(d.Image)
	if err != nil {
		return nil, fmt.Errorf("%q is not the name of an image: %w", d.Image, err)
	}
	return ref, nil
}

// Write writes an index and returns its digest.
func (d *Destination) Write(ctx context.Context, index v1.ImageIndex) (v1.Hash, error) {
	if d.Layout != "" {
		// The index is the only entry of the layout's own, since other programs ask for a name if there are several.
		dir, err := layout.Write(d.Layout, empty.Index)
		if err != nil {
			return v1.Hash{}, err
		}
		if err := dir.AppendIndex(index); err != nil {
			return v1.Hash{}, err
		}
	}
	if d.Image != "" {
		ref, err := d.reference()
		if err != nil {
			return v1.Hash{}, err
		}
		auth := remote.WithAuthFromKeychain(authn.DefaultKeychain)
		if err := remote.WriteIndex(ref, index, remote.WithContext(ctx), auth); err != nil {
			return v1.Hash{}, err
		}
	}
	return index.Digest()
}
