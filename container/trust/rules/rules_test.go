package rules_test

import (
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/trust/rules"
)

const byKey = "docker:\n  registry.example/os:\n    signedBy:\n    - keyPath: /key.pub\n"

func TestRulesThatNameNobodyOrTwoThingsAtOnceAreRefused(t *testing.T) {
	t.Parallel()
	scope := func(rule string) string { return "docker:\n  registry.example/os:\n    " + rule + "\n" }
	signer := func(fields string) string { return scope("signedBy:\n    - {" + fields + "}") }
	for name, c := range map[string]struct{ content, want string }{
		"nothing":              {scope("signedBy: []"), "names nobody"},
		"an empty rule":        {"docker:\n  registry.example/os:\n", "names nobody"},
		"an unknown key":       {scope("signedby: []"), "field signedby not found"},
		"an unknown transport": {"oci:\n  /a: {bundlesByPolicyKeys: true}\n", "field oci not found"},
		"a scope that occurs twice": {
			byKey + "  registry.example/os:\n    bundlesByPolicyKeys: true\n", "already defined",
		},
		"a scope with a scheme": {
			"docker:\n  docker://registry.example/os: {bundlesByPolicyKeys: true}\n", "without docker://",
		},
		"signers and policy keys": {scope("{signedBy: [{keyPath: /k}], bundlesByPolicyKeys: true}"), "leave out"},
		"a key and keys":          {signer("keyPath: /a, keyPaths: [/b]"), "choose one"},
		"a key and an identity":   {signer("keyPath: /a, oidcIssuer: https://i, identity: me"), "make two of it"},
		"a key without a name":    {signer(`keyPaths: [""]`), "empty name"},
		"an issuer alone":         {signer("oidcIssuer: https://i"), "an issuer alone is nobody"},
		"an identity alone":       {signer("identity: me"), "oidcIssuer"},
		"two identities": {
			signer("oidcIssuer: https://i, identity: me, identityExpression: me"), "either identity or identityExpression",
		},
		"an expression for everybody": {signer("oidcIssuer: https://i, identityExpression: .*"), "accepts anybody"},
		"an expression that is none":  {signer(`oidcIssuer: https://i, identityExpression: "("`), "parsing regexp"},
		"two documents":               {byKey + "---\n" + byKey, "more than one YAML document"},
		"no YAML":                     {"docker: [", "did not find"},
	} {
		_, err := rules.Parse("a.yaml", []byte(c.content))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "rules.") {
			t.Errorf("%s: got %v, want %q and no name of a type", name, err, c.want)
		}
	}
}

func TestScopesThatNoImageIsInAreRefused(t *testing.T) {
	t.Parallel()
	const sum = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for scope, ok := range map[string]bool{
		"quay.io": true, "quay.io/os": true, "quay.io/os:1": true, "quay.io/os" + sum: true, "*.quay.io": true, "*.io": true,
		"localhost:5000": true, "localhost/os": true, "registry:5000/os": true, "docker.io/library/os": true,
		"docker.io/os": true, "os": false, "fedora/os": false, "quay.io/os/": false, "quay.io/OS": false, "~": false,
		"quay.io/os:1" + sum: false, "quay.io/*": false, "*": false, " quay.io": false,
	} {
		_, err := rules.Parse("a.yaml", []byte("docker:\n  '"+scope+"':\n    signedBy: [{keyPath: /key.pub}]\n"))
		if ok != (err == nil) {
			t.Errorf("%s: got %v", scope, err)
		}
	}
}
