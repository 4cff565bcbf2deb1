package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
	"github.com/ostree-ext/ostree-ext-go/internal/guarded"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// Limits on the files of rules.
const (
	maxRuleFile  = 1 << 20
	maxRuleFiles = 1000
)

// ErrRules is wrapped by errors about files of rules that are not valid.
var ErrRules = errors.New("rules about signatures are not valid")

// Rules are the rules of trust.d, by scope.
type Rules struct {
	docker map[string]*SignerRule
}

// A SignerRule says which Sigstore bundles are good for the images of a scope. The JSON form is for reports.
type SignerRule struct {
	// File is where the rule stands, and Scope what it is about, as in policy.json: quay.io/exampleos/os.
	File  string `yaml:"-" json:"file"`
	Scope string `yaml:"-" json:"scope"`
	// SignedBy are the signers, each of which is enough.
	SignedBy []SignerOption `yaml:"signedBy" json:"signed_by,omitempty"`
	// BundlesByPolicyKeys accepts bundles by the keys of the requirements of type sigstoreSigned that policy.json has
	// for an image, besides signatures that are attached to it. It cannot be combined with SignedBy.
	BundlesByPolicyKeys bool `yaml:"bundlesByPolicyKeys" json:"bundles_by_policy_keys,omitempty"`
}

// A SignerOption is a key or an identity.
type SignerOption struct {
	// KeyPath and KeyPaths name files with public keys in PEM.
	KeyPath  string   `yaml:"keyPath" json:"key_path,omitempty"`
	KeyPaths []string `yaml:"keyPaths" json:"key_paths,omitempty"`
	// OIDCIssuer is the issuer of the identity, which must be equal.
	OIDCIssuer string `yaml:"oidcIssuer" json:"oidc_issuer,omitempty"`
	// Identity is an e-mail address or URI, which must be equal. IdentityExpression is a regular expression that the
	// whole of it must match.
	Identity           string `yaml:"identity" json:"identity,omitempty"`
	IdentityExpression string `yaml:"identityExpression" json:"identity_expression,omitempty"`
	// TrustedRoot names the file with the authorities; the default is the one that "container trust update" writes.
	TrustedRoot string `yaml:"trustedRoot" json:"trusted_root,omitempty"`
}

// keys returns the files with keys.
func (o *SignerOption) keys() []string {
	if o.KeyPath != "" {
		return []string{o.KeyPath}
	}
	return o.KeyPaths
}

// String names the signer for people.
func (o *SignerOption) String() string {
	switch {
	case len(o.keys()) > 0:
		return "the key in " + strings.Join(o.keys(), " or ")
	case o.Identity != "":
		return fmt.Sprintf("%s of %s", o.Identity, o.OIDCIssuer)
	default:
		return fmt.Sprintf("an identity like %s of %s", o.IdentityExpression, o.OIDCIssuer)
	}
}

// check reports what is wrong with an option.
func (o *SignerOption) check() error {
	identities := 0
	for _, s := range []string{o.Identity, o.IdentityExpression} {
		if s != "" {
			identities++
		}
	}
	switch byKey := o.KeyPath != "" || len(o.KeyPaths) > 0; {
	case o.KeyPath != "" && len(o.KeyPaths) > 0:
		return errors.New("keyPath and keyPaths: choose one")
	case byKey && (o.OIDCIssuer != "" || identities > 0 || o.TrustedRoot != ""):
		return errors.New("a signer is either a key or an identity: make two of it")
	case byKey && slices.Contains(o.keys(), ""):
		return errors.New("keyPaths has an empty name")
	case byKey:
		return nil
	case o.OIDCIssuer == "":
		return errors.New("name a key with keyPath, or an identity with oidcIssuer and identity")
	case identities != 1:
		return errors.New("oidcIssuer needs either identity or identityExpression: an issuer alone is nobody")
	}
	return o.who().Check()
}

// RuleDirs returns the directories that [LoadRules] reads by default, the more important first: the user's and that of
// the machine.
func RuleDirs(env func(string) string) []string {
	var dirs []string
	if config := env("XDG_CONFIG_HOME"); config != "" {
		dirs = append(dirs, filepath.Join(config, "ostree-ext", "trust.d"))
	} else if home := env("HOME"); home != "" {
		dirs = append(dirs, filepath.Join(home, ".config", "ostree-ext", "trust.d"))
	}
	return append(dirs, "/etc/ostree-ext/trust.d")
}

