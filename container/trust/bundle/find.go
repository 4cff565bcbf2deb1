package bundle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

const (
	// No more is looked at in one repository: manifests, bundles, and bytes of both.
	maxManifests = 1000
	maxBundles   = 256
	maxBytes     = 64 << 20
	// maxManifest is the largest size of a manifest in bytes.
	maxManifest = 1 << 20
)

// A Search finds the bundles of an image. It is for one goroutine.
type Search struct {
	image    string
	subject  digest.Digest
	registry access.Options
	pace     pace

	skipped []Skipped
	// manifests and blobs that were looked at; the first have their digest
	manifests, blobs map[digest.Digest]bool
	found            int
}

// Find returns a search for the bundles that sign a manifest or an index, in the repository of an image. The image's
// name may have a tag or a digest: some mirrors are only for one of them. The subject is the digest of the bytes that
// were read, and must be a SHA-256. No request is sent before the bundles are asked for.
func Find(image string, registry access.Options, subject digest.Digest) *Search {
	return &Search{image: image, registry: registry, subject: subject, pace: defaultPace()}
}

// Skipped returns what was found so far and does not count.
func (s *Search) Skipped() []Skipped { return slices.Clone(s.skipped) }

func (s *Search) skip(what Skipped) { s.skipped = append(s.skipped, what) }

// Bundles returns the bundles that sign the subject, as they are fetched. The places from which the image is read are
// asked in order, mirrors first, until the caller has seen enough. Signatures are not verified.
//
// An error is the last value. If all places were looked at and there was no bundle, it is a [*RefusedError]. If
// something could not be looked at, it is a [*IncompleteError], also after bundles: a server failed, or there is more
// than is looked at. So an image is known to be unsigned only if the error says so.
func (s *Search) Bundles(ctx context.Context) iter.Seq2[*Bundle, error] {
	return func(yield func(*Bundle, error) bool) {
		if err := checkDigest(s.subject); err != nil {
			yield(nil, err)
			return
		}
		s.skipped, s.found = nil, 0
		s.manifests, s.blobs = map[digest.Digest]bool{}, map[digest.Digest]bool{}
		places, err := s.registry.Endpoints(s.image)
		if err != nil {
			yield(nil, err)
			return
		}
		var errs []error
		for _, place := range places {
			stopped, err := s.visit(ctx, place, yield)
			if stopped {
				return
			}
			if ctx.Err() != nil {
				yield(nil, ctx.Err())
				return
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", place, err))
			}
		}
		switch {
		case len(errs) > 0:
			yield(nil, &IncompleteError{Image: s.image, Subject: s.subject, Errs: errs, Skipped: s.Skipped()})
		case s.found == 0:
			yield(nil, s.refused())
		}
	}
}

func (s *Search) refused() error {
	return &RefusedError{Image: s.image, Subject: s.subject, Skipped: s.Skipped(), Signed: s.found > 0}
}

// Verify returns the first bundle about which judge returns no error. Otherwise the error is a [*RefusedError], which
// wraps the errors of judge, or a [*IncompleteError] if something could not be looked at.
func (s *Search) Verify(ctx context.Context, judge func(*Bundle) error) (*Bundle, error) {
	for b, err := range s.Bundles(ctx) {
		if err != nil {
			return nil, err
		}
		if err = judge(b); err == nil {
			return b, nil
		}
		s.skip(Skipped{From: b.From, Artifact: b.Artifact, Err: err})
	}
	return nil, s.refused()
}

// VerifyKeys is [Search.Verify] with [Bundle.VerifyKeys]. It also returns the key that signed the bundle.
func (s *Search) VerifyKeys(ctx context.Context, keys []Key) (b *Bundle, key Key, err error) {
	if len(keys) == 0 {
		return nil, Key{}, ErrNoKeys
	}
	b, err = s.Verify(ctx, func(b *Bundle) (err error) {
		key, err = b.VerifyKeys(keys)
		return err
	})
	return b, key, err
}

// visit is a search at one place.
type visit struct {
	s     *Search
	r     *access.Reader
	place string
	yield func(*Bundle, error) bool
	// what was read so far
	manifests, bundles int
	bytes              int64
}

