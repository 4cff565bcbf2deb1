// Package policy reads containers-policy.json(5) and judges images by it, as the container tools of a host do.
//
// A policy has lists of requirements for scopes of images. [Find] finds the policy of the host, [Load] reads it, and
// [Policy.Rule] returns the [Rule] for an image: the list of the most specific scope. All its requirements must be
// fulfilled. [Image.Evaluate] judges one of them for one document, a manifest or an index:
//
//	file, err := policy.Find("")
//	p, err := policy.Load(file)
//	rule, err := p.Rule(ref)
//	img, err := policy.Open(ctx, ref, access.Options{})
//	for _, req := range rule.Requirements {
//		signature, err := img.Evaluate(ctx, req, rule.String(), document)
//	}
//
// The judgment is that of go.podman.io/image, which podman, skopeo and bootc use. That library can be compiled
// everywhere only with the build tag containers_image_openpgp. Without it, [Supported] is false: policies are read, and
// nothing can be judged, so that images which need it are refused with [ErrUnsupported].
//
// Signatures are found where registries.d says, see [Registries]: simple signatures, which GPG made, in a lookaside
// storage, and Sigstore attachments in the image's repository, below the tag sha256-HEX.sig. If a document has more
// than 128 simple signatures or 1000 attachments, none is judged. What a signature signs is the digest of the document.
// Where a tag points now is of no consequence: the rules for identities get the reference as the user wrote it.
//
// [Diagnose] says what to change if an image was refused that should have been accepted.
package policy
