package component

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Rule is a rule of the user. The files that it matches are one component.
type Rule struct {
	// Name is the name of the component, without "user/".
	Name string
	// Paths are patterns of absolute paths: "*" matches anything but a slash, "**" anything, "/**/" also a single slash,
	// "?" one character, "[a-z]" one of these, "[!a-z]" any other. A pattern that matches a directory matches
	// everything below it. Use /etc for what a commit has in /usr/etc.
	Paths []string
	// Packages are patterns of the names of installed packages, whose files the rule matches.
	Packages []string
	// Exclusive asks for a layer that holds nothing else.
	Exclusive bool
	// Interval is the number of days between two changes, or 0 if that is not known.
	Interval float64

	paths, packages []*regexp.Regexp
}

// ErrRules says that a mapping file is invalid. It is returned wrapped.
var ErrRules = errors.New("invalid mapping file")

// maxRules bounds the rules of a mapping file.
const maxRules = 10_000

// ruleFile is the form of one rule in the file.
type ruleFile struct {
	Name     string   `yaml:"name"`
	Paths    []string `yaml:"paths"`
	Packages []string `yaml:"packages"`
	Layer    string   `yaml:"layer"`
	Interval string   `yaml:"update_interval"`
}

// ParseRules parses a mapping file: YAML or JSON, a list of rules with the keys name, paths, packages, layer ("shared"
// or "exclusive") and update_interval (days, or daily, weekly, biweekly, monthly, quarterly, yearly). Unknown keys are
// an error. The error wraps [ErrRules] and names the line, and the column if the document has another form.
func ParseRules(data []byte) ([]Rule, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); err != nil && err != io.EOF {
		return nil, fmt.Errorf("%w: %w", ErrRules, err)
	}
	if err := checkForm(&doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRules, err)
	}
	var list []ruleFile
	if err := doc.Decode(&list); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRules, err)
	}
	if err := dec.Decode(new(any)); err != io.EOF {
		return nil, fmt.Errorf("%w: there is something after the list of rules", ErrRules)
	}
	if len(list) > maxRules {
		return nil, fmt.Errorf("%w: more than %d rules", ErrRules, maxRules)
	}
	rules := make([]Rule, len(list))
	for i, f := range list {
		r, err := f.rule()
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: rule %d (%q): %w", ErrRules, lineOf(&doc, i), i+1, abbreviate(f.Name), err)
		}
		rules[i] = r
	}
	return rules, nil
}

// The keys of a rule, and whether the value is a list.
var ruleKeys = map[string]bool{"name": false, "paths": true, "packages": true, "layer": false, "update_interval": false}

