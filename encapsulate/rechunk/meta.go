package rechunk

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
)

// ErrMeta is wrapped by errors about an invalid meta.yml.
var ErrMeta = errors.New("invalid meta.yml")

// Bounds on a meta.yml.
const (
	maxMeta   = 1 << 20
	maxGroups = 5000
)

// Meta is a converted meta.yml.
type Meta struct {
	// Mapping is a mapping file with the same groups in the same order; see [component.ParseRules].
	Mapping []byte
	// MaxLayers is the number of layers that the file asks for, or 0.
	MaxLayers int
	// Warnings are about groups that have another effect than they had.
	Warnings []string
}

// group is a group of packages and files in a meta.yml.
type group struct {
	Packages  []string `yaml:"packages"`
	Files     []string `yaml:"files"`
	Dedicated *bool    `yaml:"dedicated"`
}

// rule is a rule of a mapping file.
type rule struct {
	Name     string   `yaml:"name"`
	Paths    []string `yaml:"paths,omitempty"`
	Packages []string `yaml:"packages,omitempty"`
	Layer    string   `yaml:"layer,omitempty"`
}

// ConvertMeta converts a meta.yml. A group becomes a rule of its name: the name is also a pattern of packages, and the
// group has a layer of its own unless it says otherwise. Ratios have no counterpart. The error wraps [ErrMeta].
func ConvertMeta(data []byte) (*Meta, error) {
	m, err := convertMeta(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMeta, err)
	}
	return m, nil
}

func convertMeta(data []byte) (*Meta, error) {
	if len(data) > maxMeta {
		return nil, fmt.Errorf("it has %d bytes, more than %d", len(data), maxMeta)
	}
	var doc struct {
		MaxLayers int       `yaml:"max_layers"`
		Meta      yaml.Node `yaml:"meta"`
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if doc.MaxLayers < 0 || doc.MaxLayers > 1000 {
		return nil, fmt.Errorf("max_layers: %d", doc.MaxLayers)
	}
	if doc.Meta.Kind != yaml.MappingNode {
		return nil, errors.New("there is no object meta with groups of packages")
	}
	if len(doc.Meta.Content)/2 > maxGroups {
		return nil, fmt.Errorf("more than %d groups", maxGroups)
	}
	m := &Meta{MaxLayers: doc.MaxLayers}
	var rules []rule
	for i := 0; i+1 < len(doc.Meta.Content); i += 2 {
		name := doc.Meta.Content[i]
		var g group
		if err := doc.Meta.Content[i+1].Decode(&g); err != nil {
			return nil, fmt.Errorf("line %d: group %q: %w", name.Line, name.Value, err)
		}
		rules = append(rules, m.rule(name.Value, g))
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(rules), enc.Close()); err != nil {
		return nil, err
	}
	if _, err := component.ParseRules(out.Bytes()); err != nil {
		return nil, err
	}
	m.Mapping = out.Bytes()
	return m, nil
}

func (m *Meta) rule(name string, g group) rule {
	r := rule{Name: strings.Join(strings.FieldsFunc(name, func(c rune) bool { return c == ',' || c <= ' ' }), "-")}
	for _, p := range append(slices.Clone(g.Packages), name) {
		if !slices.Contains(r.Packages, p) {
			r.Packages = append(r.Packages, p)
		}
	}
	for _, f := range g.Files {
		p, ok := path(f)
		switch {
		case !ok:
			m.Warnings = append(m.Warnings, fmt.Sprintf("group %s: the files %s are left out: nothing can have that path",
				name, f))
		case strings.HasPrefix(p, "/etc") || strings.HasPrefix(p, "/usr/etc"):
			m.Warnings = append(m.Warnings, fmt.Sprintf("group %s: the files %s are left out: such groups never had what is "+
				"in /etc", name, f))
		default:
			r.Paths = append(r.Paths, p)
		}
	}
	if g.Dedicated == nil || *g.Dedicated {
		r.Layer = "exclusive"
	}
	return r
}

// path converts a pattern of Python's fnmatch, in which "*" and "?" match slashes, too. It returns false for a pattern
// that matches no absolute path.
func path(pattern string) (string, bool) {
	if pattern == "" || !strings.Contains("/*?", pattern[:1]) {
		return "", false
	}
	if pattern[0] == '?' {
		pattern = "/" + pattern[1:]
	}
	var b strings.Builder
	if pattern[0] != '/' {
		b.WriteByte('/')
	}
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '*' {
			b.WriteByte(pattern[i])
			continue
		}
		for i+1 < len(pattern) && pattern[i+1] == '*' {
			i++
		}
		// "/**/" would also match a single slash.
		if s := b.String(); strings.HasSuffix(s, "/") && i+1 < len(pattern) && pattern[i+1] == '/' {
			b.WriteByte('?')
		}
		b.WriteString("**")
	}
	return b.String(), true
}
