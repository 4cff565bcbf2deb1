// Package keyfile reads and writes GLib key files, the format of a repository's configuration: groups in brackets,
// lines of key=value, and comments that begin with '#'. A change keeps all other bytes, including order and comments.
//
// The format is not INI: values are not quoted, a semicolon does not begin a comment, and a line does not continue on
// the next one. GLib's documentation describes it ("Key-value file parser").
package keyfile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrSyntax says that text is not a key file, or that a value is not of the type asked for. It is returned wrapped.
var ErrSyntax = errors.New("invalid key file")

// MaxSize is the size in bytes of the largest file that is parsed.
const MaxSize = 1 << 20

// File is a parsed key file. The zero File is empty.
type File struct {
	lines []line
}

// line is one line of the file. group and key are empty if it has none.
type line struct {
	text       string // without its newline
	group, key string // key is empty on group lines
	value      string // as written, trimmed on the left
}

// Parse parses a key file. A key before the first group, a malformed line and text that is not UTF-8 are errors that
// wrap [ErrSyntax].
func Parse(data []byte) (*File, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes are more than %d", ErrSyntax, len(data), MaxSize)
	}
	if !utf8.Valid(data) || strings.Contains(string(data), "\x00") {
		return nil, fmt.Errorf("%w: not UTF-8 text", ErrSyntax)
	}
	f := &File{}
	group := ""
	for i, text := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		l, err := parseLine(text, group)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrSyntax, i+1, err)
		}
		group = l.group
		f.lines = append(f.lines, l)
	}
	return f, nil
}

func parseLine(text, group string) (line, error) {
	trimmed := strings.TrimSpace(text)
	l := line{text: text, group: group}
	switch {
	case trimmed == "" || trimmed[0] == '#':
		return l, nil
	case trimmed[0] == '[':
		name, ok := strings.CutSuffix(trimmed[1:], "]")
		if !ok || !validGroup(name) {
			return l, fmt.Errorf("bad group %q", text)
		}
		l.group = name
		return l, nil
	}
	key, value, ok := strings.Cut(strings.TrimLeft(text, " \t"), "=")
	key = strings.TrimRight(key, " \t")
	if !ok || key == "" {
		return l, fmt.Errorf("%q is neither a group, a key nor a comment", text)
	}
	if group == "" {
		return l, fmt.Errorf("key %q stands before any group", key)
	}
	l.key, l.value = key, strings.TrimSuffix(strings.TrimLeft(value, " \t"), "\r") // GLib accepts CRLF line endings
	return l, nil
}

