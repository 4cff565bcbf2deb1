// Package selinux computes the SELinux labels of paths from the policy in a root filesystem, as libselinux does on the
// system itself: from file_contexts with file_contexts.homedirs, .local, .subs and .subs_dist. The system that it runs
// on and its policy do not matter.
//
// [Policy.Label] can be used as the Label of [rootfs.PrepareOptions] and [repo.TreeOptions].
package selinux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

var (
	_ Files = (*repo.TreeView)(nil)
	_ Files = (*rootfs.Index)(nil)
)

// ErrNoPolicy says that a tree has no policy or that it is disabled, so that its files have no labels.
var ErrNoPolicy = errors.New("no SELinux policy")

// ErrInvalidPolicy says that a policy cannot be parsed.
var ErrInvalidPolicy = errors.New("invalid SELinux policy")

// These are the maximum sizes in bytes of a policy's files. The largest real one is below 1 MiB.
const (
	maxConfig   = 1 << 20
	maxContexts = 16 << 20
)

// Policy knows the label of each path. It is safe for concurrent use.
type Policy struct {
	name         string
	subs         substitutions // those of the administrator
	distSubs     substitutions // those of the distribution, applied to the result
	literals     map[string][]*spec
	byDir        map[string][]*spec // regular expressions by the directory that all matching paths are in
	count        int
	instructions int // instructions of all regular expressions
}

// Name returns the name of the policy, such as "targeted".
func (p *Policy) Name() string { return p.name }

// Files is the tree that a policy is read from. [*repo.TreeView] and [*rootfs.Index] implement it. Paths are absolute
// in the tree, and symlinks are resolved inside it.
type Files interface {
	// Exists reports whether a path leads to anything.
	Exists(ctx context.Context, path string) (bool, error)
	// ReadFile returns the content of a regular file of at most limit bytes. The error wraps [fs.ErrNotExist] if there is
	// none.
	ReadFile(ctx context.Context, path string, limit int64) ([]byte, error)
}

// Load reads the policy that is named in /etc/selinux/config of a tree, or in /usr/etc/selinux/config if there is no
// /etc/selinux. The error wraps [ErrNoPolicy] if there is no policy or it is neither enforcing nor permissive, and
// [ErrInvalidPolicy] if it cannot be used.
func Load(ctx context.Context, tree Files) (*Policy, error) {
	dir := "/etc/selinux"
	if ok, err := tree.Exists(ctx, dir); err != nil {
		return nil, err
	} else if !ok {
		dir = "/usr/etc/selinux"
	}
	config, err := tree.ReadFile(ctx, dir+"/config", maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoPolicy
	}
	if err != nil {
		return nil, err
	}
	name, enabled := parseConfig(string(config))
	if !enabled {
		return nil, fmt.Errorf("%w: %s/config disables it", ErrNoPolicy, dir)
	}
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return nil, fmt.Errorf("%w: %s/config: SELINUXTYPE=%q is not the name of a directory", ErrInvalidPolicy, dir, name)
	}
	p := newPolicy(name)
	base := dir + "/" + name + "/contexts/files/file_contexts"
	for i, suffix := range []string{"", ".homedirs", ".local"} {
		data, err := tree.ReadFile(ctx, base+suffix, maxContexts)
		switch {
		case err == nil:
			if err := p.addContexts(ctx, base+suffix, string(data)); err != nil {
				return nil, err
			}
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		case i == 0:
			return nil, fmt.Errorf("%w: %s/config wants the policy %q, but there is no %s: build the policy, disable it, "+
				"or do without labels", ErrInvalidPolicy, dir, name, base)
		}
	}
	if p.subs, err = readSubstitutions(ctx, tree, base+".subs"); err != nil {
		return nil, err
	}
	if p.distSubs, err = readSubstitutions(ctx, tree, base+".subs_dist"); err != nil {
		return nil, err
	}
	return p, nil
}

// parseConfig returns the name of the policy, and whether it is enabled.
func parseConfig(config string) (name string, enabled bool) {
	name = "targeted"
	for line := range strings.Lines(config) {
		if v, ok := strings.CutPrefix(line, "SELINUXTYPE="); ok {
			name = strings.TrimSpace(v)
		} else if v, ok := strings.CutPrefix(line, "SELINUX="); ok {
			v = strings.ToLower(v)
			enabled = enabled || strings.HasPrefix(v, "enforcing") || strings.HasPrefix(v, "permissive")
		}
	}
	return name, enabled
}

// substitutions replace a leading directory of paths. The first one that applies is used.
type substitutions []substitution

type substitution struct{ from, to string }

func readSubstitutions(ctx context.Context, tree Files, name string) (substitutions, error) {
	data, err := tree.ReadFile(ctx, name, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseSubstitutions(string(data)), nil
}

// parseSubstitutions parses lines with two paths each. Later lines take precedence.
func parseSubstitutions(data string) substitutions {
	var s substitutions
	for line := range strings.Lines(data) {
		fields := strings.FieldsFunc(line, isSpace)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		s = append(s, substitution{fields[0], fields[1]})
	}
	for i, j := 0, len(s)-1; i < j; i, j = i+1, j-1 {
		s[i], s[j] = s[j], s[i]
	}
	return s
}

func (s substitutions) apply(path string) string {
	for _, sub := range s {
		rest, ok := strings.CutPrefix(path, sub.from)
		if !ok || rest != "" && rest[0] != '/' {
			continue
		}
		if sub.to == "/" {
			rest = strings.TrimPrefix(rest, "/")
		}
		return sub.to + rest
	}
	return path
}

// isSpace is isspace(3) in the C locale.
func isSpace(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }
