package setup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
)

// defaultPolicy is the policy.json that distributions ship, for hosts that have none.
const defaultPolicy = `{
    "default": [
        {
            "type": "insecureAcceptAnything"
        }
    ]
}
`

// requirement is a requirement of policy.json, in the order in which its fields are written.
type requirement struct {
	Type           string          `json:"type"`
	KeyType        string          `json:"keyType,omitempty"`
	KeyPath        string          `json:"keyPath,omitempty"`
	KeyPaths       []string        `json:"keyPaths,omitempty"`
	SignedIdentity *signedIdentity `json:"signedIdentity,omitempty"`
}

type signedIdentity struct {
	Type string `json:"type"`
}

// requirementFor returns what an image must fulfil that one of the keys has signed.
func requirementFor(openPGP bool, keys []string) requirement {
	var r requirement
	if openPGP {
		// Signatures by podman and skopeo name the tag, so the default for identities is right.
		r.Type, r.KeyType = "signedBy", "GPGKeys"
	} else {
		// Those by cosign name the repository alone; the default refuses them for every pull by tag.
		r.Type, r.SignedIdentity = "sigstoreSigned", &signedIdentity{"matchRepository"}
	}
	if len(keys) == 1 {
		r.KeyPath = keys[0]
	} else {
		r.KeyPaths = keys
	}
	return r
}

// policyFile is a policy.json that was read.
type policyFile struct {
	name string
	data []byte
	// exists says that the file itself is there, and data is not that of another one.
	exists bool
	// base is the other file, if there is one.
	base string
	// docker are the requirements of scopes.
	docker map[string]json.RawMessage
}

// readPolicy reads the policy.json that counts.
func (l *layout) readPolicy() (*policyFile, error) {
	p := &policyFile{name: l.policy}
	for _, name := range append([]string{l.policy}, l.policyBases...) {
		data, exists, err := l.read(name)
		if err != nil {
			return nil, fmt.Errorf("reading the policy: %w", err)
		}
		if !exists {
			continue
		}
		if _, err := policy.Parse(data); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, l.show(name), err)
		}
		p.data, p.exists = data, name == l.policy
		if !p.exists {
			p.base = name
		}
		var doc struct {
			Transports map[string]map[string]json.RawMessage `json:"transports"`
		}
		if err := json.Unmarshal(data, &doc); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, l.show(name), err)
		}
		p.docker = doc.Transports["docker"]
		return p, nil
	}
	p.data = []byte(defaultPolicy)
	return p, nil
}

// policy plans the policy.json for keys.
func (b *builder) policy(p *policyFile, want requirement) error {
	l, scope := b.layout, b.opts.Scope
	list := []requirement{want}
	if old, ok := p.docker[scope]; ok {
		same, err := equalJSON(old, list)
		if err != nil {
			return err
		}
		if same {
			b.keep(p.source())
			return nil
		}
		if !b.opts.Replace {
			var compact bytes.Buffer
			_ = json.Compact(&compact, old) // it was parsed
			return fmt.Errorf("%w: %s already has a rule for %s, which is %s: give --replace if the new one is to stand "+
				"instead of it", ErrConflict, l.show(p.source()), scope, compact.String())
		}
	}
	data, err := setJSON(p.data, []string{"transports", "docker", scope}, list)
	if err == nil {
		_, err = policy.Parse(data)
	}
	if err != nil {
		return fmt.Errorf("changing %s: %w", l.show(p.source()), err)
	}
	b.put(p.name, p.exists, p.base, p.data, data)
	switch {
	case p.base != "":
		b.note("%s is a copy of %s with one more rule, and will count instead of it", l.show(p.name), l.show(p.base))
	case !p.exists:
		b.note("there was no policy.json: the new one asks for signatures of %s alone, and accepts any other image",
			scope)
	}
	if want.Type == "sigstoreSigned" && len(want.KeyPaths) > 0 {
		b.note("podman and skopeo of 2024 and before do not know several keys for one scope (keyPaths of " +
			"sigstoreSigned), and refuse all of such a policy.json")
	}
	return nil
}

// source returns the file that was read.
func (p *policyFile) source() string {
	if p.base != "" {
		return p.base
	}
	return p.name
}

// aroundPolicy says what else decides about images of the scope.
func (b *builder) aroundPolicy(p *policyFile, byIdentity bool) {
	l, scope := b.layout, b.opts.Scope
	for _, other := range slices.Sorted(maps.Keys(p.docker)) {
		if slices.Contains(wider(other), scope) {
			b.note("%s has a rule for %s, which alone decides about that part of %s", l.show(p.source()), other, scope)
		}
	}
	if rule, ok := p.docker[scope]; ok && byIdentity {
		rejects := ""
		if bytes.Contains(rule, []byte(`"reject"`)) {
			rejects = ", and that one refuses them all"
		}
		b.note("%s has a rule for %s as well: images must fulfil both%s", l.show(p.source()), scope, rejects)
	}
	for _, name := range l.shadows {
		if l.exists(name) {
			b.note("%s exists: for its user, it counts instead of %s", l.show(name), l.show(l.policy))
		}
	}
	if file := b.opts.Host.variable(envPolicy); file != "" {
		b.note("$%s names %s: where that is set, it counts instead of %s", envPolicy, file, l.show(l.policy))
	}
}

const envPolicy = "CONTAINERS_POLICY_JSON"

// variable returns a variable of the environment, if the host is this machine.
func (h Host) variable(name string) string {
	if h.Root != "" {
		return ""
	}
	return h.Env(name)
}

// equalJSON reports whether text has the same meaning as the encoding of a value.
func equalJSON(text []byte, value any) (bool, error) {
	encoded, err := json.Marshal(value)
	if err != nil {
		return false, err
	}
	var a, b any
	if err := errors.Join(json.Unmarshal(text, &a), json.Unmarshal(encoded, &b)); err != nil {
		return false, err
	}
	return reflect.DeepEqual(a, b), nil
}
