package container

import (
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// CommitMismatchError is the error for an image whose commit is not the one that its label ostree.commit names. It
// wraps [oci.ErrLayerMismatch].
type CommitMismatchError struct {
	Label  string
	Actual object.Checksum
}

// Error implements error.
func (e *CommitMismatchError) Error() string {
	return fmt.Sprintf("the image holds commit %s, but its label %s is %.80q", e.Actual, oci.LabelCommit, e.Label)
}

// Unwrap returns [oci.ErrLayerMismatch].
func (e *CommitMismatchError) Unwrap() error { return oci.ErrLayerMismatch }

// DerivedError is the error for an image that has layers on top of those of its commit. It wraps
// [oci.ErrNotEncapsulated].
type DerivedError struct{ Layers int }

// Error implements error. The text is upstream's.
func (e *DerivedError) Error() string { return fmt.Sprintf("Image has %d non-ostree layers", e.Layers) }

// Unwrap returns [oci.ErrNotEncapsulated].
func (e *DerivedError) Unwrap() error { return oci.ErrNotEncapsulated }
