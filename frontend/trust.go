package frontend

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyed"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/container/trust/rules"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
)

// layouts are how the directory that the option verify names may look: the files alone, or those of a host.
var layouts = []struct{ policy, rules, root string }{
	{"policy.json", "trust.d", "trusted_root.json"},
	{"etc/containers/policy.json", "etc/ostree-ext/trust.d", "etc/ostree-ext/trusted_root.json"},
	{"usr/share/containers/policy.json", "etc/ostree-ext/trust.d", "etc/ostree-ext/trusted_root.json"},
}

// trust is what images must fulfil.
type trust struct {
	// shown names what asks for signatures, for people.
	shown string
	// policy is nil if there are only rules about bundles. file is its path.
	policy *keyed.Policy
	file   string
	// rules are those about bundles, by scope. They are in ruleDir, and trustedRoot is their default.
	rules                map[string]*rules.Rule
	ruleDir, trustedRoot string

	dir  *trustDir
	keys client.Reference

	// root is the root directory of judges, once the first was needed.
	root    client.Reference
	rooting sync.Mutex
}

// trustDir is the directory with the policy and its keys.
type trustDir struct {
	place place
	// base is its path in the context.
	base string
	// state has files of the context, which are sent by the client. Those that are not there are left out.
	state func(ctx context.Context, paths []string) (llb.State, error)
	// fetch solves it. An image is refused: what decides about images must not be one that nothing was decided about.
	fetch func(ctx context.Context, paths []string) (client.Reference, error)
}

// loadTrust reads what the option verify names.
func (b *job) loadTrust(ctx context.Context) (*trust, error) {
	d, err := b.trustDir()
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, l := range layouts {
		paths = append(paths, d.path(l.policy), d.path(l.rules))
	}
	ref, err := d.fetch(ctx, paths)
	if err != nil {
		return nil, err
	}
	t := &trust{dir: d}
	if err := t.read(ctx, ref); err != nil {
		return nil, err
	}
	var keys []string
	if t.policy != nil {
		for _, k := range t.policy.KeyFiles() {
			keys = append(keys, d.path(k))
		}
	}
	if len(keys) > 0 {
		// A rule for other images may name keys that are not there. What is missing is an error when it is needed.
		if t.keys, err = d.fetch(ctx, keys); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// read reads the policy and the rules about bundles, of the first layout that has a policy, or else has rules.
func (t *trust) read(ctx context.Context, ref client.Reference) error {
	d := t.dir
	for _, l := range layouts {
		name := d.path(l.policy)
		data, err := readRegular(ctx, ref, name, d.place, keyed.MaxPolicySize)
		if errors.Is(err, errNoFile) {
			continue
		}
		if err != nil {
			return err
		}
		t.shown, t.file = fmt.Sprintf("%s of %s", name, d.place.name), l.policy
		if t.policy, err = keyed.ParsePolicy(data); err != nil {
			return fmt.Errorf("%s: %w", t.shown, err)
		}
		t.ruleDir, t.trustedRoot = l.rules, l.root
		return t.readRules(ctx, ref)
	}
	for _, l := range layouts {
		t.ruleDir, t.trustedRoot = l.rules, l.root
		if err := t.readRules(ctx, ref); err != nil {
			return err
		}
		if len(t.rules) > 0 {
			t.shown = fmt.Sprintf("%s of %s", d.path(l.rules), d.place.name)
			return nil
		}
	}
	return fmt.Errorf("there is neither %s nor %s nor %s in %s%s", d.path(layouts[0].policy), d.path(layouts[1].policy),
		d.path(layouts[2].policy), d.place.name, d.place.hint)
}

// readRules reads the rules about bundles.
func (t *trust) readRules(ctx context.Context, ref client.Reference) error {
	dir := t.dir.path(t.ruleDir)
	t.rules = map[string]*rules.Rule{}
	if ref == nil {
		return nil
	}
	files, err := ref.ReadDir(ctx, client.ReadDirRequest{Path: dir})
	if err != nil {
		text := firstLine(err.Error())
		if strings.Contains(text, "no such file") {
			return nil
		}
		return fmt.Errorf("%s cannot be read: %s", dir, text)
	}
	for _, f := range files {
		name := path.Join(dir, path.Base(f.Path))
		if !strings.HasSuffix(name, ".yaml") || strings.HasPrefix(path.Base(name), ".") {
			continue
		}
		data, err := readRegular(ctx, ref, name, t.dir.place, maxRules)
		if err != nil {
			return err
		}
		found, err := rules.Parse(name, data)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", name, t.dir.place.name, err)
		}
		for scope, rule := range found {
			if other := t.rules[scope]; other != nil {
				return fmt.Errorf("%s and %s both have the scope %q: merge them", other.File, name, scope)
			}
			t.rules[scope] = rule
		}
	}
	return nil
}

// maxRules limits a file of rules in bytes.
const maxRules = 1 << 20

// trustDir finds the directory that the option verify names.
func (b *job) trustDir() (*trustDir, error) {
	name := b.options.Verify
	given, isContext := b.context(name)
	d := &trustDir{}
	d.fetch = func(ctx context.Context, paths []string) (client.Reference, error) {
		st, err := d.state(ctx, paths)
		if err != nil {
			return nil, err
		}
		return b.solveWith(ctx, b.images, st)
	}
	if !isContext {
		d.place, d.base = mainContext, path.Clean("/"+name)
		d.state = func(ctx context.Context, paths []string) (llb.State, error) {
			st, err := b.dc.MainContext(ctx, llb.FollowPaths(paths))
			if err != nil {
				return llb.State{}, err
			}
			return *st, nil
		}
		return d, nil
	}
	if !strings.HasPrefix(given, "local:") {
		return nil, fmt.Errorf("%w: verify=%s: the context must be a directory, not %s", request.ErrOption, name, given)
	}
	d.place, d.base = place{name: "the context " + name}, "/"
	d.state = func(ctx context.Context, paths []string) (llb.State, error) {
		named, err := b.dc.NamedContext(name, dockerui.ContextOpt{
			NoDockerignore: true,
			AsyncLocalOpts: func() []llb.LocalOption { return []llb.LocalOption{llb.FollowPaths(paths)} },
		})
		if err == nil && named == nil {
			err = fmt.Errorf("there is no context %s", name)
		}
		if err != nil {
			return llb.State{}, err
		}
		st, _, err := named.Load(ctx)
		if err != nil {
			return llb.State{}, err
		}
		return *st, nil
	}
	return d, nil
}

// path returns where a file is in the context. Nothing leads out of the directory.
func (d *trustDir) path(name string) string {
	return strings.TrimPrefix(path.Join(d.base, path.Clean("/"+name)), "/")
}

// rule returns the rule of the policy for an image, with its keys. If asHost is true, the image has to be judged as a
// host does instead: the policy asks for what BuildKit does not fetch, or a rule about bundles is for the image.
func (t *trust) rule(ctx context.Context, name reference.Named) (rule *keyed.Rule, asHost bool, err error) {
	_, asHost, err = policyjson.Lookup(t.rules, keyed.Scopes(name))
	if err != nil || asHost {
		return nil, asHost, err
	}
	if t.policy == nil {
		return nil, false, errors.New("no rule is about it")
	}
	if rule, err = t.policy.Rule(name); err != nil {
		return nil, errors.Is(err, keyed.ErrUnsupported), err
	}
	err = rule.UseKeys(func(file string) ([]byte, error) {
		return readRegular(ctx, t.keys, t.dir.path(file), t.dir.place, keyed.MaxFileSize)
	})
	return rule, false, err
}
