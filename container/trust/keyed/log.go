package keyed

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ostree-ext/ostree-ext-go/container/trust/pubkey"
	"github.com/ostree-ext/ostree-ext-go/internal/canonjson"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
)

// logAnnotation has what a log of Rekor 1 promises about a signature, as cosign's specification of signatures says.
const logAnnotation = "dev.sigstore.cosign/bundle"

// maxEntry limits that annotation in bytes.
const maxEntry = 256 << 10

// The keys of a promise, of what it is about, and of the entry of type hashedrekord in the log.
var (
	promiseKeys = jsonkeys.Schema{
		"": {"SignedEntryTimestamp", "Payload"}, ".Payload": {"body", "integratedTime", "logIndex", "logID"},
	}
	entryKeys = jsonkeys.Schema{
		"": {"apiVersion", "kind", "spec"}, ".spec": {"data", "signature"}, ".spec.data": {"hash"},
		".spec.data.hash": {"algorithm", "value"}, ".spec.signature": {"content", "publicKey"},
		".spec.signature.publicKey": {"content"},
	}
)

// errPromise means that a promise does not have what it needs.
var errPromise = errors.New("what the log says does not have all of its keys")

// recorded returns when one of the logs recorded that a signature of a payload was made with a key or a certificate,
// which is given in DER. said is what the signature claims that a log promises.
func recorded(logs []pubkey.Key, said string, der, signature, payload []byte) (at time.Time, err error) {
	if said == "" {
		return at, errors.New("no log has recorded it")
	}
	if len(said) > maxEntry {
		return at, errors.New("what the log says is too large")
	}
	var promise struct {
		SignedEntryTimestamp []byte
		Payload              json.RawMessage
	}
	if err := jsonkeys.Decode([]byte(said), promiseKeys, &promise); err != nil {
		return at, fmt.Errorf("what the log says: %w", err)
	}
	if promise.Payload == nil {
		return at, errPromise
	}
	// The log signs the canonical form, which is read, too.
	canonical, err := canonjson.Canonicalize(promise.Payload)
	if err != nil {
		return at, fmt.Errorf("what the log says: %w", err)
	}
	if !slices.ContainsFunc(logs, func(k pubkey.Key) bool {
		return signedBy(k, canonical, promise.SignedEntryTimestamp)
	}) {
		return at, errors.New("none of the logs has recorded it: the signature of the log does not match")
	}
	var about struct {
		Body           []byte  `json:"body"`
		IntegratedTime *int64  `json:"integratedTime"`
		LogIndex       *int64  `json:"logIndex"`
		LogID          *string `json:"logID"`
	}
	if err := jsonkeys.Decode(canonical, jsonkeys.Schema{"": promiseKeys[".Payload"]}, &about); err != nil {
		return at, fmt.Errorf("what the log says: %w", err)
	}
	if about.Body == nil || about.IntegratedTime == nil || about.LogIndex == nil || about.LogID == nil {
		return at, errPromise
	}
	if err := checkEntry(about.Body, der, signature, payload); err != nil {
		return at, fmt.Errorf("the entry of the log: %w", err)
	}
	return time.Unix(*about.IntegratedTime, 0), nil
}

// checkEntry checks that an entry of a log is about a signature.
func checkEntry(body, der, signature, payload []byte) error {
	var entry struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			Data struct {
				Hash struct {
					Algorithm string `json:"algorithm"`
					Value     string `json:"value"`
				} `json:"hash"`
			} `json:"data"`
			Signature struct {
				Content   []byte `json:"content"`
				PublicKey struct {
					Content []byte `json:"content"`
				} `json:"publicKey"`
			} `json:"signature"`
		} `json:"spec"`
	}
	if err := jsonkeys.Decode(body, entryKeys, &entry); err != nil {
		return err
	}
	if entry.Kind != "hashedrekord" || entry.APIVersion != "0.0.1" {
		return fmt.Errorf("it is a %.80q of version %.80q, and only a hashedrekord of version 0.0.1 is known", entry.Kind,
			entry.APIVersion)
	}
	hash := entry.Spec.Data.Hash
	sum := sha256.Sum256(payload)
	value, err := hex.DecodeString(hash.Value)
	block, rest := pem.Decode(entry.Spec.Signature.PublicKey.Content)
	switch {
	case block == nil || len(rest) > 0:
		return errors.New("it does not have one key or certificate in PEM form")
	case !bytes.Equal(block.Bytes, der):
		return errors.New("it is about another key or certificate")
	case !bytes.Equal(entry.Spec.Signature.Content, signature):
		return errors.New("it is about another signature")
	case hash.Algorithm != "sha256" || err != nil || !bytes.Equal(value, sum[:]):
		return errors.New("it is about another payload")
	}
	return nil
}

// parseLogKey reads the key of a log, which is one of ECDSA.
func parseLogKey(data []byte) (pubkey.Key, error) {
	k, err := parseKey(data)
	if err != nil {
		return k, err
	}
	if _, ok := k.Public.(*ecdsa.PublicKey); !ok {
		return k, errors.New("it is not a key of ECDSA, as logs have")
	}
	return k, nil
}
