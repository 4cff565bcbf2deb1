package keyed

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/container/trust/pubkey"
)

// The types of requirements.
const (
	acceptAnything = "insecureAcceptAnything"
	reject         = "reject"
	sigstoreSigned = "sigstoreSigned"
)

// maxRequirements limits a list of requirements, and maxKeys the keys of one.
const maxRequirements, maxKeys = 100, 100

// requirement is an entry of a list in a policy.
type requirement struct {
	kind string
	// unsupported names what it asks for that is not evaluated here, or is empty.
	unsupported string
	keyPaths    []string
	keyDatas    [][]byte
	identity    identity

	// keys are those of keyPaths and keyDatas, once they were read.
	keys []pubkey.Key
}

// parseRequirements reads a list of requirements. where is its path in the document.
func parseRequirements(where string, data json.RawMessage) ([]requirement, error) {
	var entries []json.RawMessage
	if data == nil {
		return nil, fmt.Errorf("%s is missing", where)
	}
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("%s: a list is expected", where)
	}
	if n := len(entries); n == 0 || n > maxRequirements {
		return nil, fmt.Errorf("%s has %d requirements, and may have 1 to %d", where, n, maxRequirements)
	}
	list := make([]requirement, len(entries))
	for i, e := range entries {
		var err error
		if list[i], err = parseRequirement(fmt.Sprintf("%s[%d]", where, i), e); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func parseRequirement(where string, data json.RawMessage) (requirement, error) {
	members, err := object(where, data)
	if err != nil {
		return requirement{}, err
	}
	var q requirement
	if err := text(where, members, "type", &q.kind); err != nil {
		return q, err
	}
	switch q.kind {
	case acceptAnything, reject:
		_, err = object(where, data, "type")
	case sigstoreSigned:
		err = q.parseSigstoreSigned(where, data)
	default:
		q.unsupported = fmt.Sprintf("%.80q", q.kind)
	}
	return q, err
}

// Keys of sigstoreSigned that name keys, and those for which something else is needed.
var (
	keySources = []string{"keyPath", "keyPaths", "keyData", "keyDatas"}
	notKeys    = []string{
		"fulcio", "pki", "rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas",
	}
)

func (q *requirement) parseSigstoreSigned(where string, data json.RawMessage) error {
	known := append(append([]string{"type", "signedIdentity"}, keySources...), notKeys...)
	members, err := object(where, data, known...)
	if err != nil {
		return err
	}
	for _, k := range notKeys {
		if members[k] != nil {
			q.unsupported = sigstoreSigned + " with " + k
			return nil
		}
	}
	sources := 0
	for _, k := range keySources {
		if members[k] == nil {
			continue
		}
		sources++
		if err := q.parseKeys(where, k, members[k]); err != nil {
			return err
		}
	}
	if sources != 1 {
		return fmt.Errorf("%s has %d of %s, and needs one", where, sources, strings.Join(keySources, ", "))
	}
	q.identity, err = parseIdentity(where+".signedIdentity", members["signedIdentity"])
	return err
}

// parseKeys reads one of the ways to name keys.
func (q *requirement) parseKeys(where, key string, value json.RawMessage) error {
	var err error
	switch key {
	case "keyPath":
		q.keyPaths = make([]string, 1)
		err = json.Unmarshal(value, &q.keyPaths[0])
	case "keyPaths":
		err = json.Unmarshal(value, &q.keyPaths)
	case "keyData":
		q.keyDatas = make([][]byte, 1)
		err = json.Unmarshal(value, &q.keyDatas[0])
	case "keyDatas":
		err = json.Unmarshal(value, &q.keyDatas)
	}
	n := len(q.keyPaths) + len(q.keyDatas)
	for _, p := range q.keyPaths {
		if p == "" {
			n = 0
		}
	}
	for _, d := range q.keyDatas {
		if len(d) == 0 {
			n = 0
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s.%s: %w", where, key, errValue)
	case n == 0:
		return fmt.Errorf("%s.%s: a key is missing", where, key)
	case n > maxKeys:
		return fmt.Errorf("%s.%s: there are more than %d keys", where, key, maxKeys)
	}
	return nil
}

// errValue is wrapped by errors about the type of a value.
var errValue = errors.New("it has a value of another type")

// text reads a member that is a string with characters in it.
func text(where string, members map[string]json.RawMessage, key string, to *string) error {
	if members[key] == nil {
		return fmt.Errorf("%s: %s is missing", where, key)
	}
	if err := json.Unmarshal(members[key], to); err != nil {
		return fmt.Errorf("%s.%s: %w", where, key, errValue)
	}
	if *to == "" {
		return fmt.Errorf("%s.%s is empty", where, key)
	}
	return nil
}
