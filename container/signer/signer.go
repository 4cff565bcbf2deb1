package signer

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/dest/upload"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
)

// Format says in which forms an image is signed.
type Format string

// The formats.
const (
	Attachment Format = "attachment"
	Bundle     Format = "bundle"
	Both       Format = "both"
)

// Formats lists the formats.
func Formats() []Format { return []Format{Attachment, Bundle, Both} }

// Errors that callers branch on.
var (
	// ErrNotRegistry is wrapped by errors about images that are not in a registry.
	ErrNotRegistry = errors.New("only images in registries are signed")
	// ErrOptions is wrapped by errors about options that contradict each other.
	ErrOptions = errors.New("these options do not fit together")
	// ErrContended is wrapped by errors about a tag that other programs change all the time.
	ErrContended = errors.New("what was written is replaced again and again by other programs")
)

// A Maker signs with something else than a key that is at hand, such as an identity.
type Maker interface {
	// Bundle returns a Sigstore bundle with a signature of the digest of an image or an index.
	Bundle(ctx context.Context, subject digest.Digest) ([]byte, error)
	// Attachment returns a signature of the payload of an attachment, and the annotations that prove who signed it.
	Attachment(ctx context.Context, payload []byte) (signature []byte, annotations map[string]string, err error)
}

// Options are the options of [Sign].
type Options struct {
	// Registry has the options for talking to the registry.
	Registry access.Options
	// Format says what is written.
	Format Format
	// Key signs if Maker is nil.
	Key crypto.Signer
	// Maker signs, if it is set. Each of its signatures is a new one.
	Maker Maker
	// Names are more names of the image in the same repository, with their tags. An attachment has a signature for each.
	Names []string

	// pause is how long to wait before looking whether what was written is still there; 0 means [settleTime].
	pause time.Duration
}

// Signed is a signature that is in the registry.
type Signed struct {
	// Digest is that of the document that is signed, and Index says that the document is an index.
	Digest digest.Digest
	Index  bool
	// Format is [Attachment] or [Bundle].
	Format Format
	// Tag is where the signature is listed. It is empty for bundles in registries that list the artifacts of a subject.
	Tag string
	// Referrer is the digest of the artifact with the bundle, and empty for attachments.
	Referrer digest.Digest
	// Added says that the signature was not there before.
	Added bool
}

// Result is what [Sign] did.
type Result struct {
	// Digest is that of the image or the index that the reference names.
	Digest digest.Digest
	// Signed lists the signatures: those of members of an index first, and those of the image itself last.
	Signed []Signed
	// Absent are documents that the index lists and the registry does not have. They are not signed, except as a part of
	// the index.
	Absent []digest.Digest
}

// Sign signs an image in a registry by its digest. If d is empty, it is that in the reference, or what the tag of the
// reference is at now. Everything that an index lists is signed before the index.
func Sign(ctx context.Context, ref imgref.ImageReference, d digest.Digest, opts Options) (*Result, error) {
	if err := opts.check(ref); err != nil {
		return nil, err
	}
	n, err := newNames(ref.Name, d, opts.Names)
	if err != nil {
		return nil, err
	}
	c, err := upload.Connect(ctx, n.repository.Name(), opts.Registry)
	if err != nil {
		return nil, explain(err, n.repository, opts.Registry)
	}
	defer c.Close()
	s := &session{opts: opts, names: n, to: upload.New(c.Transport, c.Repository)}
	if s.opts.pause == 0 {
		s.opts.pause = settleTime
	}
	r, err := s.sign(ctx)
	if err != nil {
		return nil, explain(err, n.repository, opts.Registry)
	}
	return r, nil
}

func (o *Options) check(ref imgref.ImageReference) error {
	switch {
	case ref.Transport != imgref.Registry:
		return fmt.Errorf("%w: %s: push it first", ErrNotRegistry, ref)
	case !slices.Contains(Formats(), o.Format):
		return fmt.Errorf("%w: there is no format %q", ErrOptions, o.Format)
	case o.Key == nil && o.Maker == nil:
		return fmt.Errorf("%w: there is no key", ErrOptions)
	}
	return o.Registry.Check()
}

// explain adds which credentials were used to an error of a registry that refused them.
func explain(err error, repository reference.Named, opts access.Options) error {
	if !upload.Denied(err) {
		return err
	}
	login, unknown := opts.Login(repository.Name())
	if unknown != nil {
		return err
	}
	return &access.DeniedError{Login: login, Err: err}
}

// session signs one image.
type session struct {
	opts  Options
	names *names
	to    *upload.Uploader
}

// parallelism is how many documents are signed at the same time.
const parallelism = 4

func (s *session) sign(ctx context.Context) (*Result, error) {
	docs, absent, err := s.documents(ctx)
	if err != nil {
		return nil, err
	}
	r := &Result{Digest: docs[0].Digest, Absent: absent}
	members, top := docs[1:], docs[0]
	lists := make([][]*pending, len(members))
	work, inner := errgroup.WithContext(ctx)
	work.SetLimit(parallelism)
	for i, d := range members {
		work.Go(func() (err error) {
			lists[i], err = s.signDocument(inner, d)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	last, err := s.signDocument(ctx, top)
	if err != nil {
		return nil, err
	}
	all := append(slices.Concat(lists...), last...)
	if err := s.settle(ctx, all); err != nil {
		return nil, err
	}
	for _, p := range all {
		r.Signed = append(r.Signed, p.Signed)
	}
	return r, nil
}

// pending is a signature that was made. If it has a change, that was made once, and may be undone by others.
type pending struct {
	Signed
	change *change
}

// signDocument makes the signatures of one document and writes them.
func (s *session) signDocument(ctx context.Context, d document) (list []*pending, err error) {
	for _, sign := range []struct {
		format Format
		do     func(context.Context, document) (*pending, error)
	}{{Attachment, s.attach}, {Bundle, s.refer}} {
		if s.opts.Format != sign.format && s.opts.Format != Both {
			continue
		}
		p, err := sign.do(ctx, d)
		if err == nil && p.change != nil {
			var changed bool
			changed, err = s.apply(ctx, p.change)
			p.Added = p.Added || changed
		}
		if err != nil {
			return nil, fmt.Errorf("signing %s: %s: %w", d.Digest, sign.format, err)
		}
		list = append(list, p)
	}
	return list, nil
}
