// Package aptsources finds the mirror that the machine's own apt uses. Tests that make a Debian system fetch its
// packages from there, and do not name a host themselves.
package aptsources

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Debian is one release of Debian on the machine's mirror, as lines of sources.list.
type Debian struct {
	// Release is the release as it was published, with its point releases.
	Release []string
	// Updates are the security and other updates to it.
	Updates []string
}

// All is the release with its updates.
func (d Debian) All() []string { return slices.Concat(d.Release, d.Updates) }

// Mmdebstrap returns the arguments of mmdebstrap that make a minimal system of a release, from some of its lines. It
// disables syncing to disk, which would take half of the time.
func Mmdebstrap(codename, target string, lines []string, options ...string) []string {
	args := append([]string{"--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io"}, options...)
	return append(append(args, codename, target), lines...)
}

// ErrNone says that apt on this machine has no source of Debian's packages. It is returned wrapped.
var ErrNone = errors.New("no source of Debian's packages")

// Find returns a release, named by its code name, on the mirror of this machine. Which release the machine itself runs
// does not matter. The error wraps [ErrNone] if /etc/apt has no mirror of the main archive, or none of the security
// updates.
func Find(codename string) (Debian, error) {
	return find(os.DirFS("/etc/apt"), codename)
}

func find(etc fs.FS, codename string) (Debian, error) {
	sources, err := read(etc)
	if err != nil {
		return Debian{}, fmt.Errorf("apt's sources: %w", err)
	}
	var archive, security *source
	for _, s := range sources {
		switch kind := s.kind(); {
		case kind == isSecurity && security == nil:
			security = &s
		case kind == isArchive && archive == nil:
			archive = &s
		}
	}
	if archive == nil || security == nil {
		return Debian{}, fmt.Errorf("%w: /etc/apt/sources.list and sources.list.d must name a mirror "+
			"for a release of Debian, and one for its security updates", ErrNone)
	}
	return Debian{
		Release: []string{archive.line(codename)},
		Updates: []string{archive.line(codename + "-updates"), security.line(codename + "-security")},
	}, nil
}

// source is one mirror with one suite.
type source struct {
	uri, suite string
	options    []string // as in the brackets of a line
}

func (s source) line(suite string) string {
	if len(s.options) == 0 {
		return "deb " + s.uri + " " + suite + " main"
	}
	return "deb [" + strings.Join(s.options, " ") + "] " + s.uri + " " + suite + " main"
}

const (
	isOther = iota
	isArchive
	isSecurity
)

// releases matches the names of suites in Debian's own archive. Other distributions use such names with other words
// before or after them.
var releases = []string{
	"bullseye", "bookworm", "trixie", "forky", "duke", "sid", "oldoldstable", "oldstable", "stable", "testing", "unstable",
}

func (s source) kind() int {
	name, isSecurityName := strings.CutSuffix(s.suite, "-security")
	switch {
	case !slices.Contains(releases, name):
		return isOther
	case isSecurityName:
		return isSecurity
	}
	return isArchive
}

// read returns the sources with the component main, in the order in which apt reads them: sources.list, then the files
// of sources.list.d by name.
func read(etc fs.FS) ([]source, error) {
	names, err := fs.Glob(etc, "sources.list.d/*")
	if err != nil {
		return nil, err
	}
	var all []source
	for _, name := range append([]string{"sources.list"}, names...) {
		var parse func(string) []source
		switch path.Ext(name) {
		case ".list":
			parse = parseLines
		case ".sources":
			parse = parseParagraphs
		default:
			continue
		}
		data, err := fs.ReadFile(etc, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, parse(string(data))...)
	}
	return all, nil
}

// parseLines parses the format with one line for each source: deb [options] URI suite component….
func parseLines(text string) (all []source) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.Join(strings.Fields(line), " "), "deb ")
		if !ok {
			continue
		}
		var options []string
		if inside, ok := strings.CutPrefix(rest, "["); ok {
			inside, rest, _ = strings.Cut(inside, "]")
			for _, option := range strings.Fields(inside) {
				if key, _, _ := strings.Cut(option, "="); slices.Contains(kept, strings.ToLower(key)) {
					options = append(options, option)
				}
			}
		}
		fields := strings.Fields(rest)
		if len(fields) > 2 && slices.Contains(fields[2:], "main") {
			all = append(all, source{fields[0], fields[1], options})
		}
	}
	return all
}

// kept are the options that say whether a mirror is trusted. Others, such as architectures, are about the machine.
var kept = []string{"signed-by", "trusted", "check-valid-until"}

// parseParagraphs parses the format deb822: paragraphs of fields, each with several values.
func parseParagraphs(text string) (all []source) {
	for _, paragraph := range paragraphs(text) {
		has := func(field, value string) bool { return slices.Contains(strings.Fields(paragraph[field]), value) }
		if !has("types", "deb") || !has("components", "main") || strings.EqualFold(paragraph["enabled"], "no") {
			continue
		}
		var options []string
		for _, key := range kept {
			// The field may also contain the key itself, in many lines.
			if value := paragraph[key]; value != "" && !strings.ContainsAny(value, " \n") {
				options = append(options, key+"="+value)
			}
		}
		for _, uri := range strings.Fields(paragraph["uris"]) {
			for _, suite := range strings.Fields(paragraph["suites"]) {
				all = append(all, source{uri, suite, options})
			}
		}
	}
	return all
}

// paragraphs returns the fields of each paragraph by name, in lower case.
func paragraphs(text string) (all []map[string]string) {
	current, field := map[string]string{}, ""
	for line := range strings.Lines(text + "\n\n") {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			if len(current) > 0 {
				all = append(all, current)
			}
			current, field = map[string]string{}, ""
		case line[0] == ' ' || line[0] == '\t':
			current[field] = strings.TrimSpace(current[field] + "\n" + strings.TrimSpace(line))
		default:
			name, value, _ := strings.Cut(line, ":")
			field = strings.ToLower(strings.TrimSpace(name))
			current[field] = strings.TrimSpace(value)
		}
	}
	return all
}
