package frontend

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyed"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// parallelPayloads limits how many payloads of signatures are fetched at the same time.
const parallelPayloads = 4

// judge returns an error, which wraps [errRefused], unless a rule of the policy admits an image. as is the name that
// was asked for, and pinned the image that it is. If that is an index, a signature of the index is enough, and so is
// one of its member for the platform.
//
// What is wrapped around an error of the builder does not reach the user, so only the text of such errors is used.
func (a *admission) judge(
	ctx context.Context, as reference.Named, pinned reference.Canonical, config []byte, p ocispec.Platform,
) error {
	refuse := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("verify: %w by %s: image %s: %s", errRefused, a.trust.shown, pinned, firstLine(err.Error()))
	}
	rule, asHost, err := a.trust.rule(ctx, as)
	if asHost {
		signatures, err := a.judgeAsHost(ctx, as, pinned, config, p)
		if err != nil {
			return refuse(err)
		}
		return a.tell(ctx, pinned, signatures, signatures[0].Rule+" of "+a.trust.dir.place.name)
	}
	if err != nil {
		return refuse(err)
	}
	asks := fmt.Sprintf("scope %q of %s", rule.Scope, a.trust.shown)
	signatures, err := a.judgeDocument(ctx, as, pinned.Digest(), rule)
	if err == nil {
		return a.tell(ctx, pinned, signatures, asks)
	}
	member, memberErr := a.member(ctx, pinned, config, p)
	if memberErr != nil {
		return refuse(fmt.Errorf("%w, and its manifest cannot be read: %w", err, memberErr))
	}
	if member != pinned.Digest() {
		// An index that is not signed is believed about nothing but where the manifest is.
		if signatures, memberErr = a.judgeDocument(ctx, as, member, rule); memberErr == nil {
			return a.tell(ctx, pinned, signatures, asks)
		}
		err = fmt.Errorf("the index: %w; its manifest %s: %w", err, member, memberErr)
	}
	return refuse(fmt.Errorf("scope %q: %w (ostree-ext container sign attaches signatures; bundles count if a rule of %s "+
		"says so)", rule.Scope, err, a.trust.dir.path(a.trust.ruleDir)))
}

// member returns the digest of the manifest of an image, which may be listed in an index.
func (a *admission) member(
	ctx context.Context, pinned reference.Canonical, config []byte, p ocispec.Platform,
) (digest.Digest, error) {
	d, _, err := findManifest(pinned.Digest(), digest.FromBytes(config), p, func(d digest.Digest) ([]byte, error) {
		return a.blob(ctx, pinned.Name(), d, maxManifest)
	})
	return d, err
}

// judgeDocument returns the signatures by which a document fulfils a rule.
func (a *admission) judgeDocument(
	ctx context.Context, as reference.Named, signed digest.Digest, rule *keyed.Rule,
) ([]oci.Signature, error) {
	tag, err := keyed.Tag(signed)
	if err != nil {
		return nil, err
	}
	at, err := reference.WithTag(reference.TrimNamed(as), tag)
	if err != nil {
		return nil, err
	}
	resp, err := a.Client.ResolveSourceMetadata(ctx, &pb.SourceOp{Identifier: schemeImage + at.String()},
		sourceresolver.Opt{
			LogName: "[verify] look for signatures of " + as.Name() + "@" + signed.String(),
			ImageOpt: &sourceresolver.ResolveImageOpt{
				Platform: &a.job.native, ResolveMode: llb.ResolveModeForcePull.String(),
			},
		})
	switch {
	case notFound(err):
		return nil, &keyed.RefusedError{
			Scope: rule.Scope, Signed: signed, Reasons: []string{"it has no signature: there is no tag " + tag},
		}
	case err != nil:
		return nil, fmt.Errorf("its signatures cannot be read: %s", firstLine(err.Error()))
	case resp.Image == nil:
		return nil, fmt.Errorf("a source policy turns its signatures into %s", resp.Op.Identifier)
	}
	// A source policy may name a mirror, for example.
	found, err := sourceName(resp.Op.Identifier)
	if err != nil {
		return nil, err
	}
	manifest, err := a.blob(ctx, found.Name(), resp.Image.Digest, keyed.MaxManifestSize)
	if err != nil {
		return nil, fmt.Errorf("its signatures cannot be read: %w", err)
	}
	attachment, err := keyed.ParseAttachment(manifest, signed)
	if err != nil {
		return nil, fmt.Errorf("tag %s: %w", tag, err)
	}
	payloads, err := a.payloads(ctx, found.Name(), attachment)
	if err != nil {
		return nil, err
	}
	return rule.Judge(as, attachment, payloads)
}

// payloads fetches what is signed. A payload that cannot be fetched is left out.
func (a *admission) payloads(
	ctx context.Context, repository string, attachment *keyed.Attachment,
) (map[digest.Digest][]byte, error) {
	var mu sync.Mutex
	payloads := map[digest.Digest][]byte{}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelPayloads)
	for _, d := range attachment.Payloads() {
		group.Go(func() error {
			data, err := a.blob(gctx, repository, d, keyed.MaxPayloadSize)
			if err != nil {
				return ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			payloads[d] = data
			return nil
		})
	}
	return payloads, group.Wait()
}

// blob reads a small blob or manifest of a repository.
func (a *admission) blob(ctx context.Context, repository string, d digest.Digest, limit int) ([]byte, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	ref, err := a.job.solve(ctx, llb.ImageBlob(repository+"@"+d.String(),
		llb.WithCustomName("[verify] load "+repository+"@"+d.String())))
	if err != nil {
		return nil, errors.New(firstLine(err.Error()))
	}
	data, err := readBelow(ctx, ref, d.Encoded(), limit)
	if err != nil {
		return nil, errors.New(firstLine(err.Error()))
	}
	if d.Algorithm().FromBytes(data) != d {
		return nil, fmt.Errorf("%s has other content", d)
	}
	return data, nil
}

// tell shows who signed an image, and what asks for that, as the name of a step that does nothing.
func (a *admission) tell(
	ctx context.Context, pinned reference.Canonical, signatures []oci.Signature, asks string,
) error {
	var signers []string
	on := "it"
	for _, s := range signatures {
		signer := s.Signer
		if s.Issuer != "" {
			signer += " of " + s.Issuer
		}
		signers = append(signers, signer)
		if s.Signed != pinned.Digest().String() {
			on = "its manifest " + s.Signed
		}
	}
	text := fmt.Sprintf("[verify] %s: %s is signed by %s, as %s asks for", pinned, on, strings.Join(signers, " and "),
		asks)
	_, err := a.job.solve(ctx, llb.Scratch().File(llb.Mkfile("/verdict", 0o644, []byte(text)), llb.WithCustomName(text)))
	return err
}
