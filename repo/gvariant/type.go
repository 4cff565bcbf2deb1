package gvariant

import (
	"errors"
	"fmt"
	"strings"
)

// Errors about types and bytes. They are returned wrapped, with what is wrong.
var (
	// ErrType says that a string is not a valid type, or that a value has another type than the one asked for.
	ErrType = errors.New("invalid type")
	// ErrFormat says that bytes are not a serialised value of their type.
	ErrFormat = errors.New("invalid value")
)

// maxDepth bounds the nesting of containers, in types and through variants.
const maxDepth = 64

// kind is the kind of a type.
type kind uint8

const (
	kindBasic  kind = iota // numbers and booleans
	kindString             // s, o, g
	kindVariant
	kindArray
	kindMaybe
	kindTuple // tuples and dictionary entries
)

// typeInfo is a parsed type. It is immutable and shared by the values of the type.
type typeInfo struct {
	text    string
	kind    kind
	align   int // power of two
	fixed   int // size in bytes, 0 when it depends on the value
	members []*typeInfo
}

// basics are the basic types by their letters.
var basics = map[byte]typeInfo{
	'y': {text: "y", align: 1, fixed: 1}, 'b': {text: "b", align: 1, fixed: 1},
	'n': {text: "n", align: 2, fixed: 2}, 'q': {text: "q", align: 2, fixed: 2},
	'i': {text: "i", align: 4, fixed: 4}, 'u': {text: "u", align: 4, fixed: 4}, 'h': {text: "h", align: 4, fixed: 4},
	'x': {text: "x", align: 8, fixed: 8}, 't': {text: "t", align: 8, fixed: 8}, 'd': {text: "d", align: 8, fixed: 8},
	's': {text: "s", align: 1, kind: kindString}, 'o': {text: "o", align: 1, kind: kindString},
	'g': {text: "g", align: 1, kind: kindString}, 'v': {text: "v", align: 8, kind: kindVariant},
}

// parseType parses a string that must be exactly one complete type.
func parseType(s string) (*typeInfo, error) {
	if len(s) > 1<<12 {
		return nil, fmt.Errorf("%w: of %d characters", ErrType, len(s))
	}
	t, rest, err := parseTypePrefix(s, 0)
	if err != nil {
		return nil, fmt.Errorf("%w in %q", err, s)
	}
	if rest != "" {
		return nil, fmt.Errorf("%w: %q after the end of %q", ErrType, rest, t.text)
	}
	return t, nil
}

func parseTypePrefix(s string, depth int) (*typeInfo, string, error) {
	if s == "" {
		return nil, "", fmt.Errorf("%w: it ends early", ErrType)
	}
	if depth > maxDepth {
		return nil, "", fmt.Errorf("%w: nested more than %d deep", ErrType, maxDepth)
	}
	if b, ok := basics[s[0]]; ok {
		return &b, s[1:], nil
	}
	switch s[0] {
	case 'a', 'm':
		elem, rest, err := parseTypePrefix(s[1:], depth+1)
		if err != nil {
			return nil, "", err
		}
		t := &typeInfo{text: s[:len(s)-len(rest)], kind: kindArray, align: elem.align, members: []*typeInfo{elem}}
		if s[0] == 'm' {
			t.kind = kindMaybe
		}
		return t, rest, nil
	case '(', '{':
		return parseTuple(s, depth)
	}
	return nil, "", fmt.Errorf("%w: unknown letter %q", ErrType, s[0])
}

func parseTuple(s string, depth int) (*typeInfo, string, error) {
	end := byte(')')
	if s[0] == '{' {
		end = '}'
	}
	t := &typeInfo{kind: kindTuple, align: 1}
	rest := s[1:]
	for {
		if rest == "" {
			return nil, "", fmt.Errorf("%w: no %q", ErrType, end)
		}
		if rest[0] == end {
			rest = rest[1:]
			break
		}
		m, r, err := parseTypePrefix(rest, depth+1)
		if err != nil {
			return nil, "", err
		}
		t.members, rest = append(t.members, m), r
		t.align = max(t.align, m.align)
	}
	if end == '}' && (len(t.members) != 2 || !strings.Contains("ybnqiuxthdsog", t.members[0].text)) {
		return nil, "", fmt.Errorf("%w: a dictionary entry has a basic key and a value", ErrType)
	}
	t.text = s[:len(s)-len(rest)]
	t.fixed = fixedTupleSize(t)
	return t, rest, nil
}

// fixedTupleSize returns the size of a tuple, padded to its alignment, or 0 if the size of a member varies.
func fixedTupleSize(t *typeInfo) int {
	if len(t.members) == 0 {
		return 1
	}
	size := 0
	for _, m := range t.members {
		if m.fixed == 0 {
			return 0
		}
		size = alignUp(size, m.align) + m.fixed
	}
	return alignUp(size, t.align)
}

func alignUp(n, align int) int { return (n + align - 1) &^ (align - 1) }
