package frontend

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyed"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
)

// policyFiles are where a policy may be in the directory that the option verify names: alone, or as in the root
// directory of a host. With each is the directory of rules about bundles that belongs to it.
var policyFiles = []struct{ policy, rules string }{
	{"policy.json", "trust.d"},
	{"etc/containers/policy.json", "etc/ostree-ext/trust.d"},
	{"usr/share/containers/policy.json", "etc/ostree-ext/trust.d"},
}

// trust is the policy that images must fulfil.
type trust struct {
	// shown names the policy for people.
	shown  string
	policy *keyed.Policy

	dir  *trustDir
	keys client.Reference
}

// trustDir is the directory with the policy and its keys.
type trustDir struct {
	place place
	// base is its path in the context.
	base string
	// fetch gets files of it from the client. Those that are not there are left out. An image is refused: what decides
	// about images must not be one that nothing was decided about.
	fetch func(ctx context.Context, paths []string) (client.Reference, error)
}

// loadTrust reads the policy that the option verify names.
func (b *job) loadTrust(ctx context.Context) (*trust, error) {
	d, err := b.trustDir()
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, f := range policyFiles {
		paths = append(paths, d.path(f.policy), d.path(f.rules))
	}
	ref, err := d.fetch(ctx, paths)
	if err != nil {
		return nil, err
	}
	var data []byte
	t := &trust{dir: d}
	for _, f := range policyFiles {
		name := d.path(f.policy)
		if data, err = readRegular(ctx, ref, name, d.place, keyed.MaxPolicySize); errors.Is(err, errNoFile) {
			continue
		}
		if err == nil {
			err = refuseRules(ctx, ref, d.path(f.rules))
		}
		if err != nil {
			return nil, err
		}
		t.shown = fmt.Sprintf("%s of %s", name, d.place.name)
		break
	}
	if t.shown == "" {
		return nil, fmt.Errorf("there is neither %s nor %s nor %s in %s%s", d.path(policyFiles[0].policy),
			d.path(policyFiles[1].policy), d.path(policyFiles[2].policy), d.place.name, d.place.hint)
	}
	if t.policy, err = keyed.ParsePolicy(data); err != nil {
		return nil, fmt.Errorf("%s: %w", t.shown, err)
	}
	var keys []string
	for _, k := range t.policy.KeyFiles() {
		keys = append(keys, d.path(k))
	}
	if len(keys) > 0 {
		// A rule for other images may name keys that are not there. What is missing is an error when it is needed.
		if t.keys, err = d.fetch(ctx, keys); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// trustDir finds the directory that the option verify names.
func (b *job) trustDir() (*trustDir, error) {
	name := b.options.Verify
	given, isContext := b.context(name)
	if !isContext {
		d := &trustDir{place: mainContext, base: path.Clean("/" + name)}
		d.fetch = func(ctx context.Context, paths []string) (client.Reference, error) {
			st, err := b.dc.MainContext(ctx, llb.FollowPaths(paths))
			if err != nil {
				return nil, err
			}
			return b.solveWith(ctx, b.images, *st)
		}
		return d, nil
	}
	if !strings.HasPrefix(given, "local:") {
		return nil, fmt.Errorf("%w: verify=%s: the context must be a directory, not %s", request.ErrOption, name, given)
	}
	d := &trustDir{place: place{name: "the context " + name}, base: "/"}
	d.fetch = func(ctx context.Context, paths []string) (client.Reference, error) {
		named, err := b.dc.NamedContext(name, dockerui.ContextOpt{
			NoDockerignore: true,
			AsyncLocalOpts: func() []llb.LocalOption { return []llb.LocalOption{llb.FollowPaths(paths)} },
		})
		if err == nil && named == nil {
			err = fmt.Errorf("there is no context %s", name)
		}
		if err != nil {
			return nil, err
		}
		st, _, err := named.Load(ctx)
		if err != nil {
			return nil, err
		}
		return b.solveWith(ctx, b.images, *st)
	}
	return d, nil
}

// path returns where a file is in the context. Nothing leads out of the directory.
func (d *trustDir) path(name string) string {
	return strings.TrimPrefix(path.Join(d.base, path.Clean("/"+name)), "/")
}

// refuseRules reports that there are rules about bundles. They would be needed, and bundles cannot be fetched.
func refuseRules(ctx context.Context, ref client.Reference, dir string) error {
	files, err := ref.ReadDir(ctx, client.ReadDirRequest{Path: dir})
	if err != nil {
		text := firstLine(err.Error())
		if strings.Contains(text, "no such file") {
			return nil
		}
		return fmt.Errorf("%s cannot be read: %s", dir, text)
	}
	names := make([]string, 0, len(files))
	for _, f := range files {
		names = append(names, f.Path)
	}
	if i := slices.IndexFunc(names, func(n string) bool { return strings.HasSuffix(n, ".yaml") }); i >= 0 {
		return fmt.Errorf("%s has rules about bundles, which BuildKit cannot fetch: attach signatures, too (ostree-ext "+
			"container sign does), and give a directory without them, whose policy.json names the keys",
			path.Join(dir, names[i]))
	}
	return nil
}

// rule returns the rule for an image, with its keys.
func (t *trust) rule(ctx context.Context, name reference.Named) (*keyed.Rule, error) {
	rule, err := t.policy.Rule(name)
	if err != nil {
		return nil, err
	}
	err = rule.UseKeys(func(file string) ([]byte, error) {
		return readRegular(ctx, t.keys, t.dir.path(file), t.dir.place, keyed.MaxFileSize)
	})
	return rule, err
}