// LoadRules reads the *.yaml files of directories. A scope in an earlier directory replaces that of a later one; within
// a directory, no scope may occur twice. Directories need not exist. A file looks like this:
//
//	docker:
//	  ghcr.io/exampleos/os:
//	    signedBy:
//	    - keyPath: /etc/pki/containers/exampleos.pub
//	    - oidcIssuer: https://token.actions.githubusercontent.com
//	      identity: https://github.com/exampleos/os/.github/workflows/build.yml@refs/heads/main
//	  registry.example/os:
//	    bundlesByPolicyKeys: true
//
// Errors about the content of a file wrap [ErrRules]. Others than root and the user may not be able to change a file or
// a directory, or to remove it: such an error wraps [guarded.ErrOpen].
func LoadRules(dirs ...string) (*Rules, error) {
	all := &Rules{docker: map[string]*SignerRule{}}
	for _, dir := range dirs {
		files, err := ruleFiles(dir)
		if err != nil {
			return nil, fmt.Errorf("reading rules about signatures: %w", err)
		}
		here := map[string]*SignerRule{}
		for _, file := range files {
			rules, err := readRules(file)
			if err != nil {
				return nil, err
			}
			for scope, rule := range rules {
				if other := here[scope]; other != nil {
					return nil, fmt.Errorf("%w: %s and %s both have the scope %q: merge them", ErrRules, other.File, file, scope)
				}
				here[scope] = rule
			}
		}
		for scope, rule := range here {
			if all.docker[scope] == nil {
				all.docker[scope] = rule
			}
		}
	}
	return all, nil
}

func ruleFiles(dir string) ([]string, error) {
	if err := guarded.Ours().Check(dir); errors.Is(err, guarded.ErrOpen) {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".yaml") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	if len(files) > maxRuleFiles {
		return nil, fmt.Errorf("%s has more than %d files", dir, maxRuleFiles)
	}
	return files, nil
}

func readRules(file string) (map[string]*SignerRule, error) {
	data, err := readSmall(file, maxRuleFile, guarded.Ours())
	if err != nil {
		return nil, fmt.Errorf("reading rules about signatures: %w", err)
	}
	var doc struct {
		Docker map[string]*SignerRule `yaml:"docker"`
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&doc); err != nil && err != io.EOF {
		return nil, fmt.Errorf("%w: %s: %w", ErrRules, file, err)
	}
	if err := d.Decode(new(any)); err != io.EOF {
		return nil, fmt.Errorf("%w: %s: there is more than one YAML document", ErrRules, file)
	}
	for scope, rule := range doc.Docker {
		fail := func(err error) error { return fmt.Errorf("%w: %s: scope %q: %w", ErrRules, file, scope, err) }
		switch {
		case strings.Contains(scope, "://"):
			return nil, fail(errors.New("write the name without docker://"))
		case !isScope(scope):
			return nil, fail(errors.New("no image is in this scope, so that others would decide: write host/path, such as " +
				"docker.io/library/os"))
		case rule == nil || len(rule.SignedBy) == 0 && !rule.BundlesByPolicyKeys:
			return nil, fail(errors.New("it names nobody: add signedBy, or bundlesByPolicyKeys: true"))
		case len(rule.SignedBy) > 0 && rule.BundlesByPolicyKeys:
			return nil, fail(errors.New("signedBy replaces the keys of policy.json: leave out bundlesByPolicyKeys"))
		}
		for i := range rule.SignedBy {
			if err := rule.SignedBy[i].check(); err != nil {
				return nil, fail(fmt.Errorf("signer %d: %w", i+1, err))
			}
		}
		rule.File, rule.Scope = file, scope
	}
	return doc.Docker, nil
}

// isScope reports whether an image can be in a scope.
func isScope(scope string) bool {
	for _, name := range []string{scope, scope + "/x", strings.Replace(scope, "*", "x", 1) + "/x"} {
		scopes, err := policy.Scopes(imgref.ImageReference{Transport: imgref.Registry, Name: name})
		if err == nil && slices.Contains(scopes, scope) {
			return true
		}
	}
	return false
}

// readSmall reads a file of a limited size, which nobody outside of the circle may be able to change.
func readSmall(name string, limit int64, circle guarded.Circle) ([]byte, error) {
	if err := circle.Check(name); err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %s", name, sizes.Format(limit))
	}
	return data, nil
}
