package imgref

import "strings"

// SignatureKind says how an image is verified.
type SignatureKind uint8

// The kinds of signature source.
const (
	// ContainerPolicy requires the signatures that the host's containers policy demands. The policy must demand some.
	ContainerPolicy SignatureKind = iota + 1
	// ContainerPolicyAllowInsecure also accepts a policy that demands none.
	ContainerPolicyAllowInsecure
	// OstreeRemote requires the signatures that a remote of the OSTree repository demands.
	OstreeRemote
)

const (
	schemeSigned             = "ostree-image-signed"
	schemeUnverified         = "ostree-unverified-image"
	schemeUnverifiedRegistry = "ostree-unverified-registry"
	schemeRemote             = "ostree-remote-image"
	schemeRemoteRegistry     = "ostree-remote-registry"
)

// SignatureSource says how an image is verified. Remote is the name of the remote for [OstreeRemote], and empty
// otherwise.
type SignatureSource struct {
	Kind   SignatureKind
	Remote string
}

// ParseSignatureSource parses a signature source without an image: ostree-image-signed, ostree-unverified-image or
// ostree-remote-image:REMOTE.
func ParseSignatureSource(s string) (SignatureSource, error) {
	switch scheme, remote, found := strings.Cut(s, ":"); {
	case s == schemeSigned:
		return SignatureSource{Kind: ContainerPolicy}, nil
	case s == schemeUnverified:
		return SignatureSource{Kind: ContainerPolicyAllowInsecure}, nil
	case scheme == schemeRemote && found:
		return SignatureSource{Kind: OstreeRemote, Remote: remote}, nil
	default:
		return SignatureSource{}, invalidf("Invalid signature source: %s", s)
	}
}

// String returns text that [ParseSignatureSource] parses.
func (s SignatureSource) String() string {
	switch s.Kind {
	case OstreeRemote:
		return schemeRemote + ":" + s.Remote
	case ContainerPolicyAllowInsecure:
		return schemeUnverified
	default:
		return schemeSigned
	}
}

// OstreeImageReference says where an image is and how it is verified.
type OstreeImageReference struct {
	Signature SignatureSource
	Image     ImageReference
}

// Unverified returns a reference to an image that is not verified.
func Unverified(image ImageReference) OstreeImageReference {
	return OstreeImageReference{Signature: SignatureSource{Kind: ContainerPolicyAllowInsecure}, Image: image}
}

// ParseOstreeImageReference parses a signature source and an image reference, or one of the shorthands for images in
// registries: ostree-unverified-registry:NAME and ostree-remote-registry:REMOTE:NAME.
func ParseOstreeImageReference(s string) (OstreeImageReference, error) {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok {
		return OstreeImageReference{}, invalidf("Missing ':' in %s", s)
	}
	var ref OstreeImageReference
	switch scheme {
	case schemeSigned:
		ref.Signature.Kind = ContainerPolicy
	case schemeUnverified, schemeUnverifiedRegistry:
		ref.Signature.Kind = ContainerPolicyAllowInsecure
	case schemeRemote, schemeRemoteRegistry:
		ref.Signature.Kind = OstreeRemote
		if ref.Signature.Remote, rest, ok = strings.Cut(rest, ":"); !ok {
			return OstreeImageReference{}, invalidf("Missing second ':' in %s", s)
		}
	default:
		return OstreeImageReference{}, invalidf("Invalid ostree image reference scheme: %s", scheme)
	}
	if scheme == schemeUnverifiedRegistry || scheme == schemeRemoteRegistry {
		rest = "registry:" + rest
	}
	var err error
	if ref.Image, err = ParseImageReference(rest); err != nil {
		return OstreeImageReference{}, err
	}
	return ref, nil
}

// String returns the canonical spelling, in which references are compared and stored.
func (r OstreeImageReference) String() string {
	if r.unverifiedRegistry() {
		return schemeUnverifiedRegistry + ":" + r.Image.Name
	}
	return r.Signature.String() + ":" + r.Image.String()
}

// ShortString is like String, without the prefix of an unverified image in a registry. The result cannot be parsed
// back.
func (r OstreeImageReference) ShortString() string {
	if r.unverifiedRegistry() {
		return r.Image.String()
	}
	return r.String()
}

func (r OstreeImageReference) unverifiedRegistry() bool {
	return r.Signature.Kind == ContainerPolicyAllowInsecure && r.Image.Transport == Registry
}
