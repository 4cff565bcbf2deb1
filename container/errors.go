package container

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Errors that callers branch on.
var (
	// ErrVerificationUnsupported says that a reference asks for signatures to be verified. See [*VerificationError].
	ErrVerificationUnsupported = errors.New("signature verification is not available in this version")
	// ErrNotEncapsulated is wrapped by errors about images that hold no OSTree commit, or other layers besides.
	ErrNotEncapsulated = errors.New("not an encapsulated commit")
	// ErrLayerMismatch is wrapped by errors about layers that are not what manifest or configuration say.
	ErrLayerMismatch = errors.New("layer is not what the image says")
)

// VerificationError is the error about a reference that asks for signatures. It wraps [ErrVerificationUnsupported].
type VerificationError struct {
	Ref imgref.OstreeImageReference
}

// Error implements error.
func (e *VerificationError) Error() string {
	insecure := e.Ref
	insecure.Signature = imgref.SignatureSource{Kind: imgref.ContainerPolicyAllowInsecure}
	return fmt.Sprintf("%s asks for signatures, but %s: to go without on purpose, use %s, with a digest that you trust in its name",
		e.Ref, ErrVerificationUnsupported, insecure)
}

// Unwrap returns [ErrVerificationUnsupported].
func (e *VerificationError) Unwrap() error { return ErrVerificationUnsupported }

// DiffIDError is the error about a layer whose decompressed bytes are not those that the configuration promises. It
// wraps [ErrLayerMismatch].
type DiffIDError struct {
	Want, Got digest.Digest
}

// Error implements error.
func (e *DiffIDError) Error() string {
	return fmt.Sprintf("the diff-id is %s, but the image configuration says %s", e.Got, e.Want)
}

// Unwrap returns [ErrLayerMismatch].
func (e *DiffIDError) Unwrap() error { return ErrLayerMismatch }

// CommitMismatchError is the error about an image that holds another commit than its label ostree.commit says.
type CommitMismatchError struct {
	Label  string
	Actual object.Checksum
}

// Error implements error.
func (e *CommitMismatchError) Error() string {
	return fmt.Sprintf("the image holds commit %s, but its label %s is %.80q", e.Actual, labelCommit, e.Label)
}

// Unwrap returns [ErrLayerMismatch].
func (e *CommitMismatchError) Unwrap() error { return ErrLayerMismatch }

// plainError has words that users of upstream know, so nothing is added to them.
type plainError string

func (e plainError) Error() string      { return string(e) }
func (plainError) Is(target error) bool { return target == ErrNotEncapsulated }

func notEncapsulated(format string, args ...any) error {
	return plainError(fmt.Sprintf(format, args...))
}
