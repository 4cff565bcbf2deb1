// Package printable makes text from elsewhere safe to show on a terminal. Names of layers, packages and files, messages
// of registries and labels of images may hold control characters, which move the cursor, set titles or colours, or
// reverse the direction of the text around them.
package printable

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Line returns text that is shown on one line: characters that are not printed stand there as escapes of Go.
func Line(s string) string { return escape(s, "") }

// maxShort is the length of what [Short] returns, in bytes.
const maxShort = 120

// Short is like [Line], and cuts off what is after the first 120 bytes.
func Short(s string) string {
	if s = Line(s); len(s) > maxShort {
		return strings.ToValidUTF8(s[:maxShort], "") + "…"
	}
	return s
}

// Text is like [Line], and leaves newlines and tabs.
func Text(s string) string { return escape(s, "\n\t") }

// JSON returns a JSON text with the same meaning, in which such characters are escapes of JSON. Newlines, which can
// only be between values there, stay.
func JSON(s string) string {
	special := func(r rune) bool { return !isPrinted(r) && r != '\n' }
	if !strings.ContainsFunc(s, special) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if !special(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

func escape(s, kept string) string {
	special := func(r rune) bool { return !isPrinted(r) && !strings.ContainsRune(kept, r) }
	if utf8.ValidString(s) && !strings.ContainsFunc(s, special) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case isPrinted(r) && r != utf8.RuneError || strings.ContainsRune(kept, r):
			b.WriteRune(r)
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i])|0x100, 16)[1:]) // a byte that is not UTF-8
		case r == utf8.RuneError:
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// isPrinted reports whether a character takes a place of its own and does nothing else. Those that are not printed are
// C0, C1, DEL, marks of direction, and others that cannot be seen.
func isPrinted(r rune) bool {
	switch {
	case r == '\u00ad', r >= '\u200b' && r <= '\u200f', r >= '\u2028' && r <= '\u202e', r >= '\u2060' && r <= '\u206f',
		r == '\ufeff':
		return false
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Zs)
}

// Writer passes text on as [Text] returns it. A character must not be divided between two writes.
func Writer(w io.Writer) io.Writer { return writer{w} }

type writer struct{ w io.Writer }

func (w writer) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.w, Text(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
