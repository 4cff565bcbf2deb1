package frontend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/gateway/client"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/imageutil"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Schemes of sources.
const (
	schemeImage  = "docker-image://"
	schemeLayout = "oci-layout://"
)

// notImages are the schemes of sources that are not images, and so are not judged.
var notImages = []string{"local://", "git://", "http://", "https://"}

// errRefused is wrapped by errors about images that the option verify does not admit.
var errRefused = errors.New("refused")

// admission is a client for the images of the user: the sources of the Containerfile, the base and the prior image. It
// gives only images that the policy admits.
//
// An image is judged when it is resolved. Its layers are not fetched before. The name that the client then returns has
// the digest that was judged, so that a tag which moves later makes no difference. Each definition is looked at before
// it is built: an image in it must be one that was judged, and under the name to which the source policies of BuildKit
// turn it, since these are applied once more.
//
// The steps of this package use the client below, because they fetch images from its own registry.
type admission struct {
	client.Client
	job   *job
	trust *trust

	mu sync.Mutex
	// admitted are the images that were judged, by [admissionKey], and judgedAs the names under which they were, by their
	// names with digests.
	admitted map[string]bool
	judgedAs map[string]reference.Named
	// checked are sources of definitions that were looked at.
	checked map[string]bool
}

// newAdmission returns a client that admits nothing before it has a policy.
func newAdmission(b *job) *admission {
	return &admission{
		Client: b.client, job: b, admitted: map[string]bool{}, judgedAs: map[string]reference.Named{},
		checked: map[string]bool{},
	}
}

// load reads the policy.
func (a *admission) load(ctx context.Context) (err error) {
	opts := a.job.opts
	if opts.LLBCaps.Supports(pb.CapSourceImageBlob) != nil || opts.Caps.Supports(gateway.CapSourceMetaResolver) != nil {
		return errors.New("the builder is too old for verify: it cannot fetch a blob, for which BuildKit 0.28 is needed")
	}
	if a.trust, err = a.job.loadTrust(ctx); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// admissionKey identifies an image for a platform.
func admissionKey(name string, p *ocispec.Platform) string {
	if p == nil {
		return name
	}
	return name + " " + platforms.FormatAll(platforms.Normalize(*p))
}

// platform returns the platform, or the builder's if there is none.
func (a *admission) platform(p *ocispec.Platform) *ocispec.Platform {
	if p == nil {
		return &a.job.native
	}
	return p
}

// ResolveImageConfig implements [client.Client].
func (a *admission) ResolveImageConfig(
	ctx context.Context, ref string, opt sourceresolver.Opt,
) (string, digest.Digest, []byte, error) {
	if opt.OCILayoutOpt != nil {
		return "", "", nil, errLayout(ref)
	}
	resp, err := a.ResolveSourceMetadata(ctx, &pb.SourceOp{Identifier: schemeImage + ref}, opt)
	if err != nil {
		return "", "", nil, err
	}
	if resp.Image == nil {
		return "", "", nil, &imageutil.ResolveToNonImageError{Ref: ref, Updated: resp.Op.Identifier}
	}
	return strings.TrimPrefix(resp.Op.Identifier, schemeImage), resp.Image.Digest, resp.Image.Config, nil
}

// ResolveSourceMetadata implements [client.Client].
func (a *admission) ResolveSourceMetadata(
	ctx context.Context, op *pb.SourceOp, opt sourceresolver.Opt,
) (*sourceresolver.MetaResponse, error) {
	resp, err := a.Client.ResolveSourceMetadata(ctx, op, opt)
	if err != nil || resp.Image == nil {
		return resp, err
	}
	name, err := sourceName(resp.Op.Identifier)
	if err != nil {
		return nil, err
	}
	var p *ocispec.Platform
	if opt.ImageOpt != nil {
		p = opt.ImageOpt.Platform
	}
	pinned, err := a.admit(ctx, name, name, resp.Image, a.platform(p))
	if err != nil {
		return nil, err
	}
	resp.Op = &pb.SourceOp{Identifier: schemeImage + pinned, Attrs: maps.Clone(resp.Op.Attrs)}
	return resp, nil
}

// Solve implements [client.Client].
func (a *admission) Solve(ctx context.Context, req client.SolveRequest) (*client.Result, error) {
	if req.Frontend != "" {
		return nil, fmt.Errorf("verify: %w: another frontend, %s, would build it with images of its own", errRefused,
			req.Frontend)
	}
	if err := a.check(ctx, req.Definition); err != nil {
		return nil, err
	}
	return a.Client.Solve(ctx, req)
}

// check looks at every source of a definition.
func (a *admission) check(ctx context.Context, def *pb.Definition) error {
	for _, data := range def.GetDef() {
		op := &pb.Op{}
		if err := op.UnmarshalVT(data); err != nil {
			return fmt.Errorf("a step of the build: %w", err)
		}
		if op.GetBuild() != nil {
			return fmt.Errorf("verify: %w: a step builds a definition of its own, whose images are not known", errRefused)
		}
		if op.GetSource() == nil {
			continue
		}
		a.mu.Lock()
		done := a.checked[string(data)]
		a.mu.Unlock()
		if done {
			continue
		}
		if err := a.checkSource(ctx, op); err != nil {
			return err
		}
		a.mu.Lock()
		a.checked[string(data)] = true
		a.mu.Unlock()
	}
	return nil
}

// isImage reports whether a source is an image of a registry. Sources of unknown kinds are an error.
func isImage(identifier string) (bool, error) {
	for _, scheme := range notImages {
		if strings.HasPrefix(identifier, scheme) {
			return false, nil
		}
	}
	_, err := sourceName(identifier)
	return err == nil, err
}

// sourceName returns the name of an image of a registry.
func sourceName(identifier string) (reference.Named, error) {
	s, ok := strings.CutPrefix(identifier, schemeImage)
	if layout, isLayout := strings.CutPrefix(identifier, schemeLayout); isLayout {
		return nil, errLayout(layout)
	}
	if !ok {
		return nil, fmt.Errorf("verify: %w: there are no signatures for sources like %s", errRefused, identifier)
	}
	name, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return nil, fmt.Errorf("verify: %s is not the name of an image: %w", s, err)
	}
	return reference.TagNameOnly(name), nil
}

