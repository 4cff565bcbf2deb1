package setup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// errJSON is returned for documents that are not objects of objects where that is expected.
var errJSON = errors.New("this is not a JSON object")

// object is a JSON object in a document, by the offsets of its parts.
type object struct {
	open, close int
	members     []jsonMember
}

type jsonMember struct {
	name            string
	key, value, end int
}

func (o *object) member(name string) *jsonMember {
	for i := range o.members {
		if o.members[i].name == name {
			return &o.members[i]
		}
	}
	return nil
}

// objectAt finds the parts of the object that begins at or after an offset.
func objectAt(doc []byte, offset int) (*object, error) {
	dec := json.NewDecoder(bytes.NewReader(doc[offset:]))
	if token, err := dec.Token(); err != nil || token != json.Delim('{') {
		return nil, errJSON
	}
	at := func() int { return offset + int(dec.InputOffset()) }
	o := &object{open: at() - 1}
	for dec.More() {
		key := at()
		key += bytes.IndexByte(doc[key:], '"')
		token, err := dec.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, errJSON
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, errJSON
		}
		o.members = append(o.members, jsonMember{name, key, at() - len(raw), at()})
	}
	if _, err := dec.Token(); err != nil {
		return nil, errJSON
	}
	o.close = at() - 1
	return o, nil
}

// setJSON returns a document in which the value at a path of keys is another one. What is missing on the way is made.
// All other bytes stay as they are, and what is new is indented as what is around it.
func setJSON(doc []byte, keys []string, value any) ([]byte, error) {
	top, err := objectAt(doc, 0)
	if err != nil {
		return nil, err
	}
	unit := "    "
	if len(top.members) > 0 {
		if indent, ok := indentOf(doc, top.members[0].key); !ok {
			unit = ""
		} else if indent != "" {
			unit = indent
		}
	}
	o := top
	for i, key := range keys {
		m := o.member(key)
		last := i == len(keys)-1
		if m != nil && !last {
			if o, err = objectAt(doc, m.value); err != nil {
				return nil, fmt.Errorf("%q: %w", key, err)
			}
			continue
		}
		for _, k := range reversed(keys[i+1:]) {
			value = map[string]any{k: value}
		}
		var out []byte
		if m != nil {
			indent, ok := indentOf(doc, m.key)
			out, err = splice(doc, m.value, m.end, value, "", "", indent, unitIf(ok, unit))
		} else {
			out, err = o.add(doc, key, value, unit)
		}
		if err != nil {
			return nil, err
		}
		return out, checkJSON(doc, out, keys)
	}
	return nil, errJSON
}

// add returns the document with one more member of the object.
func (o *object) add(doc []byte, key string, value any, unit string) ([]byte, error) {
	name, err := encodeJSON(key, "", "")
	if err != nil {
		return nil, err
	}
	before := string(name) + ": "
	if len(o.members) == 0 {
		base := lineIndent(doc, o.open)
		if unit == "" {
			return splice(doc, o.open+1, o.close, value, before, "", "", "")
		}
		return splice(doc, o.open+1, o.close, value, "\n"+base+unit+before, "\n"+base, base+unit, unit)
	}
	last := o.members[len(o.members)-1]
	indent, ok := indentOf(doc, last.key)
	if !ok {
		return splice(doc, last.end, last.end, value, ", "+before, "", "", "")
	}
	return splice(doc, last.end, last.end, value, ",\n"+indent+before, "", indent, unitIf(unit != "", unit))
}

func unitIf(ok bool, unit string) string {
	if !ok {
		return ""
	}
	return unit
}

// splice replaces a part of a document by a value with text around it.
func splice(doc []byte, from, to int, value any, before, after, prefix, unit string) ([]byte, error) {
	text, err := encodeJSON(value, prefix, unit)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Write(doc[:from])
	b.WriteString(before)
	b.Write(text)
	b.WriteString(after)
	b.Write(doc[to:])
	return b.Bytes(), nil
}

// encodeJSON returns a value as text. Without a unit of indentation, it is on one line.
func encodeJSON(value any, prefix, unit string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if unit != "" {
		enc.SetIndent(prefix, unit)
	}
	err := enc.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// indentOf returns the white space before an offset in its line, and false if there is more than that.
func indentOf(doc []byte, offset int) (string, bool) {
	line := doc[bytes.LastIndexByte(doc[:offset], '\n')+1 : offset]
	ok := offset > len(line) && len(bytes.Trim(line, " \t")) == 0
	return string(line), ok
}

// lineIndent returns the white space at the beginning of the line with an offset.
func lineIndent(doc []byte, offset int) string {
	line := string(doc[bytes.LastIndexByte(doc[:offset], '\n')+1 : offset])
	return line[:len(line)-len(strings.TrimLeft(line, " \t"))]
}

func reversed(list []string) []string {
	var out []string
	for _, s := range list {
		out = append([]string{s}, out...)
	}
	return out
}

// checkJSON returns an error if two documents differ in more than the value at a path.
func checkJSON(before, after []byte, keys []string) error {
	var a, b any
	for doc, to := range map[*any][]byte{&a: before, &b: after} {
		dec := json.NewDecoder(bytes.NewReader(to))
		dec.UseNumber()
		if err := dec.Decode(doc); err != nil {
			return err
		}
	}
	without(a, keys)
	without(b, keys)
	if !reflect.DeepEqual(a, b) {
		return errors.New("the file is written in a way that cannot be changed here: change it by hand")
	}
	return nil
}

// without removes the value at a path, and the objects around it that are empty then.
func without(doc any, keys []string) {
	m, ok := doc.(map[string]any)
	if !ok {
		return
	}
	if len(keys) > 1 {
		without(m[keys[0]], keys[1:])
		if inner, ok := m[keys[0]].(map[string]any); !ok || len(inner) > 0 {
			return
		}
	}
	delete(m, keys[0])
}
