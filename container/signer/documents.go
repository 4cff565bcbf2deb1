package signer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/dest/upload"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// Limits on indexes.
const (
	maxDepth     = 4
	maxDocuments = 256
)

// ErrTooMany is wrapped by errors about indexes that list more than is signed at once.
var ErrTooMany = errors.New("the index lists too much")

// document is a manifest or an index that is to be signed.
type document oci.Document

func (d document) index() bool { return types.MediaType(d.MediaType).IsIndex() }

// descriptor returns what others refer to the document by.
func (d document) descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: int64(len(d.Raw))}
}

// manifestTypes are those of documents that are signed.
var manifestTypes = []string{
	ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex,
	string(types.DockerManifestSchema2), string(types.DockerManifestList),
}

// documents returns what is to be signed, the document that the reference names first, and the digests of those that
// are not there.
func (s *session) documents(ctx context.Context) (list []document, absent []digest.Digest, err error) {
	top, err := s.document(ctx, s.names.top, s.names.digest)
	if err != nil {
		if upload.Absent(err) {
			err = fmt.Errorf("%w: %w", source.ErrNoImage, err)
		}
		return nil, nil, fmt.Errorf("reading what is to be signed: %w", err)
	}
	w := &walker{s: s, list: []document{top}, seen: map[digest.Digest]bool{top.Digest: true}}
	if err := w.members(ctx, top, 1); err != nil {
		return nil, nil, err
	}
	return w.list, w.absent, nil
}

// document reads a document by its tag or digest, and checks its digest if want is set.
func (s *session) document(ctx context.Context, ref string, want digest.Digest) (document, error) {
	data, carrier, err := s.to.Manifest(ctx, ref, manifestTypes)
	if err != nil {
		return document{}, err
	}
	d := document{Raw: data, Digest: digest.FromBytes(data)}
	if want != "" && d.Digest != want {
		return d, fmt.Errorf("manifest %s: %w: it has the digest %s", want, oci.ErrMismatch, d.Digest)
	}
	d.MediaType, err = source.ManifestType(data, carrier)
	return d, err
}

// walker collects the documents of an index.
type walker struct {
	s      *session
	list   []document
	absent []digest.Digest
	seen   map[digest.Digest]bool
}

// members collects what an index lists, whatever it is for: also documents for no platform, such as the attestations of
// BuildKit.
func (w *walker) members(ctx context.Context, d document, depth int) error {
	if !d.index() {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("%w: indexes are nested more than %d deep", ErrTooMany, maxDepth)
	}
	var index ocispec.Index
	if err := json.Unmarshal(d.Raw, &index); err != nil {
		return fmt.Errorf("index %s: %w", d.Digest, err)
	}
	for _, m := range index.Manifests {
		if w.seen[m.Digest] {
			continue
		}
		w.seen[m.Digest] = true
		if len(w.seen) > maxDocuments {
			return fmt.Errorf("%w: more than %d documents", ErrTooMany, maxDocuments)
		}
		if err := m.Digest.Validate(); err != nil || m.Digest.Algorithm() != digest.SHA256 {
			return fmt.Errorf("index %s: digest %.80q: only sha256 is supported", d.Digest, string(m.Digest))
		}
		member, err := w.s.document(ctx, m.Digest.String(), m.Digest)
		if upload.Absent(err) {
			w.absent = append(w.absent, m.Digest)
			continue
		}
		if err != nil {
			return fmt.Errorf("reading %s, which the index lists: %w", m.Digest, err)
		}
		w.list = append(w.list, member)
		if err := w.members(ctx, member, depth+1); err != nil {
			return err
		}
	}
	return nil
}
