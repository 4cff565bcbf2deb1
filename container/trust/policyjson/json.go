package policyjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
)

// value is a value in a JSON document. Errors about it tell where it is.
type value struct {
	doc []byte
	raw json.RawMessage
	// at is the offset in doc, and key the path of keys.
	at  int64
	key string
}

func (v value) errorf(format string, args ...any) error {
	return jsonplace.At(v.doc, v.at, v.key, fmt.Sprintf(format, args...))
}

// root returns the value that a document has. There is nothing after it.
func root(doc []byte) (value, error) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return value{}, jsonplace.Explain(doc, err)
	}
	v := value{doc: doc, raw: raw, at: dec.InputOffset() - int64(len(raw))}
	if _, err := dec.Token(); err != io.EOF {
		return value{}, jsonplace.At(doc, dec.InputOffset(), "", "there is more after the end of the JSON value")
	}
	return v, nil
}

// member returns the value below a key, which is a part of v.
func (v value) member(key string, raw json.RawMessage, end int64) value {
	path := key
	if v.key != "" {
		path = v.key + "." + key
	}
	return value{doc: v.doc, raw: raw, at: v.at + end - int64(len(raw)), key: path}
}

// object returns the members of an object. Keys that are there twice are an error.
func (v value) object() (map[string]value, error) {
	dec := json.NewDecoder(bytes.NewReader(v.raw))
	if token, err := dec.Token(); err != nil || token != json.Delim('{') {
		return nil, v.errorf("an object is expected")
	}
	members := map[string]value{}
	for dec.More() {
		at := dec.InputOffset()
		token, err := dec.Token()
		key, ok := token.(string)
		if err != nil || !ok {
			return nil, v.errorf("an object is expected")
		}
		if _, ok := members[key]; ok {
			return nil, jsonplace.At(v.doc, v.at+at, v.key, fmt.Sprintf("the key %.80q is there twice", key))
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, v.errorf("an object is expected")
		}
		members[key] = v.member(key, raw, dec.InputOffset())
	}
	return members, nil
}

// fields returns the members of an object that may have only some.
func (v value) fields(known ...string) (map[string]value, error) {
	members, err := v.object()
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(members)) {
		if slices.Contains(known, key) {
			continue
		}
		hint := ""
		for _, k := range known {
			if strings.EqualFold(k, key) {
				hint = fmt.Sprintf(": it is written %q", k)
			}
		}
		return nil, members[key].errorf("there is no such key%s", hint)
	}
	return members, nil
}

// elements returns the elements of an array.
func (v value) elements() ([]value, error) {
	dec := json.NewDecoder(bytes.NewReader(v.raw))
	if token, err := dec.Token(); err != nil || token != json.Delim('[') {
		return nil, v.errorf("an array is expected")
	}
	var all []value
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, v.errorf("an array is expected")
		}
		e := v.member(fmt.Sprintf("[%d]", len(all)), raw, dec.InputOffset())
		e.key = fmt.Sprintf("%s[%d]", v.key, len(all))
		all = append(all, e)
	}
	return all, nil
}

// decode reads a string, a list of strings, or base64 text. It sets nothing if the value was not there.
func (v value) decode(to any) error {
	if v.doc == nil {
		return nil
	}
	if string(v.raw) == "null" {
		return v.errorf("null is not a value for it")
	}
	if err := json.Unmarshal(v.raw, to); err != nil {
		return v.errorf("%s is expected", expected(to))
	}
	return nil
}

func expected(to any) string {
	switch to.(type) {
	case *string:
		return "a string"
	case *[]string:
		return "a list of strings"
	case *[]byte:
		return "base64 text"
	default:
		return "a list of base64 texts"
	}
}
