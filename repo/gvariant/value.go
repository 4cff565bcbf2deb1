package gvariant

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"unicode/utf8"
)

// Value is a serialised value with its type: a view that copies nothing. Reading never panics, whatever the bytes are:
// an accessor that meets invalid bytes returns an error. The zero Value has no type and only serves for comparison.
type Value struct {
	t    *typeInfo
	data []byte
}

// New returns the view of data as a value of type typ. Only the size of fixed-size types is checked here; see
// [Value.Validate]. The bytes must not change while the value is in use.
func New(typ string, data []byte) (Value, error) {
	t, err := parseType(typ)
	if err != nil {
		return Value{}, err
	}
	if t.fixed != 0 && len(data) != t.fixed {
		return Value{}, fmt.Errorf("%w: %d bytes for type %s, which has %d", ErrFormat, len(data), typ, t.fixed)
	}
	return Value{t, data}, nil
}

// Type returns the type string, empty for the zero Value.
func (v Value) Type() string {
	if v.t == nil {
		return ""
	}
	return v.t.text
}

// Data returns the serialised bytes, which must not be changed.
func (v Value) Data() []byte { return v.data }

// is reports whether the value has the type.
func (v Value) is(typ string) error {
	if v.Type() != typ {
		return fmt.Errorf("%w: %q, not %q", ErrType, v.Type(), typ)
	}
	return nil
}

// Byte returns the value of type y.
func (v Value) Byte() (byte, error) {
	if err := v.is("y"); err != nil {
		return 0, err
	}
	return v.data[0], nil
}

// Bool returns the value of type b.
func (v Value) Bool() (bool, error) {
	if err := v.is("b"); err != nil {
		return false, err
	}
	return v.data[0] != 0, nil
}

// Uint32 returns the value of type u, read as little-endian. The caller swaps big-endian fields.
func (v Value) Uint32() (uint32, error) {
	if err := v.is("u"); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(v.data), nil
}

// Uint64 returns the value of type t, read as little-endian.
func (v Value) Uint64() (uint64, error) {
	if err := v.is("t"); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(v.data), nil
}

// Text returns the value of type s, o or g without its NUL.
func (v Value) Text() (string, error) {
	if v.t == nil || v.t.kind != kindString {
		return "", fmt.Errorf("%w: %q is not a string", ErrType, v.Type())
	}
	n := len(v.data)
	if n == 0 || v.data[n-1] != 0 || bytes.IndexByte(v.data, 0) != n-1 || !utf8.Valid(v.data) {
		return "", fmt.Errorf("%w: not a string", ErrFormat)
	}
	return string(v.data[:n-1]), nil
}

// ByteArray returns the value of type ay; the bytes must not be changed.
func (v Value) ByteArray() ([]byte, error) {
	if err := v.is("ay"); err != nil {
		return nil, err
	}
	return v.data, nil
}

