package keyed

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/container/trust/pubkey"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// Limits on what is read of an attachment.
const (
	// MaxManifestSize limits the manifest, and MaxPayloadSize what is signed, in bytes.
	MaxManifestSize = 4 << 20
	MaxPayloadSize  = 1 << 20
	// maxSignatures limits the signatures of a document.
	maxSignatures = 128
)

// What cosign's specification of signatures says.
const (
	payloadMediaType    = "application/vnd.dev.cosign.simplesigning.v1+json"
	payloadType         = "cosign container image signature"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
)

// ErrAttachment is wrapped by errors about the manifest with the signatures of a document.
var ErrAttachment = errors.New("not a manifest with signatures")

// Tag returns the tag of the attachment of a document in the repository of the image. The digest must be a SHA-256.
func Tag(signed digest.Digest) (string, error) {
	if err := signed.Validate(); err != nil {
		return "", fmt.Errorf("digest %.80q: %w", string(signed), err)
	}
	if signed.Algorithm() != digest.SHA256 {
		return "", fmt.Errorf("digest %s: signatures are looked for by SHA-256 only", signed)
	}
	return "sha256-" + signed.Encoded() + ".sig", nil
}

// An Attachment has the signatures of a document. Nothing of it is verified.
type Attachment struct {
	signed     digest.Digest
	signatures []signature
}

// signature is a layer of an attachment.
type signature struct {
	payload   ocispec.Descriptor // with the annotations
	signature []byte
}

// ParseAttachment reads the manifest of an attachment. signed is the digest of the document that it belongs to. Layers
// that are not signatures are left out. Errors wrap [ErrAttachment].
func ParseAttachment(manifest []byte, signed digest.Digest) (*Attachment, error) {
	var m ocispec.Manifest
	if len(manifest) > MaxManifestSize {
		return nil, fmt.Errorf("%w: it has more than %s", ErrAttachment, sizes.Format(MaxManifestSize))
	}
	if err := oci.CheckManifest(manifest); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAttachment, err)
	}
	if err := jsonplace.Unmarshal(manifest, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAttachment, err)
	}
	if m.MediaType != ocispec.MediaTypeImageManifest {
		return nil, fmt.Errorf("%w: its media type is %.80q", ErrAttachment, m.MediaType)
	}
	a := &Attachment{signed: signed}
	for _, l := range m.Layers {
		encoded, ok := l.Annotations[signatureAnnotation]
		if l.MediaType != payloadMediaType || !ok {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || l.Digest.Validate() != nil || l.Size < 0 || l.Size > MaxPayloadSize {
			continue
		}
		if len(a.signatures) == maxSignatures {
			return nil, fmt.Errorf("%w: it has more than %d signatures: remove those that are not needed", ErrAttachment,
				maxSignatures)
		}
		a.signatures = append(a.signatures, signature{l, raw})
	}
	return a, nil
}

// Payloads returns the digests of the blobs that are signed, each once. They are in the repository of the image.
func (a *Attachment) Payloads() []digest.Digest {
	var list []digest.Digest
	for _, s := range a.signatures {
		if !slices.Contains(list, s.payload.Digest) {
			list = append(list, s.payload.Digest)
		}
	}
	return list
}

// RefusedError says why the signatures of a document do not fulfil a rule.
type RefusedError struct {
	Scope  string
	Signed digest.Digest
	// Reasons has one for each signature, or says that there is none.
	Reasons []string
}

// maxReasons is how many reasons a message has.
const maxReasons = 5

// Error implements error. It gives the reasons only.
func (e *RefusedError) Error() string {
	if more := len(e.Reasons) - maxReasons; more > 0 {
		return fmt.Sprintf("%s; and %d more", strings.Join(e.Reasons[:maxReasons], "; "), more)
	}
	return strings.Join(e.Reasons, "; ")
}

// Judge returns the signatures that fulfil a rule, one for each requirement, or a [*RefusedError]. What a signature is
// on (an index or a manifest) is left to the caller. name is that of the
// image, with the tag or digest that is asked for; if it has both, the tag does not count. A payload that is not among
// payloads could not be read. [Rule.UseKeys] must have been called.
func (r *Rule) Judge(name reference.Named, a *Attachment, payloads map[digest.Digest][]byte) ([]oci.Signature, error) {
	refused := &RefusedError{Scope: r.Scope, Signed: a.signed}
	var good []oci.Signature
	demanded := 0
	for _, q := range r.requirements {
		if q.kind == policyjson.AcceptAnything {
			continue
		}
		demanded++
		who, reasons := q.judge(asked(name), a, payloads)
		if who == nil {
			refused.Reasons = append(refused.Reasons, reasons...)
			continue
		}
		good = append(good, oci.Signature{
			Kind: oci.SignedAttachment, Signed: string(a.signed), Signer: who.name, Issuer: who.issuer, Rule: r.Scope,
		})
	}
	if demanded == 0 || len(good) != demanded {
		return nil, refused
	}
	return good, nil
}

// signer is who made a signature: a key, or an identity and who vouches for it.
type signer struct{ name, issuer string }

// judge returns the signer by whom an attachment fulfils a requirement, or why it does not.
func (q *requirement) judge(
	name reference.Named, a *Attachment, payloads map[digest.Digest][]byte,
) (who *signer, reasons []string) {
	for _, s := range a.signatures {
		who, err := q.accept(name, a.signed, s, payloads)
		if err == nil {
			return who, nil
		}
		reasons = append(reasons, printable.Line(err.Error()))
	}
	if len(reasons) == 0 {
		reasons = []string{"it has no signature"}
	}
	return nil, reasons
}

