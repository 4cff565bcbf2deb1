// Package jsonplace says where in a JSON document a mistake is and what is expected there, in words for the person who
// wrote the document. The errors of encoding/json give the names of Go types instead.
package jsonplace

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"
	"unicode/utf8"
)

// Error is a mistake at a place in a document.
type Error struct {
	// Line and Column are counted from 1, the column in characters.
	Line, Column int
	// Key is the path of the value, such as "layers.size", or empty.
	Key string
	// Why says what is wrong.
	Why string
	// Err is the cause, or nil.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Key != "" {
		return fmt.Sprintf("line %d, column %d: %s: %s", e.Line, e.Column, e.Key, e.Why)
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Why)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// At returns an error for the key or value that begins at an offset in bytes, after white space and punctuation.
func At(data []byte, offset int64, key, why string) *Error {
	return place(data, begin(data, offset), key, why)
}

// begin skips what may precede a key or a value.
func begin(data []byte, offset int64) int64 {
	for offset < int64(len(data)) && bytes.IndexByte([]byte(" \t\r\n,:"), data[offset]) >= 0 {
		offset++
	}
	return offset
}

func place(data []byte, offset int64, key, why string) *Error {
	before := data[:max(0, min(offset, int64(len(data))))]
	return &Error{
		Line:   bytes.Count(before, []byte("\n")) + 1,
		Column: utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1,
		Key:    key, Why: why,
	}
}

// Unmarshal is like [json.Unmarshal], with the errors of [Explain].
func Unmarshal(data []byte, v any) error { return Explain(data, json.Unmarshal(data, v)) }

// Explain returns an error of decoding data with the place in it, and with words for Go types. It returns other errors
// as they are.
func Explain(data []byte, err error) error {
	var e *Error
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		e = place(data, max(0, syntax.Offset-1), "", "this is not JSON: "+syntax.Error())
	} else if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		e = At(data, lastValueBefore(data, kind.Offset), kind.Field,
			expected(kind.Type)+" is expected, not "+found(kind.Value))
	} else if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		e = place(data, int64(len(data)), "", "this is not JSON: it ends too early")
	} else {
		return err
	}
	e.Err = err
	return e
}

// lastValueBefore returns the offset at which the last value begins that begins before an offset.
func lastValueBefore(data []byte, offset int64) int64 {
	dec := json.NewDecoder(bytes.NewReader(data))
	var last int64
	for {
		start := begin(data, dec.InputOffset())
		if start >= offset {
			return last
		}
		if _, err := dec.Token(); err != nil {
			return last
		}
		last = start
	}
}

// Value returns the offset of the value that a key has in the object that data is, or 0 if there is none.
func Value(data []byte, key string) int64 {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return 0
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return 0
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return 0
		}
		if name == key {
			return dec.InputOffset() - int64(len(value))
		}
	}
	return 0
}

// expected returns words for the values that a type takes.
func expected(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[time.Time]() {
		return "a time such as 2026-01-02T03:04:05Z"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.String {
			return "a list of strings"
		}
		return "a list"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Struct, reflect.Map:
		if t.Kind() == reflect.Map && t.Elem().Kind() == reflect.String {
			return "an object of strings"
		}
		return "an object"
	}
	if t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uintptr {
		return "a whole number that is not negative"
	}
	return "a whole number"
}

// found returns words for a value, from those of encoding/json.
func found(value string) string {
	switch value {
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "bool":
		return "true or false"
	case "string", "number":
		return "a " + value
	}
	return value // "number 1.5"
}
