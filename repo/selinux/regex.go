package selinux

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// Libselinux passes "^PATTERN$" to PCRE, with bytes as characters and with "." matching all of them. Go's regular
// expressions match in linear time, which matters for untrusted patterns, but lack features that need backtracking.
// Syntax that both have but read differently is translated. What Go lacks is an error; no known policy uses it.

// metaCharacters are the characters that make a pattern a regular expression.
const metaCharacters = ".^$?*+|[({])}"

// escapable are the characters that may follow a backslash in a pattern that names one path.
const escapable = metaCharacters + "-_,"

// literal returns the only path that a pattern without metacharacters matches.
func literal(pattern string) (path string, ok bool) {
	path, rest := plainPrefix(pattern)
	return path, rest == ""
}

// plainPrefix splits a pattern at its first metacharacter. The first part is unescaped.
func plainPrefix(pattern string) (plain, rest string) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		if strings.IndexByte(metaCharacters, c) >= 0 {
			return b.String(), pattern[i:]
		}
		if c == '\\' {
			if i+1 == len(pattern) || strings.IndexByte(escapable, pattern[i+1]) < 0 {
				return b.String(), pattern[i:]
			}
			i++
			c = pattern[i]
		}
		b.WriteByte(c)
	}
	return b.String(), ""
}

// literalPrefix returns a prefix of all paths that match a pattern, not always the longest one.
func literalPrefix(pattern string) string {
	if strings.Contains(pattern, "|") && alternatives(pattern) {
		return ""
	}
	plain, rest := plainPrefix(pattern)
	if rest != "" && strings.IndexByte("?*{", rest[0]) >= 0 && plain != "" {
		return plain[:len(plain)-1] // the last character is optional
	}
	return plain
}

// alternatives reports whether a pattern may have a "|" outside of parentheses.
func alternatives(pattern string) bool {
	depth := 0
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '[':
			i += classLength(pattern[i:]) - 1
		case '(':
			depth++
		case ')':
			depth--
		case '|':
			if depth <= 0 {
				return true
			}
		}
	}
	return false
}

// stem returns the first directory of a pattern if that has no metacharacters: libselinux tries the pattern only for
// paths inside it.
func stem(pattern string) string {
	if pattern == "" {
		return ""
	}
	i := strings.IndexByte(pattern[1:], '/')
	if i < 0 {
		return ""
	}
	path, ok := literal(pattern[:i+1])
	if !ok {
		return ""
	}
	return path
}

// latin1 converts each byte to a character.
func latin1(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			r := make([]rune, len(s))
			for j := range len(s) {
				r[j] = rune(s[j])
			}
			return string(r)
		}
	}
	return s
}

var (
	errUnsupported = errors.New("regular expressions with this are not supported")
	errTooComplex  = errors.New("regular expressions are too complex")
)

// compiled is a compiled pattern.
type compiled struct {
	re       *regexp.Regexp
	contains string // substring of all matching paths
	size     int    // in instructions
}

func (c *compiled) matches(text string) bool {
	return strings.Contains(text, c.contains) && c.re.MatchString(text)
}

// compile translates a pattern, which may have as many instructions as limit says.
func compile(pattern string, limit int) (*compiled, error) {
	expr, err := translate(pattern)
	if err != nil {
		return nil, err
	}
	expr = "(?s)^" + expr + endOfPath
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		if e, ok := errors.AsType[*syntax.Error](err); ok {
			err = errors.New(e.Code.String()) // the expression in the error may be long
		}
		return nil, err
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	if len(prog.Inst) > limit {
		return nil, errTooComplex
	}
	re, err := regexp.Compile(expr)
	return &compiled{re: re, contains: required(tree), size: len(prog.Inst)}, err
}

// required returns the longest string that every match must contain.
func required(tree *syntax.Regexp) string {
	switch {
	case tree.Op == syntax.OpLiteral && tree.Flags&syntax.FoldCase == 0:
		return string(tree.Rune)
	case tree.Op == syntax.OpConcat, tree.Op == syntax.OpCapture:
		longest := ""
		for _, sub := range tree.Sub {
			if s := required(sub); len(s) > len(longest) {
				longest = s
			}
		}
		return longest
	}
	return ""
}

// endOfPath is what "$" means in PCRE.
const endOfPath = `(?:\n?\z)`

// translate returns a Go regular expression that matches the same paths.
func translate(pattern string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '\\':
			s, err := escape(pattern[i:], false)
			if err != nil {
				return "", err
			}
			b.WriteString(s)
			i++
		case '[':
			n := classLength(pattern[i:])
			if pattern[i+n-1] != ']' || n < 3 {
				return "", errors.New("missing closing ]")
			}
			s, err := class(pattern[i : i+n])
			if err != nil {
				return "", err
			}
			b.WriteString(s)
			i += n - 1
		case '(':
			rest := pattern[i+1:]
			if strings.HasPrefix(rest, "?") && !strings.HasPrefix(rest, "?:") || strings.HasPrefix(rest, "*") {
				return "", fmt.Errorf("%w: %s", errUnsupported, pattern[i:min(i+3, len(pattern))])
			}
			b.WriteByte(c)
		case '$':
			b.WriteString(endOfPath)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// whitespace is what \s stands for, including the vertical tab that Go's lacks.
const whitespace = `\t\n\v\f\r `

// escape translates the escape sequence at the start of s, which has two characters.
func escape(s string, inClass bool) (string, error) {
	if len(s) < 2 {
		return "", errors.New("a backslash at the end")
	}
	c := s[1]
	switch {
	case c == 's' && inClass:
		return whitespace, nil
	case c == 's':
		return "[" + whitespace + "]", nil
	case c == 'S' && !inClass:
		return "[^" + whitespace + "]", nil
	case strings.IndexByte("dDwWntrfa", c) >= 0, strings.IndexByte("bBAz", c) >= 0 && !inClass:
		return s[:2], nil
	case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		return "", fmt.Errorf(`%w: \%c`, errUnsupported, c)
	}
	return s[:2], nil
}

// classLength returns the length of the class at the start of s, or that of s if the class has no end.
func classLength(s string) int {
	i := 1
	if strings.HasPrefix(s[i:], "^") {
		i++
	}
	if strings.HasPrefix(s[i:], "]") {
		i++
	}
	for i < len(s) {
		switch {
		case s[i] == '\\':
			i++
		case strings.HasPrefix(s[i:], "[:"):
			if end := strings.Index(s[i+2:], ":]"); end >= 0 && !strings.ContainsAny(s[i+2:i+2+end], `]\`) {
				i += end + 3
			}
		case s[i] == ']':
			return i + 1
		}
		i++
	}
	return len(s)
}

func class(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		e, err := escape(s[i:], true)
		if err != nil {
			return "", err
		}
		b.WriteString(e)
		i++
	}
	return b.String(), nil
}
