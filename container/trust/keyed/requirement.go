package keyed

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/container/trust/pubkey"
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

// newRequirements checks what package policyjson leaves to those who judge.
func newRequirements(where string, says []policyjson.Requirement) ([]requirement, error) {
	if len(says) > maxRequirements {
		return nil, fmt.Errorf("%s has %d requirements, and may have %d", where, len(says), maxRequirements)
	}
	list := make([]requirement, len(says))
	for i, q := range says {
		var err error
		if list[i], err = newRequirement(q); err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", where, i, err)
		}
	}
	return list, nil
}

func newRequirement(says policyjson.Requirement) (requirement, error) {
	q := requirement{kind: says.Type, unsupported: unsupported(says)}
	if q.kind != policyjson.SigstoreSigned || q.unsupported != "" {
		return q, nil
	}
	q.keyPaths, q.keyDatas = says.KeyPaths, says.KeyDatas
	empty := slices.Contains(q.keyPaths, "") || slices.ContainsFunc(q.keyDatas, func(d []byte) bool { return len(d) == 0 })
	switch n := len(q.keyPaths) + len(q.keyDatas); {
	case n == 0 || empty:
		return q, errors.New("a key is missing")
	case n > maxKeys:
		return q, fmt.Errorf("there are more than %d keys", maxKeys)
	}
	var err error
	q.identity, err = newIdentity(says.Identity)
	return q, err
}

// unsupported says what a requirement asks for that keys alone cannot fulfil, or is empty.
func unsupported(q policyjson.Requirement) string {
	var with string
	switch {
	case q.Type == policyjson.AcceptAnything || q.Type == policyjson.Reject:
		return ""
	case q.Type != policyjson.SigstoreSigned:
		return fmt.Sprintf("%q", q.Type)
	case q.Fulcio != nil:
		with = "fulcio"
	case q.PKI != nil:
		with = "pki"
	case len(q.RekorKeyPaths) > 0 || len(q.RekorKeyDatas) > 0:
		with = "rekorPublicKey…"
	default:
		return ""
	}
	return q.Type + " with " + with
}
