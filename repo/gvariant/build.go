package gvariant

import (
	"encoding/binary"
	"fmt"
	"math"
)

func basic(letter byte, data []byte) Value {
	t := basics[letter]
	return Value{&t, data}
}

// Byte makes a value of type y.
func Byte(b byte) Value { return basic('y', []byte{b}) }

// Bool makes a value of type b.
func Bool(b bool) Value {
	if b {
		return basic('b', []byte{1})
	}
	return basic('b', []byte{0})
}

// Uint16 makes a value of type q, little-endian.
func Uint16(n uint16) Value { return basic('q', binary.LittleEndian.AppendUint16(nil, n)) }

// Int16 makes a value of type n, little-endian.
func Int16(n int16) Value { return basic('n', binary.LittleEndian.AppendUint16(nil, uint16(n))) }

// Uint32 makes a value of type u, little-endian.
func Uint32(n uint32) Value { return basic('u', binary.LittleEndian.AppendUint32(nil, n)) }

// Int32 makes a value of type i, little-endian.
func Int32(n int32) Value { return basic('i', binary.LittleEndian.AppendUint32(nil, uint32(n))) }

// Uint64 makes a value of type t, little-endian.
func Uint64(n uint64) Value { return basic('t', binary.LittleEndian.AppendUint64(nil, n)) }

// Int64 makes a value of type x, little-endian.
func Int64(n int64) Value { return basic('x', binary.LittleEndian.AppendUint64(nil, uint64(n))) }

// Double makes a value of type d, little-endian.
func Double(f float64) Value {
	return basic('d', binary.LittleEndian.AppendUint64(nil, math.Float64bits(f)))
}

// String makes a value of type s. The text must be UTF-8 without NUL, which [Value.Validate] checks.
func String(s string) Value { return basic('s', append([]byte(s), 0)) }

// ByteArray makes a value of type ay. It keeps b, which must not change.
func ByteArray(b []byte) Value { return Value{byteArrayType, b} }

var (
	byteArrayType = mustType("ay")
	stringsType   = mustType("as")
	dictType      = mustType("a{sv}")
)

func mustType(s string) *typeInfo {
	t, err := parseType(s)
	if err != nil {
		panic(err)
	}
	return t
}

// Strings makes a value of type as.
func Strings(list []string) Value {
	elems := make([]Value, len(list))
	for i, s := range list {
		elems[i] = String(s)
	}
	return Value{stringsType, appendArray(nil, stringsType, elems)}
}

// Variant makes a value of type v that holds another.
func Variant(v Value) Value {
	data := make([]byte, 0, len(v.data)+1+len(v.t.text))
	data = append(append(append(data, v.data...), 0), v.t.text...)
	return basic('v', data)
}

// Tuple makes a tuple of the given members.
func Tuple(members ...Value) Value {
	text := "("
	for _, m := range members {
		text += m.t.text
	}
	t := mustType(text + ")")
	return Value{t, appendTuple(nil, t, members)}
}

// DictEntry makes a dictionary entry. The key must be of a basic type.
func DictEntry(key, value Value) (Value, error) {
	t, err := parseType("{" + key.Type() + value.Type() + "}")
	if err != nil {
		return Value{}, err
	}
	return Value{t, appendTuple(nil, t, []Value{key, value})}, nil
}

// Array makes an array of elements, all of the given type.
func Array(elemType string, elems ...Value) (Value, error) {
	t, err := parseType("a" + elemType)
	if err != nil {
		return Value{}, err
	}
	for _, e := range elems {
		if err := e.is(elemType); err != nil {
			return Value{}, err
		}
	}
	return Value{t, appendArray(nil, t, elems)}, nil
}

// pad appends zeros until b, which began at base, has a multiple of align bytes.
func pad(b []byte, base, align int) []byte {
	for (len(b)-base)%align != 0 {
		b = append(b, 0)
	}
	return b
}

// AppendOffsets appends the framing offsets of a container with body bytes, in the smallest width that fits. It serves
// codecs that know the layout of their types and write them without making values.
func AppendOffsets(b []byte, body int, offsets ...int) []byte {
	w := widthFor(body, len(offsets))
	for _, o := range offsets {
		b = appendOffset(b, o, w)
	}
	return b
}

