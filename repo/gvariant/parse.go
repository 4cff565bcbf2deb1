package gvariant

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ParseText parses a value in GVariant's text notation, as `ostree commit --add-metadata` accepts it: 'x', "x", b'x',
// true, 12, uint32 12, byte 0x1, 1.5, [1, 2], (1, 'x'), {'k': <'v'>}, <'boxed'>, @as []. Numbers without a type word
// are int32, or double where they have a point. All elements of an array have the type of the first, unless an
// annotation says otherwise. Optional values (just, nothing) are not read. The error wraps [ErrFormat] or [ErrType].
func ParseText(s string) (Value, error) {
	p := &textParser{rest: s}
	v, err := p.value(nil, 0)
	if err == nil {
		if p.space(); p.rest != "" {
			err = fmt.Errorf("%w: unexpected %q", ErrFormat, p.rest)
		}
	}
	if err == nil {
		err = v.Validate()
	}
	if err != nil {
		return Value{}, fmt.Errorf("%q: %w", s, err)
	}
	return v, nil
}

type textParser struct{ rest string }

func (p *textParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\n\r") }

// take consumes a token if it is next, and reports whether it was.
func (p *textParser) take(token string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *textParser) unexpected() error {
	if p.rest == "" {
		return fmt.Errorf("%w: it ends early", ErrFormat)
	}
	return fmt.Errorf("%w: unexpected %q", ErrFormat, p.rest)
}

// typeWords are the words that may stand before a number or string.
var typeWords = map[string]string{
	"boolean": "b", "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "handle": "h",
	"int64": "x", "uint64": "t", "double": "d", "string": "s", "objectpath": "o", "signature": "g",
}

// value reads a value. It is of type want unless that is nil.
func (p *textParser) value(want *typeInfo, depth int) (Value, error) {
	if depth > maxDepth {
		return Value{}, fmt.Errorf("%w: nested more than %d deep", ErrFormat, maxDepth)
	}
	p.space()
	if p.rest == "" {
		return Value{}, p.unexpected()
	}
	switch c := p.rest[0]; {
	case c == '@':
		return p.annotated(want, depth)
	case c == '\'' || c == '"':
		return p.text(want)
	case strings.HasPrefix(p.rest, "b'") || strings.HasPrefix(p.rest, `b"`):
		p.rest = p.rest[1:]
		s, err := p.quoted(true)
		if err != nil {
			return Value{}, err
		}
		return check(ByteArray(append([]byte(s), 0)), want)
	case c == '[':
		return p.array(want, depth)
	case c == '(':
		return p.tuple(want, depth)
	case c == '{':
		return p.dict(want, depth)
	case c == '<':
		p.rest = p.rest[1:]
		inner, err := p.value(nil, depth+1)
		if err != nil {
			return Value{}, err
		}
		if !p.take(">") {
			return Value{}, p.unexpected()
		}
		return check(Variant(inner), want)
	}
	return p.word(want, depth)
}

// check returns an error if a value is not of the wanted type.
func check(v Value, want *typeInfo) (Value, error) {
	if want != nil && v.t.text != want.text {
		return Value{}, fmt.Errorf("%w: a value of %q where %q belongs", ErrType, v.t.text, want.text)
	}
	return v, nil
}

func (p *textParser) annotated(want *typeInfo, depth int) (Value, error) {
	t, rest, err := parseTypePrefix(p.rest[1:], 0)
	if err != nil {
		return Value{}, err
	}
	p.rest = rest
	if want != nil && want.text != t.text {
		return Value{}, fmt.Errorf("%w: %q where %q belongs", ErrType, t.text, want.text)
	}
	return p.value(t, depth+1)
}

// word reads true, false, a type word with its value, or a number.
func (p *textParser) word(want *typeInfo, depth int) (Value, error) {
	end := strings.IndexAny(p.rest, " \t\n\r,:)]}>")
	if end < 0 {
		end = len(p.rest)
	}
	w := p.rest[:end]
	if t, ok := typeWords[w]; ok {
		p.rest = p.rest[end:]
		b := basics[t[0]]
		v, err := p.value(&b, depth+1)
		if err != nil {
			return Value{}, err
		}
		return check(v, want)
	}
	if w == "" {
		return Value{}, p.unexpected()
	}
	p.rest = p.rest[end:]
	if w == "true" || w == "false" {
		return check(Bool(w == "true"), want)
	}
	return number(w, want)
}

// number makes a number of the wanted type.
func number(w string, want *typeInfo) (Value, error) {
	unsignedText := strings.TrimLeft(w, "+-")
	typ := "i"
	switch {
	case want != nil:
		typ = want.text
	case unsignedText == "inf", unsignedText == "nan", strings.Contains(w, "."),
		strings.Contains(w, "e") && !strings.HasPrefix(unsignedText, "0x"):
		typ = "d"
	}
	// Go accepts more notations than C.
	if strings.Contains(w, "_") || len(unsignedText) > 1 && strings.ContainsRune("bBoO", rune(unsignedText[1])) {
		return Value{}, fmt.Errorf("%w: number %q of type %q", ErrFormat, w, typ)
	}
	bits := map[string]int{"y": 8, "n": 16, "q": 16, "i": 32, "h": 32, "u": 32, "x": 64, "t": 64}[typ]
	var signed int64
	var unsigned uint64
	var err error
	switch typ {
	case "d":
		f, err := strconv.ParseFloat(w, 64)
		if err != nil {
			return Value{}, fmt.Errorf("%w: number %q", ErrFormat, w)
		}
		if math.IsNaN(f) {
			f = math.Float64frombits(0x7ff8 << 48) // C's NaN; Go's has different bits, and the bytes are hashed
		}
		return Double(f), nil
	case "n", "i", "h", "x":
		signed, err = strconv.ParseInt(w, 0, bits)
	case "y", "q", "u", "t":
		unsigned, err = strconv.ParseUint(strings.TrimPrefix(w, "+"), 0, bits)
	default:
		return Value{}, fmt.Errorf("%w: %q where %q belongs", ErrType, w, typ)
	}
	if err != nil {
		return Value{}, fmt.Errorf("%w: number %q of type %q", ErrFormat, w, typ)
	}
	switch typ {
	case "y":
		return Byte(byte(unsigned)), nil
	case "n":
		return Int16(int16(signed)), nil
	case "q":
		return Uint16(uint16(unsigned)), nil
	case "u":
		return Uint32(uint32(unsigned)), nil
	case "x":
		return Int64(signed), nil
	case "t":
		return Uint64(unsigned), nil
	}
	v := Int32(int32(signed))
	return basic(typ[0], v.data), nil
}

func (p *textParser) text(want *typeInfo) (Value, error) {
	s, err := p.quoted(false)
	if err != nil {
		return Value{}, err
	}
	v := String(s)
	if want != nil && want.kind == kindString {
		v.t = want
	}
	return check(v, want)
}

// quoted reads a quoted string with its escapes. They are octal in byte strings and Unicode in others.
func (p *textParser) quoted(octal bool) (string, error) {
	q := p.rest[0]
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		c := p.rest[i]
		switch {
		case c == q:
			p.rest = p.rest[i+1:]
			return b.String(), nil
		case c != '\\':
			b.WriteByte(c)
		default:
			n, err := unescape(&b, p.rest[i+1:], octal)
			if err != nil {
				return "", err
			}
			i += n
		}
	}
	return "", fmt.Errorf("%w: a string without its closing quote", ErrFormat)
}

