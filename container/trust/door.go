package trust

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/container/trust/rules"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/sign"
)

// Errors about references that nothing can be asked for.
var (
	// ErrAcceptsAnything is wrapped by errors about rules that demand no signature. The text is upstream's.
	ErrAcceptsAnything = errors.New(
		"containers-policy.json specifies a default of `insecureAcceptAnything`; refusing usage")
	// ErrNoRule is wrapped by errors about references for which there is no rule.
	ErrNoRule = errors.New("no rule says who must have signed the image")
	// ErrNoRepo says that a reference names a remote, but the command uses no repository.
	ErrNoRepo = errors.New("there is no repository in which the remote could be looked up")
)

// Options are the options of a [Door]. The zero value is what hosts need, except for Repo.
type Options struct {
	// Registry has the options for registries, from which signatures are read.
	Registry access.Options
	// Policy names the policy.json; if it is empty, that of the user or of the machine is used.
	Policy string
	// RuleDirs are the directories with our own rules; nil means those of [RuleDirs].
	RuleDirs []string
	// TrustedRoot names the file with the authorities of identities for rules that do not name one; if it is empty, that
	// of the user or of the machine is used.
	TrustedRoot string
	// Repo has the remotes that references name. It may be nil.
	Repo *repo.Repo
	// Require treats references that ask for nothing as if they asked for signatures.
	Require bool
}

// A Door decides which images may come in. It reads the rules anew for each reference, and is safe for concurrent use.
type Door struct {
	opts Options
}

// New returns a door.
func New(opts Options) *Door {
	if opts.RuleDirs == nil {
		opts.RuleDirs = RuleDirs(os.Getenv)
	}
	return &Door{opts: opts}
}

// Admit implements [source.Admission].
func (d *Door) Admit(ref imgref.OstreeImageReference) (source.Gate, error) {
	switch ref.Signature.Kind {
	case imgref.OstreeRemote:
		v, err := d.remote(ref)
		if err != nil {
			return nil, err
		}
		return &remoteGate{name: ref.Signature.Remote, verifier: v}, nil
	case imgref.ContainerPolicyAllowInsecure:
		if !d.opts.Require {
			return nil, nil
		}
	}
	rule, err := d.decide(ref.Image)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return &ruleGate{judge: &judge{door: d, ref: ref, rule: rule}}, nil
}

// remote returns the verifier for the remote that a reference names.
func (d *Door) remote(ref imgref.OstreeImageReference) (*sign.Verifier, error) {
	if d.opts.Repo == nil {
		return nil, fmt.Errorf("%s: %w", ref, ErrNoRepo)
	}
	v, err := sign.ForRemote(d.opts.Repo, ref.Signature.Remote, sign.Options{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return v, nil
}

// remoteGate asks for signatures of the commit.
type remoteGate struct {
	name     string
	verifier *sign.Verifier
	found    []oci.Signature
}

// Top implements [source.Gate].
func (*remoteGate) Top(context.Context, oci.Document) error { return nil }

// Member implements [source.Gate].
func (*remoteGate) Member(context.Context, oci.Document) error { return nil }

// Commit implements [source.Gate].
func (g *remoteGate) Commit(_ context.Context, id string, commit, detached []byte) error {
	good, err := g.verifier.Verify(commit, detached)
	if err != nil {
		return fmt.Errorf("commit %s: %w", id, err)
	}
	g.found = nil
	for _, s := range good {
		g.found = append(g.found, oci.Signature{
			Kind: "ostree-" + s.Engine, On: "commit", Signed: id, Signer: s.Signer, Rule: remoteRule(g.name),
		})
	}
	return nil
}

// remoteRule is the rule in records of signatures that a remote asks for.
func remoteRule(name string) string { return "remote " + name }

// Signatures implements [source.Gate].
func (g *remoteGate) Signatures() []oci.Signature { return slices.Clone(g.found) }

// A decision says what an image must fulfil.
type decision struct {
	// policy is the rule of policy.json, or nil if it does not count.
	policy *policy.Rule
	// own is our own rule, or nil if there is none, or it does not count.
	own *rules.Rule
	// byPolicyKeys, if not nil, is the rule that accepts bundles by the keys of policy.
	byPolicyKeys *rules.Rule
}

// String says where the rules stand.
func (d *decision) String() string {
	var parts []string
	if d.policy != nil {
		parts = append(parts, fmt.Sprintf("%s (%s)", d.policy.File, d.policy.Scope))
	}
	for _, r := range []*rules.Rule{d.own, d.byPolicyKeys} {
		if r != nil {
			parts = append(parts, r.String())
		}
	}
	return strings.Join(parts, " and ")
}

// decide finds the rules for an image. It returns an error if none of them asks for a signature.
func (d *Door) decide(image imgref.ImageReference) (*decision, error) {
	rule, err := d.find(image)
	if err != nil {
		return nil, err
	}
	switch {
	case rule.policy != nil && rule.policy.Rejects():
		return nil, fmt.Errorf("%w by %s: this rule refuses every image of the scope", ErrRefused, rule)
	case rule.policy != nil && rule.policy.AcceptsAnything() && rule.own == nil:
		return nil, fmt.Errorf("%w: %s accepts any image: \"ostree-ext container trust init\" writes a rule with a key",
			ErrAcceptsAnything, rule)
	case rule.policy == nil && rule.own == nil:
		return nil, fmt.Errorf("%w: \"ostree-ext container trust init\" writes one", ErrNoRule)
	}
	return rule, nil
}

// find finds the rules for an image, whatever they say.
func (d *Door) find(image imgref.ImageReference) (*decision, error) {
	all, err := LoadRules(d.opts.RuleDirs...)
	if err != nil {
		return nil, err
	}
	scopes, err := policy.Scopes(image)
	if err != nil {
		return nil, err
	}
	own, place, err := all.of(image, scopes)
	if err != nil {
		return nil, err
	}
	out := &decision{}
	if own != nil && own.BundlesByPolicyKeys {
		out.byPolicyKeys, own = own, nil
	}
	out.own = own
	file, err := policy.Find(d.opts.Policy)
	switch {
	case errors.Is(err, policy.ErrNotFound) && own != nil:
		return out, nil
	case err != nil:
		return nil, err
	}
	p, err := policy.Load(file)
	if err != nil {
		return nil, err
	}
	if out.policy, err = p.Rule(image); err != nil {
		return nil, err
	}
	if own == nil {
		return out, nil
	}
	// The default has no place among the scopes, and is less specific than all of them.
	theirs := slices.Index(scopes, strings.TrimPrefix(out.policy.Scope, "docker: "))
	switch {
	case theirs < 0 || place < theirs:
		out.policy = nil
	case theirs < place:
		out.own = nil
	}
	return out, nil
}

// of returns the rule with the most specific scope, and its place among the scopes, which begin with that one. A rule
// that is about the image in another spelling is an error, as in [policyjson.Lookup].
func (r *Rules) of(image imgref.ImageReference, scopes []string) (*rules.Rule, int, error) {
	if image.Transport != imgref.Registry {
		return nil, -1, nil
	}
	scope, found, err := policyjson.Lookup(r.docker, scopes)
	if err != nil {
		return nil, -1, fmt.Errorf("%w: %w", ErrRules, err)
	}
	if !found {
		return nil, -1, nil
	}
	return r.docker[scope], slices.Index(scopes, scope), nil
}