// checkForm checks that a document is a list of rules with known keys, and says where it is not. The errors of the YAML
// package give the names of Go types.
func checkForm(doc *yaml.Node) error {
	if len(doc.Content) == 0 || isNull(doc.Content[0]) {
		return errors.New("there are no rules: write [] if that is meant")
	}
	list := resolved(doc.Content[0])
	if list.Kind != yaml.SequenceNode {
		return expected(list, "a list of rules, each beginning with \"- name: \"")
	}
	for _, n := range list.Content {
		r := resolved(n)
		if r.Kind != yaml.MappingNode {
			return expected(n, "a rule with the keys name, and paths or packages")
		}
		for i := 0; i+1 < len(r.Content); i += 2 {
			if err := checkPair(r.Content[i], r.Content[i+1]); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkPair(key, value *yaml.Node) error {
	isList, known := ruleKeys[key.Value]
	v := resolved(value)
	switch {
	case key.Tag == "!!merge":
		return nil
	case !known:
		return fmt.Errorf("line %d, column %d: unknown key %q: a rule has name, paths, packages, layer and update_interval",
			key.Line, key.Column, abbreviate(key.Value))
	case isNull(v):
		return nil
	case !isList && v.Kind != yaml.ScalarNode:
		return expected(value, key.Value+": one word")
	case !isList:
		return nil
	case v.Kind != yaml.SequenceNode:
		return expected(value, key.Value+": a list, as in [/usr/lib/app, /etc/app]")
	}
	for _, e := range v.Content {
		if resolved(e).Kind != yaml.ScalarNode || isNull(resolved(e)) {
			return expected(e, key.Value+": a string")
		}
	}
	return nil
}

// resolved returns the node that an alias stands for.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func expected(n *yaml.Node, what string) error {
	got := map[yaml.Kind]string{
		yaml.ScalarNode: "a single value", yaml.SequenceNode: "a list", yaml.MappingNode: "keys with values",
	}[resolved(n).Kind]
	return fmt.Errorf("line %d, column %d: %s is expected, not %s", n.Line, n.Column, what, got)
}

// lineOf returns the line at which an element of the list in a valid document begins.
func lineOf(doc *yaml.Node, index int) int { return doc.Content[0].Content[index].Line }

func (f *ruleFile) rule() (r Rule, err error) {
	r = Rule{Name: f.Name, Paths: f.Paths, Packages: f.Packages}
	if !validName(f.Name) {
		return r, errors.New("a name is needed, without spaces and commas")
	}
	if len(f.Paths)+len(f.Packages) == 0 {
		return r, errors.New("paths or packages are needed")
	}
	switch f.Layer {
	case "", "shared":
	case "exclusive":
		r.Exclusive = true
	default:
		return r, fmt.Errorf("layer %q: shared or exclusive", f.Layer)
	}
	if f.Interval != "" {
		if r.Interval, err = parseInterval(f.Interval); err != nil {
			return r, err
		}
	}
	for _, p := range f.Paths {
		if !strings.HasPrefix(p, "/") {
			return r, fmt.Errorf("path %q: it must be absolute", p)
		}
		x, err := glob(strings.TrimSuffix(p, "/"), true)
		if err != nil {
			return r, fmt.Errorf("path %q: %w", p, err)
		}
		r.paths = append(r.paths, x)
	}
	for _, p := range f.Packages {
		x, err := glob(p, false)
		if err != nil {
			return r, fmt.Errorf("package %q: %w", p, err)
		}
		r.packages = append(r.packages, x)
	}
	return r, nil
}

// validName reports whether a name can be used in annotations and IDs.
func validName(name string) bool {
	return name != "" && len(name) <= 256 && utf8.ValidString(name) && word(name) == name
}

// intervals are the names of intervals in days, as in chunkah.
var intervals = map[string]float64{"daily": 1, "weekly": 7, "biweekly": 14, "monthly": 30, "quarterly": 90,
	"yearly": 365}

func parseInterval(s string) (float64, error) {
	if days, ok := intervals[s]; ok {
		return days, nil
	}
	n, err := strconv.Atoi(strings.TrimSuffix(s, "d"))
	if err != nil || n < 1 || n > 36500 {
		return 0, fmt.Errorf("interval %q: give days, or daily, weekly, biweekly, monthly, quarterly or yearly",
			abbreviate(s))
	}
	return float64(n), nil
}

func abbreviate(s string) string { return s[:min(len(s), 100)] }

// glob converts a pattern to a regular expression, which is matched in linear time.
func glob(pattern string, below bool) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString(`^(?s:`)
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*':
			switch {
			case strings.HasPrefix(pattern[i:], "**/") && i > 0 && pattern[i-1] == '/':
				b.WriteString("(.*/)?")
				i += 2
			case strings.HasPrefix(pattern[i:], "**"):
				b.WriteString(".*")
				i++
			default:
				b.WriteString("[^/]*")
			}
		case '?':
			b.WriteString("[^/]")
		case '[':
			end := strings.IndexByte(pattern[i:], ']')
			if end < 2 {
				return nil, errors.New("the bracket is not closed, or empty")
			}
			set := strings.ReplaceAll(pattern[i+1:i+end], `\`, `\\`)
			if strings.HasPrefix(set, "!") || strings.HasPrefix(set, "^") {
				set = "^/" + set[1:]
			}
			b.WriteString("[" + strings.ReplaceAll(set, "[", `\[`) + "]")
			i += end
		default:
			_, n := utf8.DecodeRuneInString(pattern[i:])
			b.WriteString(regexp.QuoteMeta(pattern[i : i+n]))
			i += n - 1
		}
	}
	b.WriteString(`)`)
	if below {
		b.WriteString(`(/|$)`)
	} else {
		b.WriteString(`$`)
	}
	return regexp.Compile(b.String())
}

func matchesAny(patterns []*regexp.Regexp, s string) bool {
	return slices.ContainsFunc(patterns, func(x *regexp.Regexp) bool { return x.MatchString(s) })
}

// rules claims files that the user's rules match by path. Files that they match by package are claimed with the
// packages.
func (d *detection) rules(ctx context.Context, opts Options) error {
	for n := range opts.Rules {
		r := &opts.Rules[n]
		f := d.list[d.component("user/"+r.Name)]
		f.Exclusive, f.Interval = f.Exclusive || r.Exclusive, max(f.Interval, r.Interval)
	}
	if len(opts.Rules) == 0 {
		return nil
	}
	for i, e := range d.entries.All() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.IsDir() {
			continue
		}
		p := e.Path()
		inSystem := shipped(p)
		for n := range opts.Rules {
			r := &opts.Rules[n]
			if matchesAny(r.paths, p) || inSystem != p && matchesAny(r.paths, inSystem) {
				d.ruleHits[n] = true
				d.ruleAt[i] = uint32(n)
				d.claim(i, "user/"+r.Name, detectorRule, "rule "+r.Name)
				break
			}
		}
	}
	return nil
}

// ruleOf returns the index of the first rule that matches a package, or -1.
func (d *detection) ruleOf(name string, opts Options) int {
	for n := range opts.Rules {
		if matchesAny(opts.Rules[n].packages, name) {
			d.ruleHits[n] = true
			return n
		}
	}
	return -1
}

// claimByRule assigns a file of a package to the rule that matches the package. Rules take precedence over xattrs, and
// the first matching rule applies, whether it matches by path or by package.
func (d *detection) claimByRule(i, rule int, id, pkg string) {
	switch d.detector(i) {
	case detectorSystem:
		return
	case detectorRule:
		if int(d.ruleAt[i]) <= rule {
			return
		}
	}
	d.claims[i].Component = -1
	d.ruleAt[i] = uint32(rule)
	d.claim(i, id, detectorRule, "rule "+strings.TrimPrefix(id, "user/")+", package "+pkg)
}

// uselessRules warns about rules that matched nothing.
func (d *detection) uselessRules(_ context.Context, opts Options) error {
	var names []string
	for n, hit := range d.ruleHits {
		if !hit {
			names = append(names, opts.Rules[n].Name)
		}
	}
	const shown = 3
	if n := len(names); n > shown {
		d.warnf("%d of %d rules match nothing: %s and others", n, len(opts.Rules), strings.Join(names[:shown], ", "))
		return nil
	}
	for _, name := range names {
		d.warnf("the rule %s matches nothing", name)
	}
	return nil
}