// visit looks at one place. stopped says that the caller has seen enough.
func (s *Search) visit(ctx context.Context, place *access.Endpoint, yield func(*Bundle, error) bool) (
	stopped bool, err error,
) {
	v := &visit{s: s, place: place.String(), yield: yield}
	err = s.pace.again(ctx, func(ctx context.Context) (err error) {
		v.r, err = place.Connect(ctx)
		return err
	})
	if err != nil {
		return false, err
	}
	defer v.r.Close()
	var errs []error
	// The tag is looked at in any case: the registry may have learned the question for referrers since.
	for _, listed := range []func(context.Context) ([]entry, error){v.referrers, v.tagged} {
		entries, err := listed(ctx)
		errs = append(errs, err)
		if stopped, err = v.look(ctx, entries); stopped {
			return true, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
	return false, errors.Join(errs...)
}

// candidate is an artifact that has the form of a bundle.
type candidate struct {
	artifact digest.Digest
	layer    ocispec.Descriptor
}

// look looks at what a list names: first at what may be a signature, then at what says that it is something else.
func (v *visit) look(ctx context.Context, entries []entry) (stopped bool, err error) {
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(promise(a), promise(b)) })
	var later []candidate
	for _, d := range entries {
		if v.s.manifests[d.Digest] {
			continue
		}
		if v.manifests++; v.manifests > maxManifests {
			return false, &LimitError{What: fmt.Sprintf("%d referrers", maxManifests)}
		}
		m, reason, err := v.manifest(ctx, d.Digest)
		if err != nil {
			return false, fmt.Errorf("referrer %s: %w", d.Digest, err)
		}
		if reason != nil {
			v.s.skip(Skipped{From: v.place, Artifact: d.Digest, Err: reason})
			continue
		}
		c := candidate{artifact: d.Digest, layer: m.Layers[0]}
		if said := m.Annotations[annotationPredicate]; said != "" && said != PredicateType {
			later = append(later, c)
			continue
		}
		if stopped, err := v.offer(ctx, c); stopped || err != nil {
			return stopped, err
		}
	}
	for _, c := range later {
		if stopped, err := v.offer(ctx, c); stopped || err != nil {
			return stopped, err
		}
	}
	return false, nil
}

// promise returns a number that is small for entries that look like a signature.
func promise(d entry) int {
	said := d.Annotations[annotationPredicate]
	switch {
	case isMediaType(d.ArtifactType) && said == PredicateType:
		return 0
	case isMediaType(d.ArtifactType) && said == "":
		return 1
	case isMediaType(d.ArtifactType):
		return 3
	}
	return 2
}

// spend counts bytes that were read.
func (v *visit) spend(n int) error {
	if v.bytes += int64(n); v.bytes > maxBytes {
		return &LimitError{What: sizes.Format(maxBytes) + " of referrers"}
	}
	return nil
}

// manifest reads the manifest of an artifact. The reason says why it does not count; it is nil if the artifact is a
// bundle of the subject.
func (v *visit) manifest(ctx context.Context, d digest.Digest) (m ocispec.Manifest, reason, err error) {
	if reason := checkDigest(d); reason != nil {
		return m, reason, nil
	}
	data, reason, err := v.read(ctx, "manifests/"+d.String(), ocispec.MediaTypeImageManifest+", */*", maxManifest, d)
	if reason != nil || err != nil {
		return m, reason, err
	}
	v.s.manifests[d] = true
	m, reason = parseArtifact(data, v.s.subject)
	return m, reason, nil
}

// read reads content by its digest. Content that is not there, too large, or other content, is a reason to skip it.
func (v *visit) read(ctx context.Context, path, accept string, limit int64, d digest.Digest) (
	data []byte, reason, err error,
) {
	a, err := v.s.pace.get(ctx, v.r, path, accept, limit)
	switch {
	case status(err) == http.StatusNotFound:
		return nil, fmt.Errorf("it is listed, but not there: %w", err), nil
	case errors.Is(err, ErrTooLarge):
		return nil, err, v.spend(int(limit))
	case err != nil:
		return nil, nil, err
	}
	if err := v.spend(len(a.data)); err != nil {
		return nil, nil, err
	}
	if got := digest.FromBytes(a.data); got != d {
		return nil, fmt.Errorf("%w: %s has the digest %s", oci.ErrMismatch, d, got), nil
	}
	return a.data, nil, nil
}

// offer fetches a bundle and gives it to the caller if it signs the subject.
func (v *visit) offer(ctx context.Context, c candidate) (stopped bool, err error) {
	b, reason, err := v.bundle(ctx, c.layer)
	if err != nil {
		return false, fmt.Errorf("bundle %s: %w", c.layer.Digest, err)
	}
	if reason != nil {
		v.s.skip(Skipped{From: v.place, Artifact: c.artifact, Err: reason})
		return false, nil
	}
	if b == nil {
		return false, nil // seen before
	}
	b.From, b.Artifact = v.place, c.artifact
	v.s.found++
	return !v.yield(b, nil), nil
}

// bundle reads a bundle. It returns nil for one that was read before.
func (v *visit) bundle(ctx context.Context, layer ocispec.Descriptor) (b *Bundle, reason, err error) {
	if reason := checkDigest(layer.Digest); reason != nil {
		return nil, reason, nil
	}
	if layer.Size < 0 || layer.Size > MaxSize {
		return nil, fmt.Errorf("%w: a bundle of %s, and not more than %s are read", ErrTooLarge, sizes.Format(layer.Size),
			sizes.Format(MaxSize)), nil
	}
	if v.s.blobs[layer.Digest] {
		return nil, nil, nil
	}
	if v.bundles++; v.bundles > maxBundles {
		return nil, nil, &LimitError{What: fmt.Sprintf("%d bundles", maxBundles)}
	}
	data, reason, err := v.read(ctx, "blobs/"+layer.Digest.String(), "", layer.Size, layer.Digest)
	if errors.Is(reason, ErrTooLarge) {
		reason = &oci.BlobError{Digest: layer.Digest, Size: layer.Size, Read: layer.Size + 1}
	}
	if reason != nil || err != nil {
		return nil, reason, err
	}
	v.s.blobs[layer.Digest] = true
	b, reason = Parse(data, v.s.subject)
	return b, reason, nil
}
