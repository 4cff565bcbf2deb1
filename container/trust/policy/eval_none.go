//go:build !containers_image_openpgp

package policy

import (
	"context"

	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// Supported reports whether this program can judge images by a policy.
const Supported = false

// accepted reports whether a policy is one for the library, which is not there.
func accepted([]byte) error { return nil }

// Evaluate returns [ErrUnsupported].
func (*Image) Evaluate(context.Context, policyjson.Requirement, string, oci.Document) (oci.Signature, error) {
	return oci.Signature{}, ErrUnsupported
}