// accept returns who made a signature, if that is one for the image.
func (q *requirement) accept(
	name reference.Named, signed digest.Digest, s signature, payloads map[digest.Digest][]byte,
) (*signer, error) {
	if q.kind != policyjson.SigstoreSigned || q.unsupported != "" {
		return nil, fmt.Errorf("%s: %w", q.kind, ErrUnsupported)
	}
	payload, ok := payloads[s.payload.Digest]
	if !ok {
		return nil, fmt.Errorf("the payload %s of a signature could not be read", s.payload.Digest)
	}
	if digest.FromBytes(payload) != s.payload.Digest {
		return nil, fmt.Errorf("the payload %s of a signature has other content", s.payload.Digest)
	}
	who, err := q.signer(s, payload)
	if err != nil {
		return nil, err
	}
	d, ref, err := parsePayload(payload)
	switch {
	case err != nil:
		return nil, fmt.Errorf("a signature by %s: %w", who.name, err)
	case d != string(signed):
		return nil, fmt.Errorf("a signature by %s is for another image, %.80s", who.name, d)
	case !q.identity.accepts(name, ref):
		return nil, fmt.Errorf("a signature by %s is for %.300q, which signedIdentity %s does not accept for %s%s",
			who.name, ref, q.identity, reference.FamiliarString(name), q.identity.hint(ref))
	}
	return who, nil
}

// signer returns who signed a payload, if that is one of those who may.
func (q *requirement) signer(s signature, payload []byte) (*signer, error) {
	if q.authority != nil {
		return q.certified(s, payload)
	}
	i := slices.IndexFunc(q.keys, func(k pubkey.Key) bool { return signedBy(k, payload, s.signature) })
	if i < 0 {
		return nil, fmt.Errorf("a signature is not by %s", q.signers())
	}
	k := q.keys[i]
	if q.demandsLog() {
		der, err := x509.MarshalPKIXPublicKey(k.Public)
		if err == nil {
			_, err = recorded(q.logs, s.payload.Annotations[logAnnotation], der, s.signature, payload)
		}
		if err != nil {
			return nil, fmt.Errorf("a signature by %s: %w", k, err)
		}
	}
	return &signer{name: k.String()}, nil
}

// demandsLog reports whether a log must have recorded signatures.
func (q *requirement) demandsLog() bool { return len(q.logPaths)+len(q.logDatas) > 0 }

// certified returns who signed a payload, by the certificate beside the signature.
func (q *requirement) certified(s signature, payload []byte) (*signer, error) {
	text := s.payload.Annotations[certificateAnnotation]
	if text == "" {
		return nil, fmt.Errorf("a signature has no certificate, where one of %s is asked for", q.authority.subject())
	}
	leaf, err := parseLeaf(text)
	if err != nil {
		return nil, err
	}
	var at time.Time
	if q.fulcio != nil || q.demandsLog() {
		at, err = recorded(q.logs, s.payload.Annotations[logAnnotation], leaf.Raw, s.signature, payload)
		if err != nil {
			return nil, fmt.Errorf("a signature with a certificate: %w", err)
		}
	}
	if err := q.authority.verify(leaf, s.payload.Annotations[chainAnnotation], at); err != nil {
		return nil, fmt.Errorf("the certificate of a signature: %w", err)
	}
	k, err := pubkey.New(leaf.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("the certificate of a signature: %w", err)
	}
	who := &signer{name: q.authority.subject(), issuer: q.authority.issuer(leaf)}
	if !signedBy(k, payload, s.signature) {
		return nil, fmt.Errorf("a signature is not by the key in the certificate of %s", who.name)
	}
	return who, nil
}

// signers names the keys.
func (q *requirement) signers() string {
	var names []string
	for _, k := range q.keys {
		names = append(names, k.String())
	}
	return strings.Join(names, " or ")
}

// hint says what to write if a signature names no tag, as those of cosign do.
func (i identity) hint(signed string) string {
	s, err := reference.ParseNormalizedNamed(signed)
	if err != nil || !reference.IsNameOnly(s) || i.kind != matchRepoDigestOrExact && i.kind != remapIdentity &&
		i.kind != matchExact {
		return ""
	}
	return `: cosign's signatures name no tag, write "signedIdentity": {"type": "matchRepository"}`
}

// payloadKeys are the keys of what is signed. All of them are needed. What is optional may have any.
var payloadKeys = jsonkeys.Schema{
	"": {"critical", "optional"}, ".critical": {"type", "image", "identity"}, ".optional": {"*"},
	".critical.image": {"docker-manifest-digest"}, ".critical.identity": {"docker-reference"},
}

// errIncomplete means that a payload lacks keys.
var errIncomplete = errors.New("the payload does not have all of its keys")

// parsePayload returns the digest and the reference that a payload names.
func parsePayload(data []byte) (signed, ref string, err error) {
	var p struct {
		Critical *struct {
			Type  *string `json:"type"`
			Image *struct {
				Digest *string `json:"docker-manifest-digest"`
			} `json:"image"`
			Identity *struct {
				Reference *string `json:"docker-reference"`
			} `json:"identity"`
		} `json:"critical"`
		Optional json.RawMessage `json:"optional"`
	}
	if err := jsonkeys.Decode(data, payloadKeys, &p); err != nil {
		return "", "", fmt.Errorf("the payload: %w", err)
	}
	c := p.Critical
	if c == nil || p.Optional == nil {
		return "", "", errIncomplete
	}
	if c.Type == nil || c.Image == nil || c.Image.Digest == nil || c.Identity == nil || c.Identity.Reference == nil {
		return "", "", errIncomplete
	}
	if *c.Type != payloadType {
		return "", "", fmt.Errorf("the payload is a %.80q, not a %q", *c.Type, payloadType)
	}
	return *c.Image.Digest, *c.Identity.Reference, nil
}