// unescape writes the character of an escape, given without its backslash, and returns the length of the escape.
func unescape(b *strings.Builder, s string, octal bool) (int, error) {
	if s == "" {
		return 0, fmt.Errorf("%w: a string without its closing quote", ErrFormat)
	}
	if i := strings.IndexByte("abfnrtv", s[0]); i >= 0 {
		b.WriteByte("\a\b\f\n\r\t\v"[i])
		return 1, nil
	}
	if octal && s[0] >= '0' && s[0] <= '7' {
		n := 1
		for n < 3 && n < len(s) && s[n] >= '0' && s[n] <= '7' {
			n++
		}
		v, err := strconv.ParseUint(s[:n], 8, 8)
		if err != nil {
			return 0, fmt.Errorf("%w: escape \\%s", ErrFormat, s[:n])
		}
		b.WriteByte(byte(v))
		return n, nil
	}
	if digits := map[byte]int{'u': 4, 'U': 8}[s[0]]; digits > 0 && !octal {
		if len(s) < 1+digits {
			return 0, fmt.Errorf("%w: escape \\%s", ErrFormat, s)
		}
		v, err := strconv.ParseUint(s[1:1+digits], 16, 32)
		if err != nil || !utf8.ValidRune(rune(v)) {
			return 0, fmt.Errorf("%w: escape \\%s", ErrFormat, s[:1+digits])
		}
		b.WriteRune(rune(v))
		return 1 + digits, nil
	}
	b.WriteByte(s[0])
	return 1, nil
}

