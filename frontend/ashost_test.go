package frontend

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tonistiigi/fsutil"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyed"
	"github.com/ostree-ext/ostree-ext-go/container/trust/rules"
)

// TestOnlyTheFilesThatAJudgeNeedsAreSent has the part of a client that chooses what is sent choose from a host.
func TestOnlyTheFilesThatAJudgeNeedsAreSent(t *testing.T) {
	t.Parallel()
	host := []string{
		"etc/containers/policy.json", "etc/containers/registries.conf", "etc/containers/registries.d/os.yaml",
		"etc/containers/certs.d/registry.example/ca.crt", "etc/containers/certs.d/registry.example/client.key",
		"etc/docker/certs.d/registry.example/ca.crt", "etc/docker/certs.d/registry.example/client.cert",
		"etc/docker/certs.d/registry.example/client.key", "etc/ostree-ext/trust.d/os.yaml",
		"etc/ostree-ext/trusted_root.json", "etc/pki/os.pub", "etc/pki/me.gpg", "etc/shadow",
		"var/lib/containers/sigstore/os/signature-1", "run/containers/0/auth.json", "root/.docker/config.json",
		"certs.d/x/client.key", "registries.conf",
	}
	root := t.TempDir()
	for _, name := range host {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A symbolic link among the directories of registries has the client follow all of them.
	if err := os.Symlink("registry.example", filepath.Join(root, "etc/containers/certs.d/localhost:5000")); err != nil {
		t.Fatal(err)
	}
	policy := func(requirement string) *keyed.Policy {
		p, err := keyed.ParsePolicy([]byte(`{"default":[` + requirement + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	common := []string{
		"etc/containers/certs.d/localhost:5000", "etc/containers/certs.d/registry.example/ca.crt",
		"etc/containers/policy.json", "etc/containers/registries.conf", "etc/containers/registries.d/os.yaml",
		"etc/docker/certs.d/registry.example/ca.crt", "etc/ostree-ext/trust.d/os.yaml",
		"etc/ostree-ext/trusted_root.json",
	}
	for name, tt := range map[string]struct {
		policy *keyed.Policy
		base   string
		layout int
		want   []string
	}{
		"a policy that is alone": {policy(`{"type":"reject"}`), "/etc/containers", 0, []string{
			"etc/containers/certs.d/localhost:5000", "etc/containers/certs.d/registry.example/ca.crt",
			"etc/containers/policy.json", "etc/containers/registries.conf", "etc/containers/registries.d/os.yaml",
		}},
		"bundles": {policy(`{"type":"reject"}`), "/", 1, append(common[:len(common):len(common)], "etc/pki/os.pub")},
		"GPG": {policy(`{"type":"signedBy","keyType":"GPGKeys","keyPath":"/etc/pki/me.gpg"}`), "/", 1,
			append(common[:len(common):len(common)], "etc/pki/me.gpg", "etc/pki/os.pub",
				"var/lib/containers/sigstore/os/signature-1")},
	} {
		tr := &trust{
			dir: &trustDir{base: tt.base}, policy: tt.policy, file: layouts[tt.layout].policy,
			ruleDir: layouts[tt.layout].rules, trustedRoot: layouts[tt.layout].root,
			rules: map[string]*rules.Rule{"x": {SignedBy: []rules.Signer{{KeyPath: "/etc/pki/os.pub"}}}},
		}
		all, err := fsutil.NewFS(root)
		if err != nil {
			t.Fatal(err)
		}
		sent, err := fsutil.NewFilterFS(all, &fsutil.FilterOpt{FollowPaths: tr.hostFiles(), ExcludePatterns: secrets})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		err = sent.Walk(t.Context(), "", func(p string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				got = append(got, p)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
