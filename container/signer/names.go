package signer

import (
	"fmt"
	"slices"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// names are those of the image.
type names struct {
	repository reference.Named
	// top is the tag or digest of the document that is signed.
	top string
	// digest is what the document must have, if it is known.
	digest digest.Digest
	// signed are the references that attachments name, in the form in which containers/image compares them.
	signed []string
}

// newNames parses the name of an image and the more names that it has. d may be empty.
func newNames(image string, d digest.Digest, more []string) (*names, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return nil, fmt.Errorf("image name %s: %w", image, err)
	}
	n := &names{repository: reference.TrimNamed(named), digest: d}
	if c, ok := named.(reference.Canonical); ok {
		if d != "" && c.Digest() != d {
			return nil, fmt.Errorf("the image that was pushed is %s, which is not the digest in %s", d, image)
		}
		n.digest = c.Digest()
	}
	if n.digest != "" {
		if err := n.digest.Validate(); err != nil || n.digest.Algorithm() != digest.SHA256 {
			return nil, fmt.Errorf("digest %.80q: only sha256 is supported", n.digest)
		}
		n.top = n.digest.String()
	}
	tag, tagged := named.(reference.Tagged)
	switch {
	case tagged:
		n.signed = append(n.signed, n.repository.Name()+":"+tag.Tag())
	case n.top != "" && !reference.IsNameOnly(named):
		n.signed = append(n.signed, n.repository.Name()+"@"+n.top)
	default:
		n.signed = append(n.signed, n.repository.Name()+":latest")
	}
	if n.top == "" {
		n.top = "latest"
		if tagged {
			n.top = tag.Tag()
		}
	}
	for _, m := range more {
		other, err := reference.ParseNormalizedNamed(m)
		if err != nil {
			return nil, fmt.Errorf("image name %s: %w", m, err)
		}
		if other = reference.TagNameOnly(other); other.Name() != n.repository.Name() {
			return nil, fmt.Errorf("%w: %s is not in the repository %s", ErrOptions, m, n.repository.Name())
		}
		if !slices.Contains(n.signed, other.String()) {
			n.signed = append(n.signed, other.String())
		}
	}
	return n, nil
}