// widthFor returns the width of n offsets after a body: the smallest that can represent the total size.
func widthFor(body, n int) int {
	for _, w := range []int{1, 2, 4} {
		if offsetWidth(body+n*w) <= w {
			return w
		}
	}
	return 8
}

func appendOffset(b []byte, o, width int) []byte {
	switch width {
	case 1:
		return append(b, byte(o))
	case 2:
		return binary.LittleEndian.AppendUint16(b, uint16(o))
	case 4:
		return binary.LittleEndian.AppendUint32(b, uint32(o))
	}
	return binary.LittleEndian.AppendUint64(b, uint64(o))
}

func appendArray(b []byte, t *typeInfo, elems []Value) []byte {
	elem, base := t.members[0], len(b)
	ends := make([]int, 0, len(elems))
	for _, e := range elems {
		b = append(pad(b, base, elem.align), e.data...)
		ends = append(ends, len(b)-base)
	}
	if elem.fixed != 0 || len(elems) == 0 {
		return b
	}
	return AppendOffsets(b, len(b)-base, ends...)
}

func appendTuple(b []byte, t *typeInfo, members []Value) []byte {
	if len(t.members) == 0 {
		return append(b, 0)
	}
	base := len(b)
	var ends []int
	for i, m := range members {
		b = append(pad(b, base, t.members[i].align), m.data...)
		if t.members[i].fixed == 0 && i < len(members)-1 {
			ends = append(ends, len(b)-base)
		}
	}
	if t.fixed != 0 {
		return pad(b, base, t.align)
	}
	for i, j := 0, len(ends)-1; i < j; i, j = i+1, j-1 { // the first member's end comes last
		ends[i], ends[j] = ends[j], ends[i]
	}
	return AppendOffsets(b, len(b)-base, ends...)
}

// Dict is a dictionary of type a{sv}, as metadata is. It keeps the order of its keys, since that is hashed.
type Dict []Entry

// Entry is one key of a [Dict].
type Entry struct {
	Key   string
	Value Value
}

// ParseDict reads a serialised a{sv}. A key that occurs twice is an error, and so is an empty one.
func ParseDict(data []byte) (Dict, error) {
	var d Dict
	seen := map[string]bool{}
	for e, err := range (Value{dictType, data}).Elements() {
		if err != nil {
			return nil, err
		}
		k, err := e.member(0)
		if err != nil {
			return nil, err
		}
		key, err := k.Text()
		if err != nil {
			return nil, fmt.Errorf("key of a dictionary: %w", err)
		}
		if key == "" || seen[key] {
			return nil, fmt.Errorf("%w: empty or repeated key %q", ErrFormat, key)
		}
		seen[key] = true
		boxed, err := e.member(1)
		if err != nil {
			return nil, err
		}
		v, err := boxed.Variant()
		if err != nil {
			return nil, fmt.Errorf("value of %q: %w", key, err)
		}
		d = append(d, Entry{key, v})
	}
	return d, nil
}

// Encode returns the serialised a{sv}.
func (d Dict) Encode() []byte {
	elems := make([]Value, len(d))
	entry := dictType.members[0]
	for i, e := range d {
		elems[i] = Value{entry, appendTuple(nil, entry, []Value{String(e.Key), Variant(e.Value)})}
	}
	return appendArray(nil, dictType, elems)
}

// Lookup returns the value of a key.
func (d Dict) Lookup(key string) (Value, bool) {
	for _, e := range d {
		if e.Key == key {
			return e.Value, true
		}
	}
	return Value{}, false
}

// Set returns the dictionary with a key set. An existing key keeps its place; a new one is appended.
func (d Dict) Set(key string, v Value) Dict {
	out := append(Dict(nil), d...)
	for i := range out {
		if out[i].Key == key {
			out[i].Value = v
			return out
		}
	}
	return append(out, Entry{key, v})
}

// Remove returns the dictionary without a key.
func (d Dict) Remove(key string) Dict {
	var out Dict
	for _, e := range d {
		if e.Key != key {
			out = append(out, e)
		}
	}
	return out
}
