package frontend

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
)

// maxManifest limits a manifest in bytes, as registries do.
const maxManifest = 4 << 20

// findPrior finds the image to continue from. It only warns if that does not exist yet.
func (t *target) findPrior(ctx context.Context) (err error) {
	var prior *remoteImage
	name := t.options.Prior
	given, isContext := t.context("prior")
	switch {
	case name == "none" || t.options.SingleLayer:
		return nil
	case name != "":
		prior, err = t.resolve(ctx, name)
	case isContext:
		name = given
		prior, err = t.resolveContext(ctx, given)
	default:
		t.warnings = append(t.warnings, "layers are planned afresh: name the image that this one replaces with "+
			"prior=IMAGE, and what did not change stays (or silence this with prior=none)")
		return nil
	}
	if notFound(err) && !errors.Is(err, errRefused) {
		text := fmt.Sprintf("there is no prior image %s yet: layers are planned afresh", name)
		if hidden(err) {
			text = fmt.Sprintf("the prior image %s does not exist, or you may not read it: layers are planned afresh", name)
		}
		t.warnings = append(t.warnings, text)
		return nil
	}
	if errors.Is(err, errRefused) {
		return fmt.Errorf("prior image (use prior=none to build without it): %w", err)
	}
	if err != nil {
		// What is wrapped around an error of the builder does not reach the user.
		return fmt.Errorf("prior image %s cannot be read (use prior=none to build without it): %v", name, err)
	}
	if why := unplanned(prior.config); why != "" {
		t.warnings = append(t.warnings, fmt.Sprintf("the prior image %s %s: layers are planned afresh", name, why))
		return nil
	}
	t.request.Prior, t.priorName = prior.config, fmt.Sprintf("%s (%s)", name, prior.digest)
	if t.options.Output == request.OutputLayout || !t.merges() || t.opts.LLBCaps.Supports(pb.CapSourceImageBlob) != nil {
		// Make all layers. A layout must have them, and otherwise the builder cannot merge layers or give us the manifest.
		return nil
	}
	if t.request.PriorLayers, err = t.manifestLayers(ctx, prior); err != nil {
		return fmt.Errorf("prior image %s: %v", name, err)
	}
	t.prior = prior
	return nil
}

// unplanned returns why an image has no plan to continue from, or "" if it has one. The chunk step cannot derive a plan
// from the layers, because it does not have them.
func unplanned(config []byte) string {
	img, err := oci.FromDocument(config)
	if err != nil {
		return "is not understood"
	}
	label, ok := img.Config.Labels[chunking.LabelRecord]
	if !ok {
		return fmt.Sprintf("was not made by ostree-ext, as it has no label %s", chunking.LabelRecord)
	}
	if _, err := chunking.ParseRecord(label); err != nil {
		return fmt.Sprintf("has a plan that is not understood (%v)", err)
	}
	return ""
}

// notFound reports whether the builder says that an image does not exist.
func notFound(err error) bool {
	return err != nil && (grpcerrors.Code(err) == codes.NotFound ||
		strings.HasSuffix(strings.TrimSpace(err.Error()), "not found") || hidden(err))
}

// hidden reports whether the image is missing or may not be read. Public registries give one answer for both about a
// repository that nothing was pushed to yet. A first build must not fail because of it; without rights, the push will
// fail anyway.
func hidden(err error) bool {
	return strings.Contains(err.Error(), "repository does not exist or may require authorization")
}

// manifestLayers reads the layers of an image from its manifest, which BuildKit fetches like any blob.
func (t *target) manifestLayers(ctx context.Context, k *remoteImage) ([]ocispec.Descriptor, error) {
	_, m, err := findManifest(k.digest, digest.FromBytes(k.config), t.platform, func(d digest.Digest) ([]byte, error) {
		return t.readBlob(ctx, k, d)
	})
	if err != nil {
		return nil, err
	}
	if len(m.Layers) != len(k.diffIDs) {
		return nil, errOtherManifest
	}
	for _, l := range m.Layers {
		if err := l.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		if l.Size < 0 || !images.IsLayerType(l.MediaType) {
			return nil, fmt.Errorf("manifest: layer %s has type %q and %d bytes", l.Digest, l.MediaType, l.Size)
		}
	}
	return m.Layers, nil
}

// maxManifests limits how many manifests and indexes are read to find that of an image.
const maxManifests = 32

var errOtherManifest = errors.New("its manifest does not match its configuration")

// findManifest returns the manifest of an image: the one with the configuration that BuildKit found. top is the
// manifest or an index, which may list other indexes.
func findManifest(
	top, config digest.Digest, p ocispec.Platform, read func(digest.Digest) ([]byte, error),
) (digest.Digest, *ocispec.Manifest, error) {
	missing := fmt.Errorf("its index has no image of %s", platforms.Format(p))
	seen := map[digest.Digest]bool{}
	for next := []digest.Digest{top}; len(next) > 0; {
		d := next[0]
		next = next[1:]
		if seen[d] {
			continue
		}
		if len(seen) == maxManifests {
			return "", nil, fmt.Errorf("its index has more than %d manifests and indexes that may be for %s", maxManifests,
				platforms.Format(p))
		}
		seen[d] = true
		data, err := read(d)
		if err != nil {
			return "", nil, err
		}
		if err := oci.CheckManifest(data); err != nil {
			return "", nil, fmt.Errorf("manifest %s: %w", d, err)
		}
		var index ocispec.Index
		m := &ocispec.Manifest{}
		if err := errors.Join(json.Unmarshal(data, &index), json.Unmarshal(data, m)); err != nil {
			return "", nil, fmt.Errorf("manifest %s: %w", d, err)
		}
		switch {
		case len(index.Manifests) > 0:
			next = append(members(index, p), next...)
		case m.Config.Digest == config:
			return d, m, nil
		default:
			missing = errOtherManifest
		}
	}
	return "", nil, missing
}

// members returns the entries of an index that may be for a platform, the best first, as BuildKit looks at them.
func members(index ocispec.Index, p ocispec.Platform) []digest.Digest {
	want := platforms.Only(p)
	list := slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool {
		return d.Platform != nil && !want.Match(*d.Platform) ||
			d.MediaType != "" && !images.IsManifestType(d.MediaType) && !images.IsIndexType(d.MediaType)
	})
	slices.SortStableFunc(list, func(a, b ocispec.Descriptor) int {
		switch {
		case a.Platform == nil || b.Platform == nil:
			return cmp.Compare(unnamed(a), unnamed(b))
		case want.Less(*a.Platform, *b.Platform):
			return -1
		case want.Less(*b.Platform, *a.Platform):
			return 1
		}
		return 0
	})
	digests := make([]digest.Digest, 0, len(list))
	for _, d := range list {
		digests = append(digests, d.Digest)
	}
	return digests
}

// unnamed returns 1 for an entry that names no platform.
func unnamed(d ocispec.Descriptor) int {
	if d.Platform == nil {
		return 1
	}
	return 0
}

// readBlob reads a small blob of an image.
func (t *target) readBlob(ctx context.Context, k *remoteImage, d digest.Digest) ([]byte, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	ref, err := t.solve(ctx, k.blob(d, llb.WithCustomName(t.label+"load manifest of the prior image")))
	if err != nil {
		return nil, err
	}
	return readBelow(ctx, ref, d.Encoded(), maxManifest)
}
