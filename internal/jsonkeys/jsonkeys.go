// Package jsonkeys finds JSON documents that two readers would understand in two ways, because a key is there twice, or
// in another case than the one that is meant: some readers take the first key and some the last, and some do not tell
// cases apart.
package jsonkeys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
)

// ErrAmbiguous is wrapped by errors about such documents.
var ErrAmbiguous = errors.New("ambiguous JSON")

// maxDepth bounds how deep documents are nested.
const maxDepth = 200

// A Schema lists the keys that a format has in each object, by the object's path: the keys above it, each with a dot,
// and [] for the elements of an array. The key "*" stands for a map, whose keys are free and told apart by case.
type Schema map[string][]string

// Check reports keys of a document that are there twice, that differ in case alone, or that differ in case from those
// of the schema. A document that is not JSON is left to its reader. The error wraps [ErrAmbiguous].
func Check(data []byte, s Schema) error {
	c := checker{dec: json.NewDecoder(bytes.NewReader(data)), schema: s}
	c.dec.UseNumber()
	err := c.value("", 0)
	if errors.Is(err, ErrAmbiguous) {
		return err
	}
	return nil
}

// Decode reads a document of a format that has only the keys of the schema. Other keys, text that is not UTF-8 and
// whatever follows the document are errors, and so is what [Check] reports.
func Decode(data []byte, s Schema, to any) error {
	if !utf8.Valid(data) {
		return errors.New("it is not UTF-8")
	}
	if err := Check(data, s); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(to); err != nil {
		return jsonplace.Explain(data, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return jsonplace.At(data, dec.InputOffset(), "", "something follows the document")
	}
	return nil
}

type checker struct {
	dec    *json.Decoder
	schema Schema
}

// value reads a value at a path.
func (c *checker) value(path string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: more than %d levels deep", ErrAmbiguous, maxDepth)
	}
	token, err := c.dec.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		err = c.object(path, depth)
	case json.Delim('['):
		for c.dec.More() && err == nil {
			err = c.value(path+"[]", depth+1)
		}
	default:
		return nil
	}
	if err != nil {
		return err
	}
	_, err = c.dec.Token() // what closes it
	return err
}

// foldCase maps spellings that differ in case alone to one, as readers do that take no heed of it.
func foldCase(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, s)
}

func (c *checker) object(path string, depth int) error {
	fold := foldCase
	known := map[string]string{}
	for _, k := range c.schema[path] {
		if k == "*" {
			fold = func(s string) string { return s }
			continue
		}
		known[fold(k)] = k
	}
	seen := map[string]string{}
	for c.dec.More() {
		token, err := c.dec.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return io.ErrUnexpectedEOF
		}
		folded := fold(key)
		if other, ok := seen[folded]; ok {
			return fmt.Errorf("%w: the keys %.80q and %.80q in one object", ErrAmbiguous, other, key)
		}
		seen[folded] = key
		if want, ok := known[folded]; ok && want != key {
			return fmt.Errorf("%w: the key %.80q, which is written %q", ErrAmbiguous, key, want)
		}
		if err := c.value(path+"."+key, depth+1); err != nil {
			return err
		}
	}
	return nil
}
