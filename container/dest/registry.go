package dest

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/dest/layout"
	"github.com/ostree-ext/ostree-ext-go/container/dest/upload"
)

// writeRegistry pushes an image: layers and configuration, and last the manifest, under each name. All names are of the
// same repository.
func writeRegistry(ctx context.Context, img v1.Image, names []string, opts access.Options) (digest.Digest, error) {
	layers, err := img.Layers()
	if err != nil {
		return "", err
	}
	c, err := upload.Connect(ctx, names[0], opts, mountScopes(names[0], layers)...)
	if err != nil {
		return "", err
	}
	defer c.Close()
	known := c.Transport
	var tags []name.Tag
	for _, n := range names {
		tag, err := name.NewTag(n)
		if err != nil {
			return "", fmt.Errorf("image name %s: %w", n, err)
		}
		tags = append(tags, c.Repository.Tag(tag.TagStr()))
	}
	there, err := hasManifest(ctx, tags[0], img, known)
	if err != nil {
		return "", err
	}
	if !there {
		if err := push(ctx, img, layers, tags[0].Repository, known); err != nil {
			return "", err
		}
	}
	for _, t := range tags {
		if err := setTag(ctx, t, img, known); err != nil {
			return "", err
		}
	}
	return manifestDigest(img)
}

// mountScopes returns the rights that are needed to take layers from other repositories of the registry.
func mountScopes(image string, layers []v1.Layer) (scopes []string) {
	to, err := name.NewTag(image)
	if err != nil {
		return nil
	}
	for _, l := range layers {
		if m, ok := l.(*remote.MountableLayer); ok && m.Reference.Context().RegistryStr() == to.RegistryStr() {
			scopes = append(scopes, m.Reference.Scope(transport.PullScope))
		}
	}
	return scopes
}

// push sends the layers and the configuration.
func push(ctx context.Context, img v1.Image, layers []v1.Layer, repo name.Repository, known http.RoundTripper) error {
	up, skip := upload.New(known, repo), superfluous(layers)
	err := layout.EachLayer(ctx, layers, func(ctx context.Context, i int, l v1.Layer) error {
		if skip[i] {
			return nil
		}
		return up.Blob(ctx, l)
	})
	if err != nil {
		return err
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		return err
	}
	if err := up.Blob(ctx, config); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return nil
}

// setTag sends the manifest, unless the tag has it: some registries refuse to set a tag again.
func setTag(ctx context.Context, tag name.Tag, img v1.Image, known http.RoundTripper) error {
	there, err := hasManifest(ctx, tag, img, known)
	if err != nil || there {
		return err
	}
	return remote.Put(tag, img, remote.WithContext(ctx), remote.WithTransport(known))
}

// superfluous returns the indexes of layers that need not be sent: those that are there twice, as far as digests are
// known, and those that must not be distributed, which registries do not demand.
func superfluous(layers []v1.Layer) map[int]bool {
	seen, skip := map[v1.Hash]bool{}, map[int]bool{}
	for i, l := range layers {
		if t, err := l.MediaType(); err == nil && !t.IsDistributable() {
			skip[i] = true
		} else if h, err := l.Digest(); err == nil {
			skip[i] = seen[h]
			seen[h] = true
		}
	}
	return skip
}

// hasManifest reports whether the tag is the image already.
func hasManifest(ctx context.Context, tag name.Tag, img v1.Image, known http.RoundTripper) (bool, error) {
	want, err := img.Digest()
	if errors.Is(err, stream.ErrNotComputed) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var has *v1.Descriptor
	err = upload.Retry(ctx, func() error {
		has, err = remote.Head(tag, remote.WithContext(ctx), remote.WithTransport(known))
		return err
	})
	if upload.Unknown(err) {
		// Some registries forbid to look at what is not there, or cannot be asked.
		return false, nil
	}
	return err == nil && has.Digest == want, err
}
