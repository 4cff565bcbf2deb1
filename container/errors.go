package container

import (
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// DerivedError is the error for an image that has layers on top of those of its commit. It wraps
// [oci.ErrNotEncapsulated].
type DerivedError struct{ Layers int }

// Error implements error. The text is upstream's.
func (e *DerivedError) Error() string { return fmt.Sprintf("Image has %d non-ostree layers", e.Layers) }

// Unwrap returns [oci.ErrNotEncapsulated].
func (e *DerivedError) Unwrap() error { return oci.ErrNotEncapsulated }