// Strings returns the value of type as.
func (v Value) Strings() ([]string, error) {
	if err := v.is("as"); err != nil {
		return nil, err
	}
	var out []string
	for e, err := range v.Elements() {
		if err != nil {
			return nil, err
		}
		s, err := e.Text()
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Variant returns the value inside a value of type v.
func (v Value) Variant() (Value, error) {
	if err := v.is("v"); err != nil {
		return Value{}, err
	}
	i := bytes.LastIndexByte(v.data, 0)
	if i < 0 {
		return Value{}, fmt.Errorf("%w: variant without a type", ErrFormat)
	}
	return New(string(v.data[i+1:]), v.data[:i])
}

// Len returns the number of elements of an array, or of members of a tuple or dictionary entry. It is 0 for other types
// and for arrays with invalid framing.
func (v Value) Len() int {
	if v.t == nil {
		return 0
	}
	switch v.t.kind {
	case kindTuple:
		return len(v.t.members)
	case kindArray:
		f, err := v.arrayFrame()
		if err != nil {
			return 0
		}
		return f.n
	}
	return 0
}

// Index returns element i of an array, or member i of a tuple or dictionary entry.
func (v Value) Index(i int) (Value, error) {
	if i < 0 || i >= v.Len() {
		return Value{}, fmt.Errorf("%w: no element %d in %q", ErrFormat, i, v.Type())
	}
	if v.t.kind == kindTuple {
		return v.member(i)
	}
	f, err := v.arrayFrame()
	if err != nil {
		return Value{}, err
	}
	return f.element(v, i)
}

// Elements yields the elements of an array in order. It stops after an error.
func (v Value) Elements() iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		if v.t == nil || v.t.kind != kindArray {
			yield(Value{}, fmt.Errorf("%w: %q is not an array", ErrType, v.Type()))
			return
		}
		f, err := v.arrayFrame()
		if err != nil {
			yield(Value{}, err)
			return
		}
		for i := range f.n {
			e, err := f.element(v, i)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// offsetWidth returns the width of the framing offsets in a container. size is in bytes and includes the offsets.
func offsetWidth(size int) int {
	switch {
	case size <= math.MaxUint8:
		return 1
	case size <= math.MaxUint16:
		return 2
	case size <= math.MaxUint32:
		return 4
	}
	return 8
}

// readOffset reads the offset of the given width at the start of b. It returns -1 for an offset that no slice can have.
func readOffset(b []byte, width int) int {
	switch width {
	case 1:
		return int(b[0])
	case 2:
		return int(binary.LittleEndian.Uint16(b))
	case 4:
		return int(binary.LittleEndian.Uint32(b))
	}
	n := binary.LittleEndian.Uint64(b)
	if n > math.MaxInt64 {
		return -1
	}
	return int(n)
}

// frame returns where the elements of an array are.
type frame struct {
	n, width, table int // element count, width of offsets (0: fixed-size elements), start of the offsets
}

func (v Value) arrayFrame() (frame, error) {
	elem, size := v.t.members[0], len(v.data)
	if elem.fixed != 0 {
		if size%elem.fixed != 0 {
			return frame{}, fmt.Errorf("%w: %d bytes hold no whole number of %q", ErrFormat, size, elem.text)
		}
		return frame{n: size / elem.fixed}, nil
	}
	if size == 0 {
		return frame{}, nil
	}
	w := offsetWidth(size)
	if size < w {
		return frame{}, fmt.Errorf("%w: array without offsets", ErrFormat)
	}
	table := readOffset(v.data[size-w:], w)
	if table < 0 || table > size-w || (size-table)%w != 0 {
		return frame{}, fmt.Errorf("%w: offsets of %q are out of range", ErrFormat, v.t.text)
	}
	return frame{n: (size - table) / w, width: w, table: table}, nil
}

func (f frame) element(v Value, i int) (Value, error) {
	elem := v.t.members[0]
	if f.width == 0 {
		return Value{elem, v.data[i*elem.fixed : (i+1)*elem.fixed]}, nil
	}
	start := 0
	if i > 0 {
		start = alignUp(readOffset(v.data[f.table+(i-1)*f.width:], f.width), elem.align)
	}
	end := readOffset(v.data[f.table+i*f.width:], f.width)
	if start < 0 || end < start || end > f.table {
		return Value{}, fmt.Errorf("%w: element %d of %q is out of range", ErrFormat, i, v.t.text)
	}
	return Value{elem, v.data[start:end]}, nil
}

// member returns a member of a tuple. The members before it decide where it starts.
func (v Value) member(i int) (Value, error) {
	var found Value
	err := v.eachMember(func(j int, m Value) bool {
		found = m
		return j < i
	})
	return found, err
}

// eachMember calls f with the members of a tuple in order until f returns false.
func (v Value) eachMember(f func(i int, m Value) bool) error {
	if v.t.fixed != 0 && len(v.data) != v.t.fixed {
		return fmt.Errorf("%w: %d bytes for %q", ErrFormat, len(v.data), v.t.text)
	}
	w := offsetWidth(len(v.data))
	pos, offset := 0, len(v.data) // offset is where the offset read last begins
	for i, m := range v.t.members {
		pos = alignUp(pos, m.align)
		var end int
		switch {
		case m.fixed != 0:
			end = pos + m.fixed
		case i == len(v.t.members)-1:
			end = offset
		default:
			if offset -= w; offset < 0 {
				return fmt.Errorf("%w: %q is too short", ErrFormat, v.t.text)
			}
			end = readOffset(v.data[offset:], w)
		}
		if end < pos || end > offset {
			return fmt.Errorf("%w: member %d of %q is out of range", ErrFormat, i, v.t.text)
		}
		if !f(i, Value{m, v.data[pos:end]}) {
			return nil
		}
		pos = end
	}
	return nil
}
