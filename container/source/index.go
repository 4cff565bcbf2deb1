package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/types"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// Limits on indexes that list indexes. No index can list itself, since it would have to contain its own digest.
const (
	maxIndexDepth = 4
	maxIndexes    = 32
)

// ErrNoPlatform is wrapped by errors about indexes without an image for the wanted platform.
var ErrNoPlatform = errors.New("there is no image for platform")

// chooser finds the image for a platform in an index, and in the indexes that it lists.
type chooser struct {
	platform ocispec.Platform
	// fetch reads a member of an index and checks its digest.
	fetch func(ctx context.Context, d digest.Digest) (oci.Document, error)
	seen  map[digest.Digest]bool
}

func newChooser(p *ocispec.Platform, fetch func(context.Context, digest.Digest) (oci.Document, error)) *chooser {
	c := &chooser{
		platform: ocispec.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}, fetch: fetch,
		seen: map[digest.Digest]bool{},
	}
	if p != nil {
		c.platform = *p
	}
	return c
}

// choose returns the manifest of the image. An image whose entry names the platform is preferred to those in other
// indexes, and these to an image whose entry names no platform.
func (c *chooser) choose(ctx context.Context, index oci.Document, depth int) (oci.Document, error) {
	var none oci.Document
	var list ocispec.Index
	if err := json.Unmarshal(index.Raw, &list); err != nil {
		return none, fmt.Errorf("%w: %w", ErrInvalidManifest, err)
	}
	var named, unnamed, nested []ocispec.Descriptor
	for _, d := range list.Manifests {
		switch {
		case isIndex(d.MediaType):
			nested = append(nested, d)
		case !isImage(d):
		case d.Platform != nil:
			named = append(named, d)
		default:
			unnamed = append(unnamed, d)
		}
	}
	if m, ok, err := c.form(ctx, named, depth); ok || err != nil {
		return m, err
	}
	for _, d := range nested {
		if d.Platform != nil && !c.fits(d) {
			continue
		}
		m, err := c.member(ctx, d.Digest, depth)
		if !errors.Is(err, ErrNoPlatform) {
			return m, err
		}
	}
	if m, ok, err := c.form(ctx, unnamed, depth); ok || err != nil {
		return m, err
	}
	p := c.platform
	return none, fmt.Errorf("%w %s/%s", ErrNoPlatform, p.OS, p.Architecture)
}

// form returns the manifest of the entry that fits best. An index may offer an image in several forms, such as one with
// layers that are filesystems; the first one whose layers can be read is taken. If there is none, it is the first.
func (c *chooser) form(
	ctx context.Context, list []ocispec.Descriptor, depth int,
) (m oci.Document, ok bool, err error) {
	var first oci.Document
	for {
		d, found := c.best(list)
		if !found {
			return first, ok, nil
		}
		if m, err = c.member(ctx, d, depth); err != nil {
			if ok && errors.Is(err, ErrNoPlatform) {
				return first, ok, nil
			}
			return m, false, err
		}
		var manifest ocispec.Manifest
		if err := json.Unmarshal(m.Raw, &manifest); err != nil || oci.CanRead(manifest) {
			return m, true, nil
		}
		if !ok {
			first, ok = m, true
		}
		list = slices.DeleteFunc(slices.Clone(list), func(e ocispec.Descriptor) bool { return e.Digest == d })
	}
}

// member reads an entry of an index: the manifest that was looked for, or an index that lists it.
func (c *chooser) member(ctx context.Context, d digest.Digest, depth int) (oci.Document, error) {
	var none oci.Document
	if err := checkDigest(d); err != nil {
		return none, err
	}
	if c.seen[d] {
		// It was looked at before, and did not have the image.
		return none, ErrNoPlatform
	}
	if len(c.seen) == maxIndexes {
		return none, fmt.Errorf("%w: it has more than %d indexes", ErrInvalidManifest, maxIndexes)
	}
	c.seen[d] = true
	m, err := c.fetch(ctx, d)
	if err != nil || !isIndex(m.MediaType) {
		return m, err
	}
	if depth == maxIndexDepth {
		return none, fmt.Errorf("%w: indexes are nested more than %d deep", ErrInvalidManifest, maxIndexDepth)
	}
	return c.choose(ctx, m, depth+1)
}

// best returns the entry that fits the platform best.
func (c *chooser) best(list []ocispec.Descriptor) (digest.Digest, bool) {
	sys := &types.SystemContext{
		OSChoice: c.platform.OS, ArchitectureChoice: c.platform.Architecture, VariantChoice: c.platform.Variant,
	}
	d, err := manifest.OCI1IndexFromComponents(list, nil).ChooseInstance(sys)
	return d, err == nil
}

func (c *chooser) fits(d ocispec.Descriptor) bool {
	_, ok := c.best([]ocispec.Descriptor{d})
	return ok
}

// isImage reports whether an entry of an index may be an image, and not a signature or another artifact. Some writers
// give the type of the configuration as that of the artifact.
func isImage(d ocispec.Descriptor) bool {
	switch d.ArtifactType {
	case "", ocispec.MediaTypeImageConfig, manifest.DockerV2Schema2ConfigMediaType:
		return d.MediaType == "" || knownManifest(d.MediaType)
	}
	return false
}
