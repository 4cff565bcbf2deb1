package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// An Admission decides which images may come in. It is called with a reference before anything is read. It returns the
// gate that decides about the image, or nil to let it in.
type Admission func(ref imgref.OstreeImageReference) (Gate, error)

// A Gate decides about one image. If a method returns an error, the image is refused.
//
// Two kinds of images are copied before a gate is asked: the prior and base images of the frontend, which BuildKit
// resolves, and images in containers-storage, which the host's own tool copies.
type Gate interface {
	// Top is called with the document that the reference names, a manifest or an index, before anything else is fetched.
	Top(ctx context.Context, top oci.Document) error
	// Member is called with the manifest that was chosen from an index.
	Member(ctx context.Context, member oci.Document) error
	// Commit is called with the commit of the image: its id, its bytes and its detached metadata, which are nil if there
	// are none. None of the image's objects are visible in a repository before it returns.
	Commit(ctx context.Context, id string, commit, detached []byte) error
	// Signatures returns the signatures that were found to be good so far.
	Signatures() []oci.Signature
}

// ErrVerificationUnsupported is wrapped by errors about references that require signatures. See [*VerificationError].
var ErrVerificationUnsupported = errors.New("nobody verifies signatures here")

// VerificationError is the error for a reference that requires signatures. It wraps [ErrVerificationUnsupported].
type VerificationError struct {
	Ref imgref.OstreeImageReference
}

// Error implements error.
func (e *VerificationError) Error() string {
	return fmt.Sprintf("%s asks for signatures, but %s: to go without on purpose, use %s, with a digest that you trust "+
		"in its name",
		e.Ref, ErrVerificationUnsupported, imgref.Unverified(e.Ref.Image))
}

// Unwrap returns [ErrVerificationUnsupported].
func (e *VerificationError) Unwrap() error { return ErrVerificationUnsupported }

// UnsignedLayersError is the error for an image whose commit must be signed, but that has layers for which no signature
// of the commit says anything: layers on top of the commit, or only such.
type UnsignedLayersError struct {
	Ref imgref.OstreeImageReference
	// Layers is the number of layers on top of the commit. It is 0 if there is no commit.
	Layers int
}

// Error implements error.
func (e *UnsignedLayersError) Error() string {
	what := "the image holds no commit that could be signed"
	if e.Layers > 0 {
		what = fmt.Sprintf("the image has %s on top of the commit, which its signature does not cover",
			sizes.Count(e.Layers, "layer"))
	}
	signed := e.Ref
	signed.Signature = imgref.SignatureSource{Kind: imgref.ContainerPolicy}
	return fmt.Sprintf("%s: %s: sign the image as a whole, and use %s", e.Ref, what, signed)
}

// checkCovered reports an image that the signature of its commit does not cover.
func checkCovered(ref imgref.OstreeImageReference, img *oci.Image) error {
	if ref.Signature.Kind != imgref.OstreeRemote {
		return nil
	}
	layers, err := img.CommitLayers()
	switch {
	case err != nil:
		return &UnsignedLayersError{Ref: ref}
	case len(layers.Derived) > 0:
		return &UnsignedLayersError{Ref: ref, Layers: len(layers.Derived)}
	}
	return nil
}

// AdmitCommit asks whether the commit in an image may come in, and reads no more of the image than that takes. As when
// the image is imported, the commit also has to be the one that the label of the image names. It returns nil if every
// commit may.
func AdmitCommit(ctx context.Context, img *oci.Image) error {
	if img.AdmitCommit == nil {
		return nil
	}
	layers, err := img.CommitLayers()
	if err != nil {
		return err
	}
	admitted := errors.New("admitted")
	err = img.ReadLayer(ctx, layers.Commit, oci.ReadOptions{}, func(stream io.Reader) error {
		err := tarfmt.VerifyCommit(ctx, stream, func(id object.Checksum, commit, detached []byte) error {
			if err := img.CheckCommit(id.String()); err != nil {
				return err
			}
			return img.AdmitCommit(ctx, id.String(), commit, detached)
		})
		return cmp.Or(err, admitted)
	})
	if errors.Is(err, admitted) {
		return nil
	}
	return err
}

// Unverified is the [Admission] that lets in images whose references require no signatures. It refuses others with a
// [*VerificationError].
func Unverified(ref imgref.OstreeImageReference) (Gate, error) {
	if ref.Signature.Kind != imgref.ContainerPolicyAllowInsecure {
		return nil, &VerificationError{Ref: ref}
	}
	return nil, nil
}
