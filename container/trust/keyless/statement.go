package keyless

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
)

// The kinds of documents, see https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. The predicate type
// is cosign's.
const (
	payloadType   = "application/vnd.in-toto+json"
	statementType = "https://in-toto.io/Statement/v1"
	predicateType = "https://sigstore.dev/cosign/sign/v1"
)

// statementKeys are the keys of a statement that have a meaning here.
var statementKeys = jsonkeys.Schema{
	"":                  {"_type", "subject", "predicateType", "predicate"},
	".subject[]":        {"digest", "annotations"},
	".subject[].digest": {"*"}, ".subject[].annotations": {"*"}, ".predicate": {"*"},
}

// statement is an in-toto statement as far as it is read.
type statement struct {
	Type    string `json:"_type"`
	Subject []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
	PredicateType string `json:"predicateType"`
}

// checkStatement checks that a payload says that the image with a digest was signed.
func checkStatement(payload []byte, subject digest.Digest) error {
	if err := jsonkeys.Check(payload, statementKeys); err != nil {
		return because(ErrBundle, fmt.Errorf("the statement: %w", err))
	}
	var s statement
	if err := json.Unmarshal(payload, &s); err != nil {
		return because(ErrBundle, fmt.Errorf("the statement: %w", err))
	}
	if s.Type != statementType || s.PredicateType != predicateType {
		return fmt.Errorf("%w: it is %.200q with the predicate %.200q", ErrPredicate, s.Type, s.PredicateType)
	}
	for _, sub := range s.Subject {
		if sub.Digest["sha256"] == subject.Encoded() {
			return nil
		}
	}
	return fmt.Errorf("%w: %s is not among its %d subjects", ErrDigest, subject, len(s.Subject))
}

// newStatement returns the payload that cosign 3 signs for an image.
func newStatement(subject digest.Digest) []byte {
	return fmt.Appendf(nil, `{"_type":%q,"subject":[{"digest":{"sha256":%q},"annotations":{}}],"predicateType":%q,`+
		`"predicate":{}}`, statementType, subject.Encoded(), predicateType)
}
