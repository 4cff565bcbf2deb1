package setup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// signerRule is the rule of a scope in trust.d.
type signerRule struct {
	SignedBy            []signer `yaml:"signedBy"`
	BundlesByPolicyKeys bool     `yaml:"bundlesByPolicyKeys"`

	file string
}

type signer struct {
	KeyPath            string   `yaml:"keyPath"`
	KeyPaths           []string `yaml:"keyPaths"`
	OIDCIssuer         string   `yaml:"oidcIssuer"`
	Identity           string   `yaml:"identity"`
	IdentityExpression string   `yaml:"identityExpression"`
	TrustedRoot        string   `yaml:"trustedRoot"`
}

// rulesDir is what the files of trust.d say together.
type rulesDir struct {
	files  map[string][]byte // by file name
	scopes map[string]*signerRule
}

// readRules reads the files of trust.d.
func (l *layout) readRules() (*rulesDir, error) {
	r := &rulesDir{files: map[string][]byte{}, scopes: map[string]*signerRule{}}
	names, err := l.list(l.rules)
	if err != nil {
		return nil, fmt.Errorf("reading trust.d: %w", err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		file := l.rules + "/" + name
		data, _, err := l.read(file)
		if err != nil {
			return nil, fmt.Errorf("reading trust.d: %w", err)
		}
		r.files[name] = data
		rules, err := parseRules(data)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, l.show(file), err)
		}
		for _, scope := range slices.Sorted(maps.Keys(rules)) {
			if other := r.scopes[scope]; other != nil {
				return nil, fmt.Errorf("%w: %s and %s both have a rule for %s: merge them", ErrInvalid, l.show(other.file),
					l.show(file), scope)
			}
			rule := rules[scope]
			rule.file = file
			r.scopes[scope] = &rule
		}
	}
	return r, nil
}

// goType is the part of a message about YAML that does not help the person who wrote it.
var goType = regexp.MustCompile(` in type \S+`)

func parseRules(data []byte) (map[string]signerRule, error) {
	var doc struct {
		Docker map[string]signerRule `yaml:"docker"`
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&doc); err != nil && err != io.EOF {
		return nil, errors.New(goType.ReplaceAllString(err.Error(), ""))
	}
	if err := d.Decode(new(any)); err != io.EOF {
		return nil, errors.New("there is more than one YAML document")
	}
	return doc.Docker, nil
}

// bundles plans the rule by which bundles of the keys count, unless they are not wanted.
func (b *builder) bundles(r *rulesDir, unwanted bool) error {
	if !unwanted {
		return b.rule(r, signerRule{BundlesByPolicyKeys: true}, section{{"bundlesByPolicyKeys", true}})
	}
	if old := r.scopes[b.opts.Scope]; old != nil && old.BundlesByPolicyKeys {
		b.note("%s lets bundles by the keys of %s count: remove that if it is not wanted", b.layout.show(old.file),
			b.opts.Scope)
	} else if old != nil {
		b.note("%s names signers of %s: images must fulfil both rules", b.layout.show(old.file), b.opts.Scope)
	}
	b.aroundRules(r)
	return nil
}

// identity plans the rule for signatures by an identity.
func (b *builder) identity(r *rulesDir) error {
	s := signer{OIDCIssuer: b.opts.Issuer, Identity: b.opts.Identity, IdentityExpression: b.opts.Expression}
	who := pair{"identity", b.opts.Identity}
	if b.opts.Expression != "" {
		who = pair{"identityExpression", b.opts.Expression}
	}
	item, err := section{{"oidcIssuer", b.opts.Issuer}, who}.node()
	if err != nil {
		return err
	}
	list := section{{"signedBy", &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{item}}}}
	if err := b.rule(r, signerRule{SignedBy: []signer{s}}, list); err != nil {
		return err
	}
	b.plan.NeedsTrustedRoot = !slices.ContainsFunc(b.layout.roots, b.layout.exists)
	b.note("podman, skopeo and bootc do not read this rule: for them, policy.json alone decides about %s", b.opts.Scope)
	return nil
}

// rule plans the rule of the scope.
func (b *builder) rule(r *rulesDir, want signerRule, s section) error {
	l, scope := b.layout, b.opts.Scope
	defer b.aroundRules(r)
	name := b.opts.Name + ".yaml"
	change := func(t *yamlText) error { return t.addSection(scope, s) }
	if old := r.scopes[scope]; old != nil {
		want.file = old.file
		if reflect.DeepEqual(*old, want) {
			b.keep(old.file)
			return nil
		}
		if !b.opts.Replace {
			return fmt.Errorf("%w: %s already has another rule for %s: give --replace if the new one is to stand instead "+
				"of it", ErrConflict, l.show(old.file), scope)
		}
		name = path.Base(old.file)
		change = func(t *yamlText) error { return t.replaceSection(scope, s) }
	}
	old, exists := r.files[name]
	data, err := editYAML(old, scope, s, change)
	if err != nil {
		text, _ := renderSection(scope, s, "  ", "  ")
		return fmt.Errorf("%s: %w, so that it has this: docker: %s", l.show(l.rules+"/"+name), err, oneLine(text))
	}
	b.put(l.rules+"/"+name, exists, "", old, data)
	return nil
}

// aroundRules says which other rules decide about images of the scope.
func (b *builder) aroundRules(r *rulesDir) {
	l, scope := b.layout, b.opts.Scope
	for _, other := range slices.Sorted(maps.Keys(r.scopes)) {
		if slices.Contains(wider(other), scope) {
			b.note("%s has a rule for %s, which alone decides about that part of %s", l.show(r.scopes[other].file), other,
				scope)
		}
	}
	if l.userRules == "" {
		return
	}
	own := *l
	own.rules = l.userRules
	users, err := own.readRules()
	if err != nil {
		b.note("%v", err)
	} else if rule := users.scopes[scope]; rule != nil {
		b.note("%s has a rule for %s: for its user, that one counts", l.show(rule.file), scope)
	}
}
