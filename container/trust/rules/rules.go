// Package rules reads a file of trust.d, which says whose Sigstore bundles are good for the images of a scope. What
// policy.json cannot say stands there. Package trust decides by these rules, and package setup writes them.
//
// A file looks like this:
//
//	docker:
//	  ghcr.io/exampleos/os:
//	    signedBy:
//	    - keyPath: /etc/pki/containers/exampleos.pub
//	    - oidcIssuer: https://token.actions.githubusercontent.com
//	      identity: https://github.com/exampleos/os/.github/workflows/build.yml@refs/heads/main
//	  registry.example/os:
//	    bundlesByPolicyKeys: true
package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/keyless"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
)

// A Rule says which Sigstore bundles are good for the images of a scope. The JSON form is for reports.
type Rule struct {
	// File is where the rule stands, and Scope what it is about, as in policy.json: quay.io/exampleos/os.
	File  string `yaml:"-" json:"file"`
	Scope string `yaml:"-" json:"scope"`
	// SignedBy are the signers, each of which is enough.
	SignedBy []Signer `yaml:"signedBy,omitempty" json:"signed_by,omitempty"`
	// BundlesByPolicyKeys accepts bundles by the keys of the requirements of type sigstoreSigned that policy.json has
	// for an image, besides signatures that are attached to it. It cannot be combined with SignedBy.
	BundlesByPolicyKeys bool `yaml:"bundlesByPolicyKeys,omitempty" json:"bundles_by_policy_keys,omitempty"`
}

// String says where the rule stands.
func (r *Rule) String() string { return fmt.Sprintf("%s (docker: %s)", r.File, r.Scope) }

// A Signer is a key or an identity.
type Signer struct {
	// KeyPath and KeyPaths name files with public keys in PEM.
	KeyPath  string   `yaml:"keyPath,omitempty" json:"key_path,omitempty"`
	KeyPaths []string `yaml:"keyPaths,omitempty" json:"key_paths,omitempty"`
	// OIDCIssuer is the issuer of the identity, which must be equal.
	OIDCIssuer string `yaml:"oidcIssuer,omitempty" json:"oidc_issuer,omitempty"`
	// Identity is an e-mail address or URI, which must be equal. IdentityExpression is a regular expression that the
	// whole of it must match.
	Identity           string `yaml:"identity,omitempty" json:"identity,omitempty"`
	IdentityExpression string `yaml:"identityExpression,omitempty" json:"identity_expression,omitempty"`
	// TrustedRoot names the file with the authorities; the default is the one that "container trust update" writes.
	TrustedRoot string `yaml:"trustedRoot,omitempty" json:"trusted_root,omitempty"`
}

// Keys returns the files with keys. There are none if the signer is an identity.
func (s *Signer) Keys() []string {
	if s.KeyPath != "" {
		return []string{s.KeyPath}
	}
	return s.KeyPaths
}

// Who returns the identity.
func (s *Signer) Who() keyless.Identity {
	return keyless.Identity{Issuer: s.OIDCIssuer, Identity: s.Identity, Expression: s.IdentityExpression}
}

// String names the signer for people.
func (s *Signer) String() string {
	switch {
	case len(s.Keys()) > 0:
		return "the key in " + strings.Join(s.Keys(), " or ")
	case s.Identity != "":
		return fmt.Sprintf("%s of %s", s.Identity, s.OIDCIssuer)
	default:
		return fmt.Sprintf("an identity like %s of %s", s.IdentityExpression, s.OIDCIssuer)
	}
}

// check reports what is wrong with a signer.
func (s *Signer) check() error {
	identities := 0
	for _, id := range []string{s.Identity, s.IdentityExpression} {
		if id != "" {
			identities++
		}
	}
	switch byKey := s.KeyPath != "" || len(s.KeyPaths) > 0; {
	case s.KeyPath != "" && len(s.KeyPaths) > 0:
		return errors.New("keyPath and keyPaths: choose one")
	case byKey && (s.OIDCIssuer != "" || identities > 0 || s.TrustedRoot != ""):
		return errors.New("a signer is either a key or an identity: make two of it")
	case byKey && slices.Contains(s.Keys(), ""):
		return errors.New("keyPaths has an empty name")
	case byKey:
		return nil
	case s.OIDCIssuer == "":
		return errors.New("name a key with keyPath, or an identity with oidcIssuer and identity")
	case identities != 1:
		return errors.New("oidcIssuer needs either identity or identityExpression: an issuer alone is nobody")
	}
	return s.Who().Check()
}

// goType is the part of a message about YAML that does not help the person who wrote it.
var goType = regexp.MustCompile(` in type \S+`)

// document is the content of a file.
type document struct {
	Docker map[string]*Rule `yaml:"docker"`
}

// Parse returns the rules that the content of a file has, by scope. The name of the file is kept in the rules. Errors
// say what is wrong, and not in which file.
func Parse(file string, data []byte) (map[string]*Rule, error) {
	var doc document
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&doc); err != nil && err != io.EOF {
		return nil, errors.New(goType.ReplaceAllString(err.Error(), ""))
	}
	if err := d.Decode(new(any)); err != io.EOF {
		return nil, errors.New("there is more than one YAML document")
	}
	for scope, rule := range doc.Docker {
		if err := check(scope, rule); err != nil {
			return nil, fmt.Errorf("scope %q: %w", scope, err)
		}
		rule.File, rule.Scope = file, scope
	}
	return doc.Docker, nil
}

// check reports what is wrong with the rule of a scope.
func check(scope string, rule *Rule) error {
	switch {
	case strings.Contains(scope, "://"):
		return errors.New("write the name without docker://")
	case !isScope(scope):
		return errors.New("no image is in this scope, so that others would decide: write host/path, such as " +
			"docker.io/library/os")
	case rule == nil || len(rule.SignedBy) == 0 && !rule.BundlesByPolicyKeys:
		return errors.New("it names nobody: add signedBy, or bundlesByPolicyKeys: true")
	case len(rule.SignedBy) > 0 && rule.BundlesByPolicyKeys:
		return errors.New("signedBy replaces the keys of policy.json: leave out bundlesByPolicyKeys")
	}
	for i := range rule.SignedBy {
		if err := rule.SignedBy[i].check(); err != nil {
			return fmt.Errorf("signer %d: %w", i+1, err)
		}
	}
	return nil
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
