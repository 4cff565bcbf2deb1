//go:build containers_image_openpgp

package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/directory"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// Supported reports whether this program can judge images by a policy.
const Supported = true

// accepted reports whether a policy is one for the library.
func accepted(data []byte) error {
	_, err := signature.NewPolicyFromBytes(data)
	return err
}

// Evaluate judges whether one requirement of a rule is fulfilled for exactly this document, the manifest or the index
// of the image. It returns the signature that was good, with the rule as it is given here. There is none if the
// requirement accepts anything. If the requirement is not fulfilled, the error is a [*RefusedError]; a [*KeyError]
// says that a key of the policy cannot be used. With every other error, too, nothing is accepted.
func (i *Image) Evaluate(
	ctx context.Context, req policyjson.Requirement, rule string, doc oci.Document,
) (oci.Signature, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	// A document in schema 1 of Docker may embed another one, whose digest the library would compare with signatures.
	taken, err := manifest.Digest(doc.Raw)
	if err != nil || taken != doc.Digest || digest.FromBytes(doc.Raw) != doc.Digest {
		return oci.Signature{}, fmt.Errorf("%w: %s", ErrDocument, doc.Digest)
	}
	// The text decides, whatever the other fields say.
	policy, err := policyOf(req.Raw)
	if err == nil {
		req, err = policyjson.ParseRequirement(req.Raw)
	}
	if err != nil {
		return oci.Signature{}, fmt.Errorf("%s: %w: %w", rule, ErrInvalid, err)
	}
	refused := &RefusedError{Image: i.ref, Digest: doc.Digest, On: "manifest", Requirement: req, Rule: rule}
	if doc.MediaType == ocispec.MediaTypeImageIndex || doc.MediaType == manifest.DockerV2ListMediaType {
		refused.On = "index"
	}
	kind := oci.SignedAttachment
	switch req.Type {
	case policyjson.AcceptAnything:
		return oci.Signature{}, nil
	case policyjson.Reject:
		refused.Reason = "nothing is accepted, signed or not"
		return oci.Signature{}, refused
	case policyjson.SignedBy:
		kind = oci.SignedSimple
	case policyjson.SigstoreSigned:
	default:
		return oci.Signature{}, fmt.Errorf("%s: requirements of type %s cannot be judged", rule, req.Type)
	}
	keys, err := keysOf(req)
	if err != nil {
		return oci.Signature{}, fmt.Errorf("%s: %w", rule, err)
	}
	found, err := i.signatures(ctx, kind, doc)
	if err != nil {
		return oci.Signature{}, err
	}
	refused.Looked, refused.Others = found.looked, found.others
	for _, c := range found.candidates {
		finding, err := judge(ctx, policy, req, c, doc)
		if err != nil {
			return oci.Signature{}, err
		}
		if finding != nil {
			refused.Found = append(refused.Found, *finding)
			continue
		}
		s := oci.Signature{Kind: kind, On: refused.On, Signed: doc.Digest.String(), Rule: rule}
		s.Signer, s.Issuer, err = signer(ctx, req, keys, c)
		return s, err
	}
	if refused.Reason = refused.reasonSigned(); len(refused.Found) == 0 {
		refused.Reason = refused.reasonUnsigned()
	}
	return oci.Signature{}, refused
}

// policyOf returns a policy that consists of one requirement.
func policyOf(requirement json.RawMessage) (*signature.Policy, error) {
	data, err := json.Marshal(map[string][]json.RawMessage{"default": {requirement}})
	if err != nil {
		return nil, err
	}
	return signature.NewPolicyFromBytes(data)
}