func (p *textParser) array(want *typeInfo, depth int) (Value, error) {
	var elem *typeInfo
	if want != nil {
		if want.kind != kindArray {
			return Value{}, fmt.Errorf("%w: an array where %q belongs", ErrType, want.text)
		}
		elem = want.members[0]
	}
	p.rest = p.rest[1:]
	var elems []Value
	for !p.take("]") {
		if len(elems) > 0 && !p.take(",") {
			return Value{}, p.unexpected()
		}
		e, err := p.value(elem, depth+1)
		if err != nil {
			return Value{}, err
		}
		elem, elems = e.t, append(elems, e)
	}
	if elem == nil {
		return Value{}, fmt.Errorf("%w: an empty array needs its type: @as []", ErrType)
	}
	return Array(elem.text, elems...)
}

func (p *textParser) tuple(want *typeInfo, depth int) (Value, error) {
	if want != nil && (want.kind != kindTuple || want.text[0] != '(') {
		return Value{}, fmt.Errorf("%w: a tuple where %q belongs", ErrType, want.text)
	}
	p.rest = p.rest[1:]
	var members []Value
	comma := false // required after an only member, which would otherwise be a value in parentheses
	for !p.take(")") {
		if len(members) > 0 {
			if !p.take(",") {
				return Value{}, p.unexpected()
			}
			if len(members) == 1 && p.take(")") {
				comma = true
				break
			}
		}
		var t *typeInfo
		if want != nil {
			if len(members) == len(want.members) {
				return Value{}, fmt.Errorf("%w: too many members for %q", ErrType, want.text)
			}
			t = want.members[len(members)]
		}
		m, err := p.value(t, depth+1)
		if err != nil {
			return Value{}, err
		}
		members = append(members, m)
	}
	if len(members) == 1 && !comma {
		return Value{}, fmt.Errorf("%w: a tuple of one member needs a comma: (1,)", ErrFormat)
	}
	text := ""
	for _, m := range members {
		text += m.t.text
	}
	t, err := parseType("(" + text + ")")
	if err != nil {
		return Value{}, err
	}
	return check(Value{t, appendTuple(nil, t, members)}, want)
}

func (p *textParser) dict(want *typeInfo, depth int) (Value, error) {
	var key, val *typeInfo
	if want != nil {
		if want.kind != kindArray || want.text[1] != '{' {
			return Value{}, fmt.Errorf("%w: a dictionary where %q belongs", ErrType, want.text)
		}
		key, val = want.members[0].members[0], want.members[0].members[1]
	}
	p.rest = p.rest[1:]
	var entries []Value
	for !p.take("}") {
		if len(entries) > 0 && !p.take(",") {
			return Value{}, p.unexpected()
		}
		k, err := p.value(key, depth+1)
		if err != nil {
			return Value{}, err
		}
		if !p.take(":") {
			return Value{}, p.unexpected()
		}
		v, err := p.value(val, depth+1)
		if err != nil {
			return Value{}, err
		}
		e, err := DictEntry(k, v)
		if err != nil {
			return Value{}, err
		}
		key, val, entries = k.t, v.t, append(entries, e)
	}
	if key == nil {
		return Value{}, fmt.Errorf("%w: an empty dictionary needs its type: @a{sv} {}", ErrType)
	}
	return Array("{"+key.text+val.text+"}", entries...)
}
