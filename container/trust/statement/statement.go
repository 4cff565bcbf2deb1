// Package statement makes and reads the in-toto statement in which cosign 3 signs an image. It says nothing but the
// digest of the image's manifest or index. Who signed it is left to the packages that verify: bundle for keys, and
// keyless for identities. The format is that of
// https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md.
package statement

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

const (
	// PayloadType is the type of a statement as the payload of an envelope.
	PayloadType = "application/vnd.in-toto+json"
	// PredicateType is the type of the predicate in a statement that signs an image.
	PredicateType = "https://sigstore.dev/cosign/sign/v1"

	statementType = "https://in-toto.io/Statement/v1"
)

var (
	// ErrAttestation is wrapped by errors about statements that say something else about the image.
	ErrAttestation = errors.New("it is an attestation, not a signature")
	// ErrOtherSubject is wrapped by errors about statements that sign other images.
	ErrOtherSubject = errors.New("it is for another image")
)

// SubjectError is the error for a signature of other images. It wraps [ErrOtherSubject].
type SubjectError struct {
	Want digest.Digest
	// Have are the digests that are signed.
	Have []digest.Digest
}

// Error implements error.
func (e *SubjectError) Error() string {
	switch len(e.Have) {
	case 0:
		return fmt.Sprintf("%v: it names no SHA-256", ErrOtherSubject)
	case 1:
		return fmt.Sprintf("%v, %s", ErrOtherSubject, printable.Short(string(e.Have[0])))
	}
	return fmt.Sprintf("%v, %s and %d more", ErrOtherSubject, printable.Short(string(e.Have[0])), len(e.Have)-1)
}

// Unwrap returns [ErrOtherSubject].
func (e *SubjectError) Unwrap() error { return ErrOtherSubject }

// statement is the JSON form.
type statement struct {
	Type          string          `json:"_type"`
	Subject       []subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

type subject struct {
	Name             string            `json:"name"`
	URI              string            `json:"uri"`
	Digest           map[string]string `json:"digest"`
	Content          string            `json:"content"`
	DownloadLocation string            `json:"downloadLocation"`
	MediaType        string            `json:"mediaType"`
	Annotations      map[string]any    `json:"annotations"`
}

var schema = jsonkeys.Schema{
	"":                  {"_type", "subject", "predicateType", "predicate"},
	".subject[]":        {"name", "uri", "digest", "content", "downloadLocation", "mediaType", "annotations"},
	".subject[].digest": {"*"}, ".subject[].annotations": {"*"}, ".predicate": {"*"},
}

// New returns the statement that signs an image, whose digest must be a SHA-256. The bytes are those that cosign signs.
func New(image digest.Digest) []byte {
	return fmt.Appendf(nil, `{"_type":%q,"subject":[{"digest":{"sha256":%q},"annotations":{}}],"predicateType":%q,`+
		`"predicate":{}}`, statementType, image.Encoded(), PredicateType)
}

// Check returns an error unless a document is a statement that signs an image, whose digest must be a SHA-256. If the
// statement has several subjects, one has to be the image. Names of subjects, annotations and the predicate are not
// looked at. The error wraps [ErrAttestation] if the statement is good for another purpose, and [ErrOtherSubject] if it
// signs another image.
func Check(data []byte, image digest.Digest) error {
	var s statement
	if err := jsonkeys.Decode(data, schema, &s); err != nil {
		return fmt.Errorf("statement of the bundle: %w", err)
	}
	if s.PredicateType != PredicateType {
		return fmt.Errorf("%w: its predicate is of type %s", ErrAttestation, printable.Short(s.PredicateType))
	}
	if s.Type != statementType {
		return fmt.Errorf("%w: its statement is of type %.80q instead of %s", ErrAttestation, s.Type, statementType)
	}
	for _, have := range s.Subject {
		if have.Digest[digest.SHA256.String()] == image.Encoded() {
			return nil
		}
	}
	return &SubjectError{Want: image, Have: named(s.Subject)}
}

// named returns the digests of subjects, for a message.
func named(all []subject) []digest.Digest {
	var have []digest.Digest
	for _, s := range all {
		d := digest.NewDigestFromEncoded(digest.SHA256, s.Digest[digest.SHA256.String()])
		if d.Validate() == nil {
			have = append(have, d)
		}
	}
	return have
}
