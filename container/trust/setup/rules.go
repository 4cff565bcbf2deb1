package setup

import (
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ostree-ext/ostree-ext-go/container/trust/rules"
)

// rulesDir is what the files of trust.d say together.
type rulesDir struct {
	files  map[string][]byte // by file name
	scopes map[string]*rules.Rule
}

// readRules reads the files of trust.d.
func (l *layout) readRules() (*rulesDir, error) {
	r := &rulesDir{files: map[string][]byte{}, scopes: map[string]*rules.Rule{}}
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
		found, err := rules.Parse(l.show(file), data)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, l.show(file), err)
		}
		for _, scope := range slices.Sorted(maps.Keys(found)) {
			if other := r.scopes[scope]; other != nil {
				return nil, fmt.Errorf("%w: %s and %s both have a rule for %s: merge them", ErrInvalid, other.File,
					l.show(file), scope)
			}
			r.scopes[scope] = found[scope]
		}
	}
	return r, nil
}

// bundles plans the rule by which bundles of the keys count, unless they are not wanted.
func (b *builder) bundles(r *rulesDir, unwanted bool) error {
	if !unwanted {
		return b.rule(r, rules.Rule{BundlesByPolicyKeys: true}, section{{"bundlesByPolicyKeys", true}})
	}
	if old := r.scopes[b.opts.Scope]; old != nil && old.BundlesByPolicyKeys {
		b.note("%s lets bundles by the keys of %s count: remove that if it is not wanted", old.File,
			b.opts.Scope)
	} else if old != nil {
		b.note("%s names signers of %s: images must fulfil both rules", old.File, b.opts.Scope)
	}
	b.aroundRules(r)
	return nil
}

// identity plans the rule for signatures by an identity.
func (b *builder) identity(r *rulesDir) error {
	s := rules.Signer{OIDCIssuer: b.opts.Issuer, Identity: b.opts.Identity, IdentityExpression: b.opts.Expression}
	who := pair{"identity", b.opts.Identity}
	if b.opts.Expression != "" {
		who = pair{"identityExpression", b.opts.Expression}
	}
	item, err := section{{"oidcIssuer", b.opts.Issuer}, who}.node()
	if err != nil {
		return err
	}
	list := section{{"signedBy", &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{item}}}}
	if err := b.rule(r, rules.Rule{SignedBy: []rules.Signer{s}}, list); err != nil {
		return err
	}
	b.plan.NeedsTrustedRoot = !slices.ContainsFunc(b.layout.roots, b.layout.exists)
	b.note("podman, skopeo and bootc do not read this rule: for them, policy.json alone decides about %s", b.opts.Scope)
	return nil
}

// rule plans the rule of the scope.
func (b *builder) rule(r *rulesDir, want rules.Rule, s section) error {
	l, scope := b.layout, b.opts.Scope
	defer b.aroundRules(r)
	name := b.opts.Name + ".yaml"
	change := func(t *yamlText) error { return t.addSection(scope, s) }
	if old := r.scopes[scope]; old != nil {
		want.File, want.Scope = old.File, scope
		if reflect.DeepEqual(*old, want) {
			b.keep(l.rules + "/" + path.Base(old.File))
			return nil
		}
		if !b.opts.Replace {
			return fmt.Errorf("%w: %s already has another rule for %s: give --replace if the new one is to stand instead "+
				"of it", ErrConflict, old.File, scope)
		}
		name = path.Base(old.File)
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
			b.note("%s has a rule for %s, which alone decides about that part of %s", r.scopes[other].File, other,
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
		b.note("%s has a rule for %s: for its user, that one counts", rule.File, scope)
	}
}
