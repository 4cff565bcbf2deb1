package keyed

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// MaxPolicySize limits a policy in bytes.
const MaxPolicySize = 1 << 20

// Errors about policies.
var (
	// ErrInvalid is wrapped by errors about the content of a policy.
	ErrInvalid = policyjson.ErrInvalid
	// ErrUnsupported is wrapped by the error for a rule that asks for something that is not evaluated here.
	ErrUnsupported = errors.New("cannot be evaluated here")
	// ErrRejects is wrapped by the error for a rule that refuses every image.
	ErrRejects = errors.New("refuses every image (reject)")
	// ErrAnything is wrapped by the error for a rule that accepts any image. Who asks for signatures gets some.
	ErrAnything = errors.New("accepts any image (insecureAcceptAnything), where signed ones are asked for")
)

// Policy is what a policy says about images of registries.
type Policy struct {
	says *policyjson.Policy
	// scopes and fallback are the lists of the transport docker and the default.
	scopes   map[string][]requirement
	fallback []requirement
}

// ParsePolicy reads a policy, as package policyjson does. Errors wrap [ErrInvalid].
func ParsePolicy(data []byte) (*Policy, error) {
	if len(data) > MaxPolicySize {
		return nil, fmt.Errorf("%w: it has more than %s", ErrInvalid, sizes.Format(MaxPolicySize))
	}
	says, err := policyjson.Parse(data)
	if err != nil {
		return nil, err
	}
	p := &Policy{says: says, scopes: map[string][]requirement{}}
	if p.fallback, err = newRequirements("default", says.Default); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	lists := says.Transports[policyjson.Docker]
	for _, scope := range slices.Sorted(maps.Keys(lists)) {
		where := fmt.Sprintf("transports.%s.%q", policyjson.Docker, scope)
		if p.scopes[scope], err = newRequirements(where, lists[scope]); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return p, nil
}

// A Rule is what a policy asks of an image. Each of the requirements must be fulfilled.
type Rule struct {
	// Scope is where it stands in the policy, such as "docker: quay.io/example", or "default".
	Scope string

	requirements []requirement
}

// Rule returns the rule for an image of a registry: that of the most specific scope. The error wraps
// [ErrUnsupported], [ErrRejects] or [ErrAnything], or [policyjson.ErrSpelling] if another rule is meant.
func (p *Policy) Rule(name reference.Named) (*Rule, error) {
	r := &Rule{Scope: "default", requirements: p.fallback}
	scope, _, named, err := p.says.Rule(policyjson.Docker, Scopes(name))
	if err != nil {
		return nil, err
	}
	if named {
		r.Scope, r.requirements = strings.TrimSuffix(policyjson.Docker+": "+scope, ": "), p.scopes[scope]
	}
	anything := true
	for _, q := range r.requirements {
		switch {
		case q.kind == policyjson.Reject:
			return nil, fmt.Errorf("scope %q %w", r.Scope, ErrRejects)
		case q.unsupported != "":
			return nil, fmt.Errorf("scope %q asks for %s, which %w: only sigstoreSigned can", r.Scope,
				q.unsupported, ErrUnsupported)
		case q.kind != policyjson.AcceptAnything:
			anything = false
		}
	}
	if anything {
		return nil, fmt.Errorf("scope %q %w: name keys for it", r.Scope, ErrAnything)
	}
	return r, nil
}

// Scopes returns the scopes of a policy that cover an image, the most specific first: the name with its tag or digest,
// the repository, the parents of its path, its host, and wildcards for the parents of the host. If there is a digest,
// the tag does not count.
func Scopes(name reference.Named) []string {
	list := []string{asked(name).String()}
	at := name.Name()
	for {
		if list[len(list)-1] != at {
			list = append(list, at)
		}
		i := strings.LastIndexByte(at, '/')
		if i < 0 {
			break
		}
		at = at[:i]
	}
	at, _, _ = strings.Cut(at, ":")
	for {
		_, parent, ok := strings.Cut(at, ".")
		if !ok {
			return list
		}
		at = parent
		list = append(list, "*."+at)
	}
}

// asked returns a name without its tag if it has a digest, which then says what is asked for.
func asked(name reference.Named) reference.Named {
	if d, ok := name.(reference.Canonical); ok {
		if plain, err := reference.WithDigest(reference.TrimNamed(name), d.Digest()); err == nil {
			return plain
		}
	}
	return reference.TagNameOnly(name)
}

// KeyFiles returns the files with keys and certificates that a policy names for images of registries, sorted, as it
// names them. Those of requirements that are not evaluated here are among them.
func (p *Policy) KeyFiles() []string {
	files := map[string]bool{}
	for _, list := range append(slices.Collect(maps.Values(p.scopes)), p.fallback) {
		for _, q := range list {
			for _, f := range q.files {
				files[f] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(files))
}

// GPG reports whether a rule for images of registries asks for signatures by GPG, which are not evaluated here.
func (p *Policy) GPG() bool {
	for _, list := range append(slices.Collect(maps.Values(p.scopes)), p.fallback) {
		if slices.ContainsFunc(list, func(q requirement) bool { return q.kind == policyjson.SignedBy }) {
			return true
		}
	}
	return false
}

// UseKeys reads the keys and certificates of a rule. read returns the content of a file, whose name is that in the
// policy.
func (r *Rule) UseKeys(read func(file string) ([]byte, error)) error {
	list := slices.Clone(r.requirements)
	for i := range list {
		if err := list[i].read(read); err != nil {
			return fmt.Errorf("scope %q: %w", r.Scope, err)
		}
	}
	r.requirements = list
	return nil
}
