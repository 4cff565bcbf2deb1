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
	// judges has an element for each judge that runs.
	judges chan struct{}
}

// trustDir is the directory with the policy and its keys.
type trustDir struct {
	place place
	// base is its path in the context.
	base string
	// state has files of the context, which are sent by the client. Those that are not there are left out.
	state func(ctx context.Context, paths []string) (llb.State, error)
	// fetch gets the same as a reference.
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
		paths = append(paths, d.path(l.policy), d.path(l.rules+rulePattern))
	}
	ref, err := d.fetch(ctx, paths)
	if err != nil {
		return nil, err
	}
	t := &trust{dir: d, judges: make(chan struct{}, parallelJudges)}
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

// read reads the policy and the rules about bundles, of the layout that the directory has.
func (t *trust) read(ctx context.Context, ref client.Reference) error {
	d := t.dir
	found := -1
	var has []string
	for i, l := range layouts {
		names, err := ruleFiles(ctx, ref, d.path(l.rules))
		if err != nil {
			return err
		}
		policy, err := exists(ctx, ref, d.path(l.policy))
		if err != nil {
			return err
		}
		if !policy && len(names) == 0 {
			continue
		}
		what := d.path(l.policy)
		if !policy {
			what = d.path(l.rules)
		}
		has = append(has, what)
		if i > 0 && found == 0 {
			// One of the two would be passed over.
			return fmt.Errorf("both %s and %s are in %s: leave one of them, as the directory is either that of a policy or the "+
				"root directory of a host", has[0], what, d.place.name)
		}
		if found < 0 || policy && t.file == "" {
			found = i
			t.ruleDir, t.trustedRoot, t.shown = l.rules, l.root, fmt.Sprintf("%s of %s", what, d.place.name)
			if policy {
				t.file = l.policy
			}
		}
	}
	if found < 0 {
		return fmt.Errorf("there is neither %s nor %s nor %s in %s", d.path(layouts[0].policy), d.path(layouts[1].policy),
			d.path(layouts[2].policy), d.place.name)
	}
	if t.file != "" {
		data, err := readRegular(ctx, ref, d.path(t.file), d.place, keyed.MaxPolicySize)
		if err != nil {
			return err
		}
		if t.policy, err = keyed.ParsePolicy(data); err != nil {
			return fmt.Errorf("%s: %w", t.shown, err)
		}
	}
	return t.readRules(ctx, ref)
}

// exists reports whether a context has a file. A symbolic link to what the client did not send is an error.
func exists(ctx context.Context, ref client.Reference, name string) (bool, error) {
	if ref == nil {
		return false, nil
	}
	_, err := ref.StatFile(ctx, client.StatRequest{Path: name})
	if err == nil {
		return true, nil
	}
	if text := firstLine(err.Error()); !strings.Contains(text, "no such file") {
		return false, fmt.Errorf("%s cannot be read: %s", name, text)
	}
	return false, dangling(ctx, ref, name)
}

// dangling returns an error if a name that leads nowhere is that of a symbolic link.
func dangling(ctx context.Context, ref client.Reference, name string) error {
	files, err := ref.ReadDir(ctx, client.ReadDirRequest{Path: path.Join("/", path.Dir(name))})
	if err != nil {
		if text := firstLine(err.Error()); !strings.Contains(text, "no such file") {
			return fmt.Errorf("%s cannot be read: %s", path.Dir(name), text)
		}
		return nil
	}
	for _, f := range files {
		if path.Base(f.Path) == path.Base(name) {
			return fmt.Errorf("%s is a symbolic link that leads out of the directory, so that the client does not send what it "+
				"means: copy the files", name)
		}
	}
	return nil
}

// rulePattern is added to the directory of rules about bundles, for the files that count.
const rulePattern = "/*.yaml"

// ruleFiles returns the files of rules in a directory, which need not exist.
func ruleFiles(ctx context.Context, ref client.Reference, dir string) (names []string, err error) {
	if ref == nil {
		return nil, nil
	}
	files, err := ref.ReadDir(ctx, client.ReadDirRequest{Path: dir})
	if err != nil {
		text := firstLine(err.Error())
		if strings.Contains(text, "no such file") {
			return nil, dangling(ctx, ref, dir)
		}
		return nil, fmt.Errorf("%s cannot be read: %s", dir, text)
	}
	for _, f := range files {
		name := path.Base(f.Path)
		if strings.HasSuffix(name, ".yaml") && !strings.HasPrefix(name, ".") {
			names = append(names, path.Join(dir, name))
		}
	}
	return names, nil
}

// readRules reads the rules about bundles.
func (t *trust) readRules(ctx context.Context, ref client.Reference) error {
	t.rules = map[string]*rules.Rule{}
	names, err := ruleFiles(ctx, ref, t.dir.path(t.ruleDir))
	if err != nil {
		return err
	}
	for _, name := range names {
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
		d.place, d.base = place{name: mainContext.name}, path.Clean("/"+name)
		d.state = func(ctx context.Context, paths []string) (llb.State, error) {
			// What .dockerignore excludes counts all the same: it must not take rules away.
			st, err := b.dc.MainContext(ctx, llb.FollowPaths(paths), llb.ExcludePatterns(secrets))
			if err != nil {
				return llb.State{}, err
			}
			return *st, nil
		}
		return d, nil
	}
	if !strings.HasPrefix(given, "local:") {
		// What decides about images must not be an image that nothing was decided about.
		return nil, fmt.Errorf("%w: verify=%s: the context must be a directory, not %s", request.ErrOption, name, given)
	}
	d.place, d.base = place{name: "the context " + name}, "/"
	d.state = func(ctx context.Context, paths []string) (llb.State, error) {
		named, err := b.dc.NamedContext(name, dockerui.ContextOpt{
			NoDockerignore: true,
			AsyncLocalOpts: func() []llb.LocalOption {
				return []llb.LocalOption{llb.FollowPaths(paths), llb.ExcludePatterns(secrets)}
			},
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