// judge returns nil if a signature fulfils a policy, and else why not.
func judge(
	ctx context.Context, policy *signature.Policy, req policyjson.Requirement, c candidate, doc oci.Document,
) (*Finding, error) {
	f := &Finding{Reference: c.claim.Critical.Identity.Reference, Digest: c.claim.Critical.Image.Digest}
	if f.Reason = c.problem; c.image == nil {
		return f, nil
	}
	err := allowed(ctx, policy, c.image)
	if err == nil {
		return nil, nil
	}
	if ctx.Err() != nil {
		return nil, err
	}
	switch {
	case f.Digest != "" && f.Digest != doc.Digest.String():
		f.Reason = "it is for an image with another digest, " + f.Digest
	case f.Reference != "" && anyReference(ctx, req, f.Reference, c.image):
		f.Genuine = true
		f.Reason = fmt.Sprintf("it is genuine, but for %s, and the rule %s demands another reference", f.Reference,
			req.Identity)
	case strings.Contains(err.Error(), "cryptographic signature verification failed"):
		f.OtherKey, f.Reason = true, "it is not by "+policyjson.OrData(req.KeyPaths)
	default:
		f.Reason = err.Error()
	}
	return f, nil
}

// allowed returns nil if a policy accepts a document with its signatures, and none that does not look at signatures.
func allowed(ctx context.Context, policy *signature.Policy, img types.UnparsedImage) error {
	c, err := signature.NewPolicyContext(policy)
	if err != nil {
		return err
	}
	c.RequireSignatureVerification(true)
	ok, err := c.IsRunningImageAllowed(ctx, img)
	if err = errors.Join(err, c.Destroy()); err == nil && !ok {
		err = errors.New("it is not accepted")
	}
	return err
}

// anyReference reports whether a signature would be accepted if the identity rule were that for its own reference.
func anyReference(ctx context.Context, req policyjson.Requirement, reference string, img types.UnparsedImage) bool {
	if i := strings.LastIndexByte(reference, ':'); i > strings.LastIndexByte(reference, '/') {
		reference = reference[:i]
	}
	changed, err := with(req.Raw, map[string]any{"signedIdentity": map[string]string{
		"type": "exactRepository", "dockerRepository": strings.SplitN(reference, "@", 2)[0],
	}})
	return err == nil && allowed(ctx, changed, img) == nil
}

// with returns a policy of a requirement in which some members are others; nil removes one.
func with(raw json.RawMessage, members map[string]any) (*signature.Policy, error) {
	all := map[string]any{}
	var old map[string]json.RawMessage
	if err := json.Unmarshal(raw, &old); err != nil {
		return nil, err
	}
	for k, v := range old {
		all[k] = v
	}
	for k, v := range members {
		if all[k] = v; v == nil {
			delete(all, k)
		}
	}
	data, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return policyOf(data)
}

// signatures returns the signatures of a document of one kind. It looks for them once.
func (i *Image) signatures(ctx context.Context, kind string, doc oci.Document) (*signatures, error) {
	known := i.attached
	if kind == oci.SignedSimple {
		known = i.simple
	}
	if s := known[doc.Digest]; s != nil {
		return s, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime,
		fmt.Errorf("the signatures of %s did not come within %v", i.ref, maxTime))
	defer cancel()
	s, err := i.find(ctx, kind, doc)
	if err != nil {
		return nil, err
	}
	known[doc.Digest] = s
	return s, nil
}

// find looks for signatures of one kind.
func (i *Image) find(ctx context.Context, kind string, doc oci.Document) (*signatures, error) {
	parsed, err := parse(i.ref)
	if err != nil {
		return nil, err
	}
	s := &signatures{}
	var blobs [][]byte
	problems := map[int]string{}
	switch {
	case i.ref.Transport == imgref.Dir:
		s.looked = []string{i.ref.Name}
		blobs, err = signatureFiles(i.ref.Name, doc)
	case i.ref.Transport != imgref.Registry:
		return s, nil
	case kind == oci.SignedSimple:
		var raw [][]byte
		raw, s.looked, err = i.lookaside(ctx, parsed, doc.Digest)
		for _, r := range raw {
			blobs = append(blobs, append([]byte("\x00simple-signing\n"), r...))
		}
	default:
		var found []attachment
		found, s.looked, s.others, err = i.attachments(ctx, doc.Digest)
		for n, a := range found {
			problems[n] = a.problem
			chunk, err := json.Marshal(a)
			if err != nil {
				return nil, err
			}
			blobs = append(blobs, append([]byte("\x00sigstore-json\n"), chunk...))
		}
	}
	if err != nil {
		return nil, err
	}
	if len(blobs) == 0 {
		return s, nil
	}
	return s, i.read(ctx, s, kind, parsed, doc, blobs, problems)
}

