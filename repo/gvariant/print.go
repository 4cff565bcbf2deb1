package gvariant

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// String prints the value in GVariant's text notation with the type annotations that make it unambiguous, as `ostree
// show` does: 'x', uint64 1, [byte 0x01, 0x02], @as []. A value whose bytes are invalid prints as "<invalid TYPE>".
func (v Value) String() string {
	if v.t == nil {
		return "<no value>"
	}
	var b strings.Builder
	v.print(&b, true, 0)
	return b.String()
}

// print writes the value. If annotate is set, the type is written where it is not obvious.
func (v Value) print(b *strings.Builder, annotate bool, depth int) {
	if depth > maxDepth {
		b.WriteString("…")
		return
	}
	switch v.t.kind {
	case kindBasic:
		v.printNumber(b, annotate)
	case kindString:
		s, err := v.Text()
		if err != nil {
			v.printInvalid(b)
			return
		}
		if annotate && v.t.text != "s" {
			b.WriteString(map[string]string{"o": "objectpath ", "g": "signature "}[v.t.text])
		}
		b.WriteString(quote(s))
	case kindVariant:
		inner, err := v.Variant()
		if err != nil {
			v.printInvalid(b)
			return
		}
		b.WriteByte('<')
		inner.print(b, true, depth+1)
		b.WriteByte('>')
	case kindMaybe:
		v.printMaybe(b, annotate, depth)
	case kindArray:
		v.printArray(b, annotate, depth)
	default:
		v.printTuple(b, annotate, depth)
	}
}

func (v Value) printInvalid(b *strings.Builder) { fmt.Fprintf(b, "<invalid %s>", v.t.text) }

func (v Value) printNumber(b *strings.Builder, annotate bool) {
	le := binary.LittleEndian
	words := map[string]string{"y": "byte ", "n": "int16 ", "q": "uint16 ", "u": "uint32 ", "h": "handle ", "x": "int64 ",
		"t": "uint64 "}
	if annotate {
		b.WriteString(words[v.t.text])
	}
	switch v.t.text {
	case "b":
		b.WriteString(strconv.FormatBool(v.data[0] != 0))
	case "y":
		fmt.Fprintf(b, "0x%02x", v.data[0])
	case "n":
		b.WriteString(strconv.Itoa(int(int16(le.Uint16(v.data)))))
	case "q":
		b.WriteString(strconv.Itoa(int(le.Uint16(v.data))))
	case "i", "h":
		b.WriteString(strconv.Itoa(int(int32(le.Uint32(v.data)))))
	case "u":
		b.WriteString(strconv.FormatUint(uint64(le.Uint32(v.data)), 10))
	case "x":
		b.WriteString(strconv.FormatInt(int64(le.Uint64(v.data)), 10))
	case "t":
		b.WriteString(strconv.FormatUint(le.Uint64(v.data), 10))
	case "d":
		b.WriteString(formatDouble(math.Float64frombits(le.Uint64(v.data))))
	}
}

// formatDouble prints 17 digits, as GLib does, and not the shortest number that parses as the same value.
func formatDouble(f float64) string {
	switch {
	case math.IsNaN(f):
		if math.Signbit(f) {
			return "-nan"
		}
		return "nan"
	case math.IsInf(f, 0):
		return strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(f, 'g', -1, 64)), "+")
	}
	s := strconv.FormatFloat(f, 'g', 17, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

func (v Value) printMaybe(b *strings.Builder, annotate bool, depth int) {
	if annotate {
		fmt.Fprintf(b, "@%s ", v.t.text)
	}
	// A value is printed without its levels; the word "just" is needed only where an inner level is empty.
	for levels := 0; ; levels++ {
		elem, data := v.t.members[0], v.data
		switch {
		case len(data) == 0:
			b.WriteString(strings.Repeat("just ", levels) + "nothing")
			return
		case elem.fixed == 0:
			data = data[:len(data)-1]
		case len(data) != elem.fixed:
			v.printInvalid(b)
			return
		}
		v = Value{elem, data}
		if elem.kind != kindMaybe {
			v.print(b, false, depth+levels+1)
			return
		}
	}
}

func (v Value) printArray(b *strings.Builder, annotate bool, depth int) {
	if s, ok := v.byteString(); ok {
		b.WriteByte('b')
		b.WriteString(quoteBytes(s))
		return
	}
	n := v.Len()
	dict := v.t.members[0].kind == kindTuple && v.t.text[1] == '{'
	opening, closing := "[", "]"
	if dict {
		opening, closing = "{", "}"
	}
	if n == 0 {
		if annotate {
			fmt.Fprintf(b, "@%s ", v.t.text)
		}
		b.WriteString(opening + closing)
		return
	}
	b.WriteString(opening)
	i := 0
	for e, err := range v.Elements() {
		if i > 0 {
			b.WriteString(", ")
		}
		switch {
		case err != nil:
			v.printInvalid(b)
		case dict:
			e.printEntry(b, annotate && i == 0, depth+1)
		default:
			e.print(b, annotate && i == 0, depth+1)
		}
		i++
	}
	b.WriteString(closing)
}

func (v Value) printEntry(b *strings.Builder, annotate bool, depth int) {
	for i, sep := range []string{"", ": "} {
		m, err := v.member(i)
		b.WriteString(sep)
		if err != nil {
			v.printInvalid(b)
			return
		}
		m.print(b, annotate, depth)
	}
}

func (v Value) printTuple(b *strings.Builder, annotate bool, depth int) {
	entry := v.t.text[0] == '{'
	if entry {
		b.WriteByte('{')
	} else {
		b.WriteByte('(')
	}
	err := v.eachMember(func(i int, m Value) bool {
		if i > 0 {
			b.WriteString(", ")
		}
		m.print(b, annotate, depth+1)
		return true
	})
	if err != nil {
		v.printInvalid(b)
	}
	switch {
	case entry:
		b.WriteByte('}')
	case len(v.t.members) == 1:
		b.WriteString(",)")
	default:
		b.WriteByte(')')
	}
}

// byteString reports whether an array of bytes is printed as text, because it ends in its only NUL.
func (v Value) byteString() (string, bool) {
	if v.t.text != "ay" || len(v.data) == 0 || v.data[len(v.data)-1] != 0 {
		return "", false
	}
	s := string(v.data[:len(v.data)-1])
	return s, !strings.Contains(s, "\x00")
}

func quote(s string) string {
	q := rune('\'')
	if strings.Contains(s, "'") {
		q = '"'
	}
	var b strings.Builder
	b.WriteRune(q)
	for _, r := range s {
		switch i := strings.IndexRune("\a\b\f\n\r\t\v", r); {
		case r == q || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case i >= 0:
			b.WriteByte('\\')
			b.WriteByte("abfnrtv"[i])
		case unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.Co):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteRune(q)
	return b.String()
}

// quoteBytes differs from quote in what it escapes: double quotes always, and a bell as a number.
func quoteBytes(s string) string {
	q := byte('\'')
	if strings.Contains(s, "'") {
		q = '"'
	}
	var b strings.Builder
	b.WriteByte(q)
	for i := range len(s) {
		c := s[i]
		switch j := strings.IndexByte("\b\f\n\r\t\v", c); {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case j >= 0:
			b.WriteByte('\\')
			b.WriteByte("bfnrtv"[j])
		case c < 0x20 || c >= 0x7f:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte(q)
	return b.String()
}