func errLayout(name string) error {
	return fmt.Errorf("verify: %w: %s is in a layout of the client, which has no name that a policy could be about: "+
		"give the image as docker-image://…", errRefused, name)
}

// checkSource looks at a source of a definition.
func (a *admission) checkSource(ctx context.Context, op *pb.Op) error {
	src := op.GetSource()
	if image, err := isImage(src.Identifier); err != nil || !image {
		return err
	}
	p := a.platform(platformOf(op.Platform))
	// Without the configuration, the builder only applies its policies.
	asked := &pb.SourceOp{Identifier: src.Identifier, Attrs: maps.Clone(src.Attrs)}
	resp, err := a.Client.ResolveSourceMetadata(ctx, asked, sourceresolver.Opt{
		LogName:  "[verify] apply source policies to " + strings.TrimPrefix(src.Identifier, schemeImage),
		ImageOpt: &sourceresolver.ResolveImageOpt{NoConfig: true, Platform: p},
	})
	if err != nil {
		return err
	}
	if image, err := isImage(resp.Op.Identifier); err != nil || !image {
		return err
	}
	name, err := sourceName(resp.Op.Identifier)
	if err != nil {
		return err
	}
	pinned, ok := name.(reference.Canonical)
	if !ok {
		return fmt.Errorf("verify: %w: the build uses %s without a digest, so another image could be fetched than the one "+
			"that is judged: add the digest to the name, here or in the source policy", errRefused, name)
	}
	a.mu.Lock()
	done, as := a.admitted[admissionKey(pinned.String(), p)], a.judgedAs[pinned.String()]
	a.mu.Unlock()
	if done {
		return nil
	}
	resp, err = a.Client.ResolveSourceMetadata(ctx, &pb.SourceOp{Identifier: schemeImage + pinned.String()},
		sourceresolver.Opt{
			LogName:  "[verify] load metadata for " + pinned.String(),
			ImageOpt: &sourceresolver.ResolveImageOpt{Platform: p},
		})
	if err != nil {
		return err
	}
	if resp.Image == nil || resp.Op.Identifier != schemeImage+pinned.String() {
		return fmt.Errorf("verify: %w: the source policy turns %s into %s, and then into something else", errRefused, name,
			resp.Op.Identifier)
	}
	if as == nil {
		if as, err = withoutDigest(pinned); err != nil {
			return err
		}
	}
	_, err = a.admit(ctx, name, as, resp.Image, p)
	return err
}

// withoutDigest returns the name with its tag alone, if it has one. In a definition, the digest may have been added to
// a tag that somebody asked for, so the tag counts.
func withoutDigest(name reference.Canonical) (reference.Named, error) {
	if tagged, ok := name.(reference.Tagged); ok {
		return reference.WithTag(reference.TrimNamed(name), tagged.Tag())
	}
	return name, nil
}

// platformOf returns the platform of a step, or nil.
func platformOf(p *pb.Platform) *ocispec.Platform {
	if p == nil {
		return nil
	}
	return &ocispec.Platform{
		OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion, OSFeatures: p.OSFeatures,
	}
}

// admit returns the name of an image with its digest, if the policy admits it. It is judged as the other name.
func (a *admission) admit(
	ctx context.Context, name, as reference.Named, img *sourceresolver.ResolveImageResponse, p *ocispec.Platform,
) (string, error) {
	if err := img.Digest.Validate(); err != nil {
		return "", fmt.Errorf("verify: %w: the builder does not say which digest %s has", errRefused, name)
	}
	if c, ok := name.(reference.Canonical); ok && c.Digest() != img.Digest {
		return "", fmt.Errorf("verify: %w: %s has the digest %s", errRefused, name, img.Digest)
	}
	pinned, err := reference.WithDigest(name, img.Digest)
	if err != nil {
		return "", fmt.Errorf("verify: %s: %w", name, err)
	}
	key := admissionKey(pinned.String(), p)
	a.mu.Lock()
	done := a.admitted[key]
	a.mu.Unlock()
	if done {
		return pinned.String(), nil
	}
	if a.trust == nil {
		return "", fmt.Errorf("verify: %w: %s is asked for before there is a policy", errRefused, name)
	}
	if err := a.judge(ctx, as, pinned, img.Config, *p); err != nil {
		return "", err
	}
	a.mu.Lock()
	a.admitted[key], a.judgedAs[pinned.String()] = true, as
	a.mu.Unlock()
	return pinned.String(), nil
}
