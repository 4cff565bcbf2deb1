package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/types"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// An Image is an image whose documents are judged. It is safe for concurrent use. The caller closes it.
type Image struct {
	ref  imgref.ImageReference
	opts access.Options

	mu   sync.Mutex
	dir  string // for temporary files, if it is not empty
	dirs int    // how many directories were made in it
	// attached and simple are the signatures that were found for each document.
	attached, simple map[digest.Digest]*signatures
}

// Open prepares to judge an image. Signatures are looked for when they are needed. Without [Supported], the error is
// [ErrUnsupported].
func Open(_ context.Context, ref imgref.ImageReference, opts access.Options) (*Image, error) {
	if !Supported {
		return nil, ErrUnsupported
	}
	if err := opts.Check(); err != nil {
		return nil, err
	}
	return &Image{ref: ref, opts: opts,
		attached: map[digest.Digest]*signatures{}, simple: map[digest.Digest]*signatures{}}, nil
}

// Close removes what was stored meanwhile.
func (i *Image) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.dir == "" {
		return nil
	}
	dir := i.dir
	i.dir = ""
	return os.RemoveAll(dir)
}

var (
	// ErrDocument is wrapped by the error for a document that does not have the digest that it is said to have.
	ErrDocument = errors.New("the content does not have the digest that it was asked for by")
	// ErrTooMany is wrapped by errors about documents with so many signatures that none of them is judged.
	ErrTooMany = errors.New("too many signatures")
)

// A Finding is a signature that was found, and not accepted.
type Finding struct {
	// Reference and Digest are what the signature says that it signs. Nobody vouches for them unless Genuine is set.
	Reference string
	Digest    string
	// Genuine is set if the signature is by a key or an identity that the requirement names, and for this document, but
	// not for the reference that the requirement demands. OtherKey is set if it is by another key.
	Genuine, OtherKey bool
	// Reason says why it was not accepted.
	Reason string
}

// RefusedError is the error for a document that does not fulfil a requirement.
type RefusedError struct {
	Image imgref.ImageReference
	// Digest is that of the document, and On is "manifest" or "index".
	Digest      digest.Digest
	On          string
	Requirement policyjson.Requirement
	// Rule is what was given to [Image.Evaluate].
	Rule string
	// Looked says where signatures of the kind that the requirement asks for were looked for, if anywhere.
	Looked []string
	// Found are the signatures of that kind. There is none if the document is not signed.
	Found []Finding
	// Others is the number of other things that were found in the same place, such as attestations.
	Others int
	// Reason says why in a few words.
	Reason string
}

// Unsigned reports whether there is no signature of the kind that the requirement asks for.
func (e *RefusedError) Unsigned() bool {
	return len(e.Found) == 0 && e.Requirement.Type != policyjson.Reject
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s is refused by %s: of its %s %s, %s", e.Image, e.Rule, e.On, e.Digest, e.Reason)
}

// reasonUnsigned says that there is no signature.
func (e *RefusedError) reasonUnsigned() string {
	text := "there is no signature"
	switch {
	case len(e.Looked) > 0:
		text += " at " + strings.Join(e.Looked, " or ")
	case e.Image.Transport != imgref.Registry && e.Image.Transport != imgref.Dir:
		text += fmt.Sprintf(", because images of the transport %s have none", transportName(e.Image))
	default:
		text += ", because registries.d does not have any looked for"
	}
	if e.Others > 0 {
		text += fmt.Sprintf(" (there is something else: %d attachments that are not signatures of the image)", e.Others)
	}
	return text
}

// maxReasons is how many signatures an error tells about.
const maxReasons = 3

// reasonSigned says why none of the signatures counts.
func (e *RefusedError) reasonSigned() string {
	var reasons []string
	count := map[string]int{}
	for _, f := range e.Found {
		if count[f.Reason]++; count[f.Reason] == 1 {
			reasons = append(reasons, f.Reason)
		}
	}
	more := ""
	if len(reasons) > maxReasons {
		more = fmt.Sprintf("; and %d more reasons", len(reasons)-maxReasons)
		reasons = reasons[:maxReasons]
	}
	text := printable.Line(strings.Join(reasons, "; ")) + more
	if len(e.Found) == 1 {
		return "the signature is not accepted: " + text
	}
	return fmt.Sprintf("none of the %d signatures is accepted: %s", len(e.Found), text)
}

// signatures are the signatures of one kind that were found for a document.
type signatures struct {
	// looked says where they were looked for, and others counts what else is there.
	looked     []string
	others     int
	candidates []candidate
}

// A candidate is a signature that was found. Nothing in it is trusted.
type candidate struct {
	// image is the document with this signature alone. It is nil if there is a problem that says why the signature is
	// not judged.
	image   types.UnparsedImage
	problem string
	// simple is the signature, if GPG made it.
	simple []byte
	// claim is what is signed, as the signature says, and certificate that of the signer, in PEM.
	claim       claim
	certificate string
}

// claim is the part of a signed payload that says what is signed. Simple signatures and attachments have the same.
type claim struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
	} `json:"critical"`
}

// parseClaim returns what a payload says, or nothing.
func parseClaim(payload []byte) (c claim) {
	if json.Unmarshal(payload, &c) != nil {
		return claim{}
	}
	return c
}
