package signer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/dest/upload"
	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
)

// ErrNoBundles is wrapped by errors about registries that do not store artifacts.
var ErrNoBundles = errors.New("the registry does not take the artifact of a bundle: attachments need no artifact")

// maxReferrers is how many artifacts the index at a tag may list. Package bundle reads no more.
const maxReferrers = 1000

// refer makes the bundle of a document and stores the artifact that has it.
func (s *session) refer(ctx context.Context, d document) (*pending, error) {
	signed, err := s.bundle(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	a, err := bundle.NewArtifact(signed, d.descriptor())
	if err != nil {
		return nil, err
	}
	for _, blob := range [][]byte{a.Config, a.Bundle} {
		if err := s.to.Blob(ctx, static.NewLayer(blob, types.MediaType(bundle.MediaType))); err != nil {
			return nil, err
		}
	}
	name := a.Descriptor.Digest.String()
	p := &pending{Signed: Signed{Digest: d.Digest, Index: d.index(), Format: Bundle, Referrer: a.Descriptor.Digest}}
	_, _, err = s.to.Manifest(ctx, name, manifestTypes)
	if p.Added = upload.Absent(err); err != nil && !p.Added {
		return nil, err
	}
	header, err := s.to.PutManifest(ctx, name, a.Descriptor.MediaType, a.Manifest)
	if upload.Unknown(err) && !upload.Denied(err) {
		err = fmt.Errorf("%w: %w", ErrNoBundles, err)
	}
	if err != nil {
		return nil, err
	}
	if header.Get("OCI-Subject") == d.Digest.String() {
		return p, nil
	}
	p.Tag = bundle.FallbackTag(d.Digest)
	p.change = &change{
		tag: p.Tag, mediaType: ocispec.MediaTypeImageIndex,
		add: func(_ context.Context, old []byte, mediaType string) ([]byte, error) {
			return addReferrer(old, mediaType, a.Descriptor)
		},
	}
	return p, nil
}

// bundle makes the bundle of a digest.
func (s *session) bundle(ctx context.Context, d digest.Digest) ([]byte, error) {
	if s.opts.Maker != nil {
		return s.opts.Maker.Bundle(ctx, d)
	}
	return bundle.Sign(s.opts.Key, d)
}

// addReferrer adds an artifact to an index that lists some. Everything else in it stays.
func addReferrer(old []byte, mediaType string, d ocispec.Descriptor) ([]byte, error) {
	fields := map[string]json.RawMessage{
		"schemaVersion": json.RawMessage("2"), "mediaType": json.RawMessage(`"` + ocispec.MediaTypeImageIndex + `"`),
	}
	var list []json.RawMessage
	if old != nil {
		if mediaType != ocispec.MediaTypeImageIndex {
			return nil, fmt.Errorf("%w: its media type is %.80q", ErrForeignTag, mediaType)
		}
		var err error
		if list, err = readObject(old, fields, "manifests"); err != nil {
			return nil, err
		}
	}
	for _, raw := range list {
		var have ocispec.Descriptor
		if err := json.Unmarshal(raw, &have); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrForeignTag, err)
		}
		if have.Digest == d.Digest {
			return nil, nil
		}
	}
	if len(list) >= maxReferrers {
		return nil, fmt.Errorf("%w: it has %d artifacts already", ErrTooMany, len(list))
	}
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	if fields["manifests"], err = json.Marshal(append(list, raw)); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}
