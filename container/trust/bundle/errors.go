package bundle

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/trust/statement"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

var (
	// ErrUnsigned is wrapped by the error for an image that has no bundle that signs it.
	ErrUnsigned = errors.New("no bundle signs it")
	// ErrAttestation is wrapped by errors about bundles that say something else about the image.
	ErrAttestation = statement.ErrAttestation
	// ErrMessageSignature is returned for bundles that sign bytes instead of a statement, as cosign sign-blob makes them.
	ErrMessageSignature = errors.New("it signs the bytes of a file (messageSignature), not an image")
	// ErrIdentity is returned for a bundle that is to be verified with keys, and has a certificate.
	ErrIdentity = errors.New("an identity signed it, with a certificate: a rule for keys cannot accept it")
	// ErrOtherSubject is wrapped by errors about signatures of other images.
	ErrOtherSubject = statement.ErrOtherSubject
	// ErrTooLarge is wrapped by errors about content that is larger than it may be, and was not read.
	ErrTooLarge = errors.New("too large")
	// ErrNoKeys is returned if there is no key to verify with.
	ErrNoKeys = errors.New("there is no key to verify with")

	// errOtherArtifact is wrapped by errors about artifacts that are not bundles. They are common and not worth a message.
	errOtherArtifact = errors.New("not a bundle")
)

// SubjectError is the error for a signature of other images. It wraps [ErrOtherSubject].
type SubjectError = statement.SubjectError

// BadSignatureError is the error for a bundle whose signature is not by any of the keys: it is by another one, or the
// bundle was changed.
type BadSignatureError struct {
	// Keys are the keys that were tried.
	Keys []Key
	// Hint is how the bundle names its key. Nothing protects it.
	Hint string
}

// Error implements error.
func (e *BadSignatureError) Error() string {
	var tried []string
	for _, k := range e.Keys {
		tried = append(tried, k.String())
	}
	what := "the signature is not by the key " + strings.Join(tried, ", nor by ")
	claimed, ok := fingerprintOf(e.Hint)
	switch {
	case e.Hint == "":
		return what
	case !ok:
		claimed = printable.Short(e.Hint)
	case slices.ContainsFunc(e.Keys, func(k Key) bool { return k.Fingerprint == claimed }):
		return what + ", although the bundle says so: it is damaged, or somebody else made it"
	}
	return what + ": the bundle names the key " + claimed
}

// Skipped is something that might have been a signature, and why it does not count.
type Skipped struct {
	// From is the repository at which it was found.
	From string
	// Artifact is the digest of the manifest. It is empty if a whole list does not count.
	Artifact digest.Digest
	Err      error
}

// String returns the reason as a line for users.
func (s Skipped) String() string {
	if s.Artifact == "" {
		return fmt.Sprintf("%s: %v", s.From, s.Err)
	}
	return fmt.Sprintf("%s@%s: %v", s.From, printable.Short(string(s.Artifact)), s.Err)
}

// RefusedError is the error for an image without a good signature among its bundles, all of which were looked at. It
// wraps the reasons, and [ErrUnsigned] if no bundle signs the image at all.
type RefusedError struct {
	Image   string
	Subject digest.Digest
	// Skipped is what was found instead.
	Skipped []Skipped
	// Signed says that there are bundles that sign the image, whose signatures are not good.
	Signed bool
}

// maxReasons is how many reasons a message has.
const maxReasons = 5

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("image %s, digest %s: %s", e.Image, e.Subject, e.Reason())
}

// Reason is the message without the image and its digest.
func (e *RefusedError) Reason() string {
	text := ErrUnsigned.Error()
	if e.Signed {
		text = "no bundle has a good signature"
	}
	if reasons := reasons(e.Skipped); reasons != "" {
		text += ": " + reasons
	}
	return text
}

// reasons lists why things do not count.
func reasons(skipped []Skipped) string {
	var texts []string
	others := 0
	for _, s := range skipped {
		if errors.Is(s.Err, errOtherArtifact) || len(texts) == maxReasons {
			others++
			continue
		}
		texts = append(texts, s.String())
	}
	if others > 0 {
		texts = append(texts, fmt.Sprintf("%d other artifacts", others))
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the reasons.
func (e *RefusedError) Unwrap() []error {
	var errs []error
	if !e.Signed {
		errs = append(errs, ErrUnsigned)
	}
	for _, s := range e.Skipped {
		errs = append(errs, s.Err)
	}
	return errs
}

// IncompleteError is the error for an image without a good signature among the bundles that were looked at, while
// others could not be: a server failed, or there are too many. It wraps the reasons. Nothing is known about the image.
type IncompleteError struct {
	Image   string
	Subject digest.Digest
	// Errs are the errors of the repositories that were asked.
	Errs []error
	// Skipped is what was found and does not count.
	Skipped []Skipped
}

// Error implements error.
func (e *IncompleteError) Error() string {
	var texts []string
	for _, err := range e.Errs {
		texts = append(texts, err.Error())
	}
	text := fmt.Sprintf("image %s, digest %s: its bundles could not all be looked at: %s", e.Image, e.Subject,
		strings.Join(texts, "; "))
	if reasons := reasons(e.Skipped); reasons != "" {
		text += "; those that could: " + reasons
	}
	return text
}

// Unwrap returns the errors.
func (e *IncompleteError) Unwrap() []error { return e.Errs }

// LimitError is the error for a server that lists more than is looked at, or sends more than is read.
type LimitError struct {
	// What there is too much of, with the number.
	What string
}

// Error implements error.
func (e *LimitError) Error() string {
	return "there are more than " + e.What + ": remove signatures that are not needed from the repository"
}
