package source

import (
	"context"
	"errors"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// An Admission decides which images may come in. It is asked about a reference before anything is read, and returns who is to
// be asked about the image, or nil if nobody is.
type Admission func(ref imgref.OstreeImageReference) (Gate, error)

// A Gate decides about one image. An error keeps the image out.
//
// Two ways by which images come do not pass here before their bytes are copied: the frontend lets BuildKit resolve its prior
// and base images, and containers-storage is copied by the host's own tool.
type Gate interface {
	// Top is asked about the document that the reference names, a manifest or an index, before anything else is fetched.
	Top(ctx context.Context, top oci.Document) error
	// Member is asked about the manifest that was chosen from an index.
	Member(ctx context.Context, member oci.Document) error
	// Commit is asked about the commit that the image holds, by its id, its bytes and its detached metadata, before any of
	// the image's objects can be seen in a repository.
	Commit(ctx context.Context, id string, commit, detached []byte) error
}

// ErrVerificationUnsupported says that a reference asks for signatures to be verified. See [*VerificationError].
var ErrVerificationUnsupported = errors.New("signature verification is not available in this version")

// VerificationError is the error about a reference that asks for signatures. It wraps [ErrVerificationUnsupported].
type VerificationError struct {
	Ref imgref.OstreeImageReference
}

// Error implements error.
func (e *VerificationError) Error() string {
	return fmt.Sprintf("%s asks for signatures, but %s: to go without on purpose, use %s, with a digest that you trust in its name",
		e.Ref, ErrVerificationUnsupported, imgref.Unverified(e.Ref.Image))
}

// Unwrap returns [ErrVerificationUnsupported].
func (e *VerificationError) Unwrap() error { return ErrVerificationUnsupported }

// Unverified is the [Admission] that lets images in whose references ask for no signatures. Others are refused with a
// [*VerificationError].
func Unverified(ref imgref.OstreeImageReference) (Gate, error) {
	if ref.Signature.Kind != imgref.ContainerPolicyAllowInsecure {
		return nil, &VerificationError{Ref: ref}
	}
	return nil, nil
}
