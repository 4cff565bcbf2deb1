package sign

import (
	"bytes"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// maxSignatures bounds how many signatures of one engine are looked at. Each may cost a public-key operation for each
// key, and a hash over the commit.
const maxSignatures = 100

var errTooMany = fmt.Errorf("%w: there are more than %d signatures", ErrBadSignature, maxSignatures)

// metadata is the detached metadata of a commit: an a{sv}, in which each engine has a list of type aay.
type metadata struct{ dict gvariant.Dict }

// parseMetadata parses detached metadata.
func parseMetadata(data []byte) (metadata, error) {
	if len(data) > object.MaxMetadataSize {
		return metadata{}, fmt.Errorf("%w: detached metadata of %d bytes are more than %d",
			ErrBadSignature, len(data), object.MaxMetadataSize)
	}
	dict, err := gvariant.ParseDict(data)
	if err != nil {
		return metadata{}, fmt.Errorf("%w: detached metadata: %w", ErrBadSignature, err)
	}
	return metadata{dict}, nil
}

// has reports whether there is a list of signatures, even an empty one. A value of another type is none.
func (m metadata) has(key string) bool {
	v, ok := m.dict.Lookup(key)
	return ok && v.Type() == "aay"
}

// list returns the signatures of an engine.
func (m metadata) list(key string) (list [][]byte, err error) {
	v, _ := m.dict.Lookup(key)
	if !m.has(key) {
		return nil, nil
	}
	for e, err := range v.Elements() {
		var sig []byte
		if err == nil {
			sig, err = e.ByteArray()
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrBadSignature, key, err)
		}
		if len(list) == maxSignatures {
			return nil, fmt.Errorf("%s: %w", key, errTooMany)
		}
		list = append(list, sig)
	}
	return list, nil
}

// with returns the metadata with another list of signatures of an engine. An empty list removes the key.
func (m metadata) with(key string, list [][]byte) (metadata, error) {
	if len(list) == 0 {
		return metadata{m.dict.Remove(key)}, nil
	}
	values := make([]gvariant.Value, len(list))
	for i, sig := range list {
		values[i] = gvariant.ByteArray(sig)
	}
	v, err := gvariant.Array("ay", values...)
	return metadata{m.dict.Set(key, v)}, err
}

// encode returns the bytes of the metadata in normal form.
func (m metadata) encode() ([]byte, error) {
	return object.NormalizeMetadata(object.TypeCommitMeta, m.dict.Encode())
}

// added returns a list with a signature in it. It takes the place of the first one that it replaces; others that it
// replaces are dropped.
func added(list [][]byte, made []byte, replaces func(old []byte) bool) [][]byte {
	out := make([][]byte, 0, len(list)+1)
	placed := false
	for _, old := range list {
		if !bytes.Equal(old, made) && !replaces(old) {
			out = append(out, old)
		} else if !placed {
			out, placed = append(out, made), true
		}
	}
	if !placed {
		out = append(out, made)
	}
	return out
}
