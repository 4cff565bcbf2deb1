//go:build !containers_image_openpgp

package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

func TestWithoutTheLibraryNothingIsJudged(t *testing.T) {
	t.Parallel()
	if policy.Supported {
		t.Error("policies are said to be supported")
	}
	img, err := policy.Open(t.Context(), docker("registry.example/os"), access.Options{})
	if img != nil || !errors.Is(err, policy.ErrUnsupported) {
		t.Errorf("opening: got %v, %v", img, err)
	}
	if !strings.Contains(policy.ErrUnsupported.Error(), "go build -tags containers_image_openpgp") {
		t.Errorf("the error does not say how to build it: %v", policy.ErrUnsupported)
	}
	for _, q := range []policyjson.Requirement{{Type: policyjson.AcceptAnything}, {Type: policyjson.SignedBy}} {
		if s, err := new(policy.Image).Evaluate(t.Context(), q, "", oci.Document{}); !errors.Is(err, policy.ErrUnsupported) {
			t.Errorf("%s: got %v, %v", q, s, err)
		}
	}
}
