package keyed

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"

	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
)

// The types of [identity].
const (
	matchExact             = "matchExact"
	matchRepoDigestOrExact = "matchRepoDigestOrExact"
	matchRepository        = "matchRepository"
	exactReference         = "exactReference"
	exactRepository        = "exactRepository"
	remapIdentity          = "remapIdentity"
)

// identity says which reference a signature must be for. See containers-policy.json(5), signedIdentity.
type identity struct {
	kind string
	// ref is that of exactReference and exactRepository.
	ref reference.Named
	// prefix is replaced by signedPrefix for remapIdentity.
	prefix, signedPrefix string
}

// String returns the type with what it names.
func (i identity) String() string {
	switch i.kind {
	case exactReference, exactRepository:
		return i.kind + " " + i.ref.String()
	case remapIdentity:
		return fmt.Sprintf("%s from %s to %s", i.kind, i.prefix, i.signedPrefix)
	}
	return i.kind
}

// newIdentity checks the references of a rule.
func newIdentity(says policyjson.Identity) (i identity, err error) {
	i = identity{kind: says.Type, prefix: says.Prefix, signedPrefix: says.SignedPrefix}
	if i.kind != exactReference && i.kind != exactRepository {
		return i, nil
	}
	if i.ref, err = reference.ParseNormalizedNamed(says.Reference); err != nil {
		return i, fmt.Errorf("signedIdentity: %q: %w", says.Reference, err)
	}
	if i.kind == exactReference && reference.IsNameOnly(i.ref) {
		return i, fmt.Errorf("signedIdentity: %s has neither a tag nor a digest", i.ref)
	}
	return i, nil
}

// accepts reports whether a signature for a reference is one for an image. name has a tag or a digest.
func (i identity) accepts(name reference.Named, signed string) bool {
	s, err := reference.ParseNormalizedNamed(signed)
	if err != nil {
		return false
	}
	switch i.kind {
	case matchExact:
		return same(name, s)
	case matchRepoDigestOrExact:
		return sameOrByDigest(name, s)
	case matchRepository:
		return name.Name() == s.Name()
	case exactReference:
		return same(i.ref, s)
	case exactRepository:
		return i.ref.Name() == s.Name()
	case remapIdentity:
		mapped, err := i.remap(name)
		return err == nil && sameOrByDigest(mapped, s)
	}
	return false
}

// same reports whether two references are equal, and name more than a repository.
func same(a, b reference.Named) bool {
	return !reference.IsNameOnly(a) && !reference.IsNameOnly(b) && a.String() == b.String()
}

// sameOrByDigest is the rule matchRepoDigestOrExact: an image that is asked for by its digest may be signed for any tag
// of the repository.
func sameOrByDigest(name, signed reference.Named) bool {
	_, tagged := name.(reference.Tagged)
	_, digested := name.(reference.Canonical)
	if digested && !tagged {
		return !reference.IsNameOnly(signed) && name.Name() == signed.Name()
	}
	return same(name, signed)
}

// remap replaces the prefix, if the name has it.
func (i identity) remap(name reference.Named) (reference.Named, error) {
	rest, ok := strings.CutPrefix(name.Name(), i.prefix)
	if !ok || rest != "" && rest[0] != '/' {
		return name, nil
	}
	return reference.ParseNamed(i.signedPrefix + strings.TrimPrefix(name.String(), i.prefix))
}