// tempDir makes a directory that is removed when the image is closed.
func (i *Image) tempDir() (string, error) {
	if i.dir == "" {
		dir, err := os.MkdirTemp("", "ostree-ext-signatures-")
		if err != nil {
			return "", err
		}
		i.dir = dir
	}
	i.dirs++
	dir := filepath.Join(i.dir, strconv.Itoa(i.dirs))
	return dir, os.Mkdir(dir, 0o700)
}

// read has the library read signatures. It takes Sigstore signatures only from its own sources, of which a directory is
// the simplest.
func (i *Image) read(ctx context.Context, s *signatures, kind string, parsed types.ImageReference, doc oci.Document,
	blobs [][]byte, problems map[int]string,
) error {
	dir, err := i.tempDir()
	if err != nil {
		return err
	}
	for n, blob := range blobs {
		if err := os.WriteFile(filepath.Join(dir, "signature-"+strconv.Itoa(n+1)), blob, 0o600); err != nil {
			return err
		}
	}
	ref, err := directory.NewReference(dir)
	if err != nil {
		return err
	}
	src, err := ref.NewImageSource(ctx, nil)
	if err != nil {
		return err
	}
	all, err := image.UnparsedInstance(src, nil).UntrustedSignatures(ctx)
	if err := errors.Join(err, src.Close()); err != nil {
		return fmt.Errorf("reading the signatures of %s: %w", i.ref, err)
	}
	if len(all) != len(blobs) {
		return fmt.Errorf("reading the signatures of %s: there are %d, and %d were read", i.ref, len(blobs), len(all))
	}
	for n, untrusted := range all {
		c, ok := newCandidate(kind, signedDocument(parsed, doc, untrusted), untrusted)
		if !ok {
			s.others++
			continue
		}
		if problems[n] != "" {
			c.problem, c.image = problems[n], nil
		}
		s.candidates = append(s.candidates, c)
	}
	return nil
}

// newCandidate returns a signature for judging, if it is of a kind. The types of the library have no names outside.
func newCandidate(kind string, img types.UnparsedImage, untrusted any) (candidate, bool) {
	c := candidate{image: img}
	switch s := untrusted.(type) {
	case interface{ UntrustedSignature() []byte }:
		if kind != oci.SignedSimple {
			return c, false
		}
		c.simple = s.UntrustedSignature()
		signed, problem := checkSimple(c.simple)
		if problem != "" {
			c.problem, c.image = problem, nil
		}
		c.claim = parseClaim(signed)
	case interface {
		UntrustedMIMEType() string
		UntrustedPayload() []byte
		UntrustedAnnotations() map[string]string
	}:
		if kind != oci.SignedAttachment || s.UntrustedMIMEType() != attachmentType {
			return c, false
		}
		c.claim = parseClaim(s.UntrustedPayload())
		c.certificate = s.UntrustedAnnotations()[certificateAnnotation]
	default:
		return c, false
	}
	return c, true
}

// signed is a document with one signature, for the library: it judges by the reference that the user wrote, and by the
// bytes that were given, not by what a tag points to. S is the library's type of signatures.
type signed[S any] struct {
	ref       types.ImageReference
	doc       oci.Document
	signature S
}

func signedDocument[S any](ref types.ImageReference, doc oci.Document, s S) types.UnparsedImage {
	return signed[S]{ref, doc, s}
}

// Reference implements [types.UnparsedImage].
func (s signed[S]) Reference() types.ImageReference { return s.ref }

// Manifest implements [types.UnparsedImage].
func (s signed[S]) Manifest(context.Context) ([]byte, string, error) {
	return s.doc.Raw, s.doc.MediaType, nil
}

// Signatures implements [types.UnparsedImage]. It returns simple signatures only.
func (s signed[S]) Signatures(context.Context) ([][]byte, error) {
	if simple, ok := any(s.signature).(interface{ UntrustedSignature() []byte }); ok {
		return [][]byte{simple.UntrustedSignature()}, nil
	}
	return nil, nil
}

// UntrustedSignatures is what the library calls for signatures of every kind.
func (s signed[S]) UntrustedSignatures(context.Context) ([]S, error) { return []S{s.signature}, nil }