func validGroup(name string) bool {
	return name != "" && !strings.ContainsAny(name, "[]") &&
		strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

// Encode returns the content of the file. Without changes it is what was parsed, with a newline at the end.
func (f *File) Encode() []byte {
	var b strings.Builder
	for _, l := range f.lines {
		b.WriteString(l.text)
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// Groups returns the names of the groups in order, each once.
func (f *File) Groups() []string {
	var out []string
	seen := map[string]bool{}
	for _, l := range f.lines {
		if l.group != "" && !seen[l.group] {
			seen[l.group] = true
			out = append(out, l.group)
		}
	}
	return out
}

// HasGroup reports whether the file has a group of that name.
func (f *File) HasGroup(group string) bool {
	for _, l := range f.lines {
		if l.group == group && group != "" {
			return true
		}
	}
	return false
}

// Keys returns the keys of a group in order, each once.
func (f *File) Keys(group string) []string {
	var out []string
	seen := map[string]bool{}
	for _, l := range f.lines {
		if l.group == group && l.key != "" && !seen[l.key] {
			seen[l.key] = true
			out = append(out, l.key)
		}
	}
	return out
}

// find returns the index of the last line with a key, which is the one in effect, or -1.
func (f *File) find(group, key string) int {
	for i := len(f.lines) - 1; i >= 0; i-- {
		if l := f.lines[i]; l.group == group && l.key == key && key != "" {
			return i
		}
	}
	return -1
}

// Get returns the value of a key with its escapes resolved; unknown escapes stay as they are.
func (f *File) Get(group, key string) (string, bool) {
	i := f.find(group, key)
	if i < 0 {
		return "", false
	}
	return unescape(f.lines[i].value), true
}

// Bool returns the value of a key that is true or false (or 1 or 0), and whether the key exists.
func (f *File) Bool(group, key string) (v, ok bool, err error) {
	s, ok := f.Get(group, key)
	switch strings.TrimRight(s, " \t") {
	case "true", "1":
		return true, ok, nil
	case "false", "0":
		return false, ok, nil
	}
	if !ok {
		return false, false, nil
	}
	return false, true, fmt.Errorf("%w: %s.%s is %q, neither true nor false", ErrSyntax, group, key, s)
}

// Int returns the value of a key that is a decimal number, and whether the key exists.
func (f *File) Int(group, key string) (n int64, ok bool, err error) {
	s, ok := f.Get(group, key)
	if !ok {
		return 0, false, nil
	}
	if n, err = strconv.ParseInt(strings.TrimRight(s, " \t"), 10, 64); err != nil {
		return 0, true, fmt.Errorf("%w: %s.%s is %q, not a number", ErrSyntax, group, key, s)
	}
	return n, true, nil
}

// List returns the elements of a key whose value is a list separated by semicolons, and whether the key exists.
func (f *File) List(group, key string) ([]string, bool) {
	i := f.find(group, key)
	if i < 0 {
		return nil, false
	}
	var out []string
	var cur strings.Builder
	v := f.lines[i].value
	for j := 0; j < len(v); j++ {
		switch {
		case v[j] == '\\' && j+1 < len(v) && v[j+1] == ';':
			cur.WriteByte(';')
			j++
		case v[j] == '\\' && j+1 < len(v):
			cur.WriteString(v[j : j+2])
			j++
		case v[j] == ';':
			out = append(out, unescape(cur.String()))
			cur.Reset()
		default:
			cur.WriteByte(v[j])
		}
	}
	if cur.Len() > 0 {
		out = append(out, unescape(cur.String()))
	}
	return out, true
}

// Set sets a key to a value, which it escapes. An existing key keeps its place; a new one is added at the end of its
// group, which is added if it is missing. A group or key that could not be read back is an error that wraps
// [ErrSyntax].
func (f *File) Set(group, key, value string) error {
	if !validGroup(group) || key == "" || strings.ContainsAny(key, "=[]#\n\r\x00") || strings.TrimSpace(key) != key ||
		!utf8.ValidString(group+key+value) || strings.Contains(value, "\x00") {
		return fmt.Errorf("%w: cannot write %q in group %q", ErrSyntax, key, group)
	}
	written := escape(value)
	l := line{text: key + "=" + written, group: group, key: key, value: written}
	if i := f.find(group, key); i >= 0 {
		f.lines[i] = l
		return nil
	}
	last := -1
	for i := range f.lines {
		if f.lines[i].group == group && strings.TrimSpace(f.lines[i].text) != "" {
			last = i
		}
	}
	if last < 0 {
		if n := len(f.lines); n > 0 && strings.TrimSpace(f.lines[n-1].text) != "" {
			f.lines = append(f.lines, line{group: f.lines[n-1].group})
		}
		f.lines = append(f.lines, line{text: "[" + group + "]", group: group}, l)
		return nil
	}
	f.lines = append(f.lines[:last+1], append([]line{l}, f.lines[last+1:]...)...)
	return nil
}

// Remove removes all lines of a group with the given key.
func (f *File) Remove(group, key string) {
	var out []line
	for _, l := range f.lines {
		if l.group != group || l.key != key || key == "" {
			out = append(out, l)
		}
	}
	f.lines = out
}

func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if j := strings.IndexByte(`sntr\`, s[i]); j >= 0 {
			b.WriteByte(" \n\t\r\\"[j])
		} else {
			b.WriteByte('\\')
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// escape escapes characters that a reader would otherwise trim or misinterpret.
func escape(s string) string {
	trimmed := strings.TrimLeft(s, " \t")
	lead := strings.NewReplacer(" ", `\s`, "\t", `\t`).Replace(s[:len(s)-len(trimmed)])
	return lead + strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(trimmed)
}
