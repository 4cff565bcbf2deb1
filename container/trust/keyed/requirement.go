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
	// fulcio and pki are set instead of keys.
	fulcio *policyjson.Fulcio
	pki    *policyjson.PKI
	// logPaths and logDatas are keys of logs.
	logPaths []string
	logDatas [][]byte
	identity identity
	// files are all files that it names.
	files []string

	// What follows is there once it was read: the keys of keyPaths and keyDatas, those of logs, and the authority.
	keys, logs []pubkey.Key
	authority  *authority
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
	q := requirement{kind: says.Type, unsupported: unsupported(says), files: says.Files()}
	if q.kind != policyjson.SigstoreSigned || q.unsupported != "" {
		return q, nil
	}
	q.keyPaths, q.keyDatas, q.logPaths, q.logDatas = says.KeyPaths, says.KeyDatas, says.RekorKeyPaths, says.RekorKeyDatas
	q.fulcio, q.pki = says.Fulcio, says.PKI
	paths, datas := slices.Concat(q.keyPaths, q.logPaths), slices.Concat(q.keyDatas, q.logDatas)
	empty := slices.Contains(paths, "") || slices.ContainsFunc(datas, func(d []byte) bool { return len(d) == 0 })
	switch n := len(q.keyPaths) + len(q.keyDatas); {
	case n == 0 && q.fulcio == nil && q.pki == nil || empty:
		return q, errors.New("a key is missing")
	case len(paths)+len(datas) > maxKeys:
		return q, fmt.Errorf("there are more than %d keys", maxKeys)
	}
	var err error
	q.identity, err = newIdentity(says.Identity)
	return q, err
}

// unsupported says what a requirement asks for that attachments cannot fulfil, or is empty.
func unsupported(q policyjson.Requirement) string {
	switch q.Type {
	case policyjson.AcceptAnything, policyjson.Reject, policyjson.SigstoreSigned:
		return ""
	}
	return fmt.Sprintf("%q", q.Type)
}

// read reads the keys and certificates that a requirement names. read returns the content of a file.
func (q *requirement) read(read func(file string) ([]byte, error)) (err error) {
	if q.keys, err = readKeys(q.keyPaths, q.keyDatas, read, parseKey); err != nil {
		return err
	}
	if q.logs, err = readKeys(q.logPaths, q.logDatas, read, parseLogKey); err != nil {
		return err
	}
	if q.fulcio != nil || q.pki != nil {
		q.authority, err = newAuthority(q, read)
	}
	return err
}

func readKeys(
	paths []string, datas [][]byte, read func(file string) ([]byte, error), parse func([]byte) (pubkey.Key, error),
) (keys []pubkey.Key, err error) {
	for n, data := range datas {
		k, err := parse(data)
		if err != nil {
			return nil, fmt.Errorf("key %d in the policy itself: %w", n+1, err)
		}
		keys = append(keys, k)
	}
	for _, file := range paths {
		data, err := read(file)
		if err != nil {
			return nil, err
		}
		k, err := parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		k.File = file
		keys = append(keys, k)
	}
	return keys, nil
}
