package gvariant

import (
	"bytes"
	"fmt"
	"regexp"
)

// Validate returns an error if the bytes are not in normal form, which is the one way in which GLib writes the value.
// Objects from elsewhere need not be in normal form.
func (v Value) Validate() error {
	if v.t == nil {
		return fmt.Errorf("%w: no value", ErrType)
	}
	return v.validate(0)
}

func (v Value) validate(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: nested more than %d deep", ErrFormat, maxDepth)
	}
	switch v.t.kind {
	case kindBasic:
		if v.t.text == "b" && v.data[0] > 1 {
			return fmt.Errorf("%w: boolean of %d", ErrFormat, v.data[0])
		}
		return nil
	case kindString:
		return v.validateString()
	case kindVariant:
		inner, err := v.Variant()
		if err != nil {
			return err
		}
		return inner.validate(depth + 1)
	case kindMaybe:
		return v.validateMaybe(depth)
	}
	return v.validateContainer(depth)
}

var objectPath = regexp.MustCompile(`\A(/|(/[A-Za-z0-9_]+)+)\z`)

func (v Value) validateString() error {
	s, err := v.Text()
	if err != nil {
		return err
	}
	switch v.t.text {
	case "o":
		if !objectPath.MatchString(s) {
			return fmt.Errorf("%w: %q is not an object path", ErrFormat, s)
		}
	case "g":
		for rest := s; rest != ""; {
			if _, rest, err = parseTypePrefix(rest, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// validateMaybe checks an optional value: no bytes, or one value, which is followed by a zero byte if its size varies.
func (v Value) validateMaybe(depth int) error {
	elem := v.t.members[0]
	if len(v.data) == 0 {
		return nil
	}
	data := v.data
	if elem.fixed == 0 {
		if data[len(data)-1] != 0 {
			return fmt.Errorf("%w: optional value without its end", ErrFormat)
		}
		data = data[:len(data)-1]
	} else if len(data) != elem.fixed {
		return fmt.Errorf("%w: %d bytes for %q", ErrFormat, len(data), v.t.text)
	}
	return Value{elem, data}.validate(depth + 1)
}

// validateContainer checks the members and that writing them again gives the same bytes.
func (v Value) validateContainer(depth int) error {
	if v.t.kind == kindArray && v.t.members[0].kind == kindBasic {
		if _, err := v.arrayFrame(); err != nil {
			return err
		}
		if v.t.members[0].text == "b" {
			for _, b := range v.data {
				if b > 1 {
					return fmt.Errorf("%w: boolean of %d", ErrFormat, b)
				}
			}
		}
		return nil
	}
	var members []Value
	if v.t.kind == kindArray {
		for e, err := range v.Elements() {
			if err != nil {
				return err
			}
			members = append(members, e)
		}
	} else {
		err := v.eachMember(func(_ int, m Value) bool {
			members = append(members, m)
			return true
		})
		if err != nil {
			return err
		}
	}
	for _, m := range members {
		if err := m.validate(depth + 1); err != nil {
			return err
		}
	}
	again := make([]byte, 0, len(v.data))
	if v.t.kind == kindArray {
		again = appendArray(again, v.t, members)
	} else {
		again = appendTuple(again, v.t, members)
	}
	if !bytes.Equal(again, v.data) {
		return fmt.Errorf("%w: %q is not in normal form", ErrFormat, v.t.text)
	}
	return nil
}
