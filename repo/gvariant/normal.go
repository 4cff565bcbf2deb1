package gvariant

import "fmt"

// Normal returns the value in normal form at every depth: zero padding and the narrowest framing. Bytes that are not a
// value of their type are an error. Unlike GLib, Normal does not replace them by a default value.
func (v Value) Normal() (Value, error) {
	if v.t == nil {
		return Value{}, fmt.Errorf("%w: no value", ErrType)
	}
	return v.normal(0)
}

func (v Value) normal(depth int) (Value, error) {
	if depth > maxDepth {
		return Value{}, fmt.Errorf("%w: nested more than %d deep", ErrFormat, maxDepth)
	}
	switch v.t.kind {
	case kindBasic, kindString:
		return v, v.validate(depth)
	case kindVariant:
		inner, err := v.Variant()
		if err == nil {
			inner, err = inner.normal(depth + 1)
		}
		if err != nil {
			return Value{}, err
		}
		return Variant(inner), nil
	case kindMaybe:
		return v.normalMaybe(depth)
	}
	return v.normalContainer(depth)
}

func (v Value) normalMaybe(depth int) (Value, error) {
	elem, data := v.t.members[0], v.data
	if len(data) == 0 {
		return v, nil
	}
	if elem.fixed == 0 {
		data = data[:len(data)-1]
	} else if len(data) != elem.fixed {
		return Value{}, fmt.Errorf("%w: %d bytes for %q", ErrFormat, len(data), v.t.text)
	}
	inner, err := Value{elem, data}.normal(depth + 1)
	if err != nil {
		return Value{}, err
	}
	data = append(make([]byte, 0, len(inner.data)+1), inner.data...)
	if elem.fixed == 0 {
		data = append(data, 0)
	}
	return Value{v.t, data}, nil
}

func (v Value) normalContainer(depth int) (Value, error) {
	if v.t.kind == kindArray && v.t.members[0].kind == kindBasic {
		return v, v.validate(depth)
	}
	var members []Value
	var err error
	if v.t.kind == kindArray {
		for e, elemErr := range v.Elements() {
			if elemErr != nil {
				return Value{}, elemErr
			}
			members = append(members, e)
		}
	} else if err = v.eachMember(func(_ int, m Value) bool {
		members = append(members, m)
		return true
	}); err != nil {
		return Value{}, err
	}
	for i, m := range members {
		if members[i], err = m.normal(depth + 1); err != nil {
			return Value{}, err
		}
	}
	data := make([]byte, 0, len(v.data))
	if v.t.kind == kindArray {
		return Value{v.t, appendArray(data, v.t, members)}, nil
	}
	return Value{v.t, appendTuple(data, v.t, members)}, nil
}
