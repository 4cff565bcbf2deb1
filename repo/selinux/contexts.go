package selinux

import (
	"context"
	"fmt"
	"strings"
)

// These limits keep a hostile policy cheap. Real policies have 7000 lines, with regular expressions of at most 300
// characters and 100 000 instructions in all.
const (
	maxSpecs        = 100_000
	maxPattern      = 4096 // libselinux allows one less
	maxContext      = 4096
	maxInstructions = 1_000_000
)

// spec is one line of file_contexts.
type spec struct {
	order  int    // later lines take precedence
	kind   uint32 // file type, or 0 for all
	label  string // "" for none
	stem   string // directory that paths must be in, such as "/usr", or ""
	prefix string // literal prefix of all matching paths
	match  *compiled
}

// noLabel in a policy says that files get no label.
const noLabel = "<<none>>"

// kinds maps letters to file types.
var kinds = map[string]uint32{
	"-b": 0o060000, "-c": 0o020000, "-d": 0o040000, "-p": 0o010000, "-l": 0o120000, "-s": 0o140000, "--": 0o100000,
}

const typeMask = 0o170000

func newPolicy(name string) *Policy {
	return &Policy{name: name, literals: map[string][]*spec{}, byDir: map[string][]*spec{}}
}

// addContexts reads a file of lines "PATTERN [TYPE] LABEL". They take precedence over those of files that were read
// earlier.
func (p *Policy) addContexts(ctx context.Context, file, data string) error {
	n := 0
	for line := range strings.Lines(data) {
		n++
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.addLine(line); err != nil {
			return fmt.Errorf("%w: %s, line %d: %w", ErrInvalidPolicy, file, n, err)
		}
	}
	return nil
}

func (p *Policy) addLine(line string) error {
	fields := strings.FieldsFunc(line, isSpace)
	if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
		return nil
	}
	if len(fields) < 2 {
		return fmt.Errorf("%q has no label", abbreviate(fields[0]))
	}
	pattern, label := fields[0], fields[1]
	s := &spec{order: p.count}
	if len(fields) > 2 {
		kind, ok := kinds[fields[1]]
		if !ok {
			return fmt.Errorf("%q is not a file type", abbreviate(fields[1]))
		}
		s.kind, label = kind, fields[2]
	}
	if label != noLabel {
		s.label = label
	}
	if err := checkFields(pattern, label); err != nil {
		return err
	}
	if p.count++; p.count > maxSpecs {
		return fmt.Errorf("more than %d lines", maxSpecs)
	}
	return p.addSpec(s, pattern)
}

func checkFields(pattern, label string) error {
	for _, f := range []struct {
		s   string
		max int
	}{{pattern, maxPattern}, {label, maxContext}} {
		if len(f.s) >= f.max {
			return fmt.Errorf("%q has more than %d characters", abbreviate(f.s), f.max-1)
		}
		for i := range len(f.s) {
			if f.s[i] == 0 || f.s[i] >= 0x80 {
				return fmt.Errorf("%q has characters other than those of ASCII", abbreviate(f.s))
			}
		}
	}
	return nil
}

func abbreviate(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// addSpec adds a line to the table in which matching paths are looked up.
func (p *Policy) addSpec(s *spec, pattern string) error {
	if path, ok := literal(pattern); ok {
		p.literals[path] = append(p.literals[path], s)
		return nil
	}
	c, err := compile(pattern, maxInstructions-p.instructions)
	if err != nil {
		return fmt.Errorf("%q: %w", abbreviate(pattern), err)
	}
	p.instructions += c.size
	s.match, s.stem, s.prefix = c, stem(pattern), literalPrefix(pattern)
	dir := s.prefix[:strings.LastIndexByte(s.prefix, '/')+1]
	p.byDir[dir] = append(p.byDir[dir], s)
	return nil
}

// Label returns the label of a file with the given path and mode, or "" if it has none. The path must be absolute and
// clean. Only the file type of the mode matters; without one, lines for any type match. Files in /usr/etc are labelled
// for that path: when a system is deployed, the copy in /etc is labelled again.
func (p *Policy) Label(path string, mode uint32) (string, error) {
	// Libostree does the same, since policies give the kernel's mount points no label.
	if path == "/proc" {
		path = "/mnt"
	}
	s := p.find(p.distSubs.apply(p.subs.apply(path)), mode&typeMask)
	if s == nil {
		return "", nil
	}
	return s.label, nil
}

// find returns the line that decides the label: the last match among lines without regular expressions, or else the
// last match of all.
func (p *Policy) find(path string, kind uint32) *spec {
	list := p.literals[path]
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].is(kind) {
			return list[i]
		}
	}
	text := latin1(path)
	var best *spec
	// A pattern that begins with "/usr/lib/x" can only match in /usr/lib or below.
	for end := 0; ; {
		if list := p.byDir[path[:end]]; len(list) > 0 {
			best = lastMatch(list, best, path, text, kind)
		}
		slash := strings.IndexByte(path[end:], '/')
		if slash < 0 {
			return best
		}
		end += slash + 1
	}
}

// lastMatch returns the last line of a list that matches and is later than best, or else best.
func lastMatch(list []*spec, best *spec, path, text string, kind uint32) *spec {
	for i := len(list) - 1; i >= 0; i-- {
		s := list[i]
		if best != nil && s.order < best.order {
			break
		}
		if s.is(kind) && strings.HasPrefix(path, s.prefix) && s.inStem(path) && s.match.matches(text) {
			return s
		}
	}
	return best
}

func (s *spec) is(kind uint32) bool { return s.kind == 0 || kind == 0 || s.kind == kind }

// inStem reports whether a path is in the directory of a pattern's stem. For a pattern such as "/usr/?" the path "/usr"
// is not, so that pattern does not label it.
func (s *spec) inStem(path string) bool {
	return s.stem == "" || len(path) > len(s.stem) && path[len(s.stem)] == '/' && strings.HasPrefix(path, s.stem)
}
