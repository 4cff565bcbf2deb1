//go:build containers_image_openpgp

package trust_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/container/trust/trusttest"
	"github.com/ostree-ext/ostree-ext-go/internal/guarded"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testca"
)

// TestFilesThatOthersCouldChangeLetNothingIn makes each file of a host that decides, and then its directory, writable
// for everybody. Before and after, the image is admitted.
func TestFilesThatOthersCouldChangeLetNothingIn(t *testing.T) {
	sigstorefixture.RegistriesConf(t, sigstorefixture.Load(t))
	withAttachments(t)
	config := os.Getenv("XDG_CONFIG_HOME")
	put := func(name, content string) string {
		t.Helper()
		file := filepath.Join(config, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil { //nolint:gosec // as on hosts
			t.Fatal(err)
		}
		return file
	}
	key, err := os.ReadFile(sigstorefixture.PublicKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	policyKey, ruleKey := put("keys/policy.pub", string(key)), put("rules/rule.pub", string(key))
	attached, bundled := sigstorefixture.Name("att1"), sigstorefixture.Name("b1")
	policyFile := put("containers/policy.json", `{"default": [{"type": "reject"}], "transports": {"docker": {"`+attached+
		`": [{"type": "sigstoreSigned", "keyPath": "`+policyKey+`", "signedIdentity": {"type": "matchRepository"}}]}}}`)
	ruleFile := put("ostree-ext/trust.d/a.yaml", "docker:\n  "+bundled+":\n    signedBy:\n    - keyPath: "+ruleKey+
		"\n    - {oidcIssuer: 'https://i.example', identity: me@example.com}\n")
	root := put("ostree-ext/trusted_root.json", string(testca.New(t).Root().JSON()))
	door := trust.New(trust.Options{})
	asked := map[string]imgref.OstreeImageReference{
		attached: signed(attached + ":latest"), bundled: signed(bundled + ":latest"),
	}
	admitted := func(what string) {
		t.Helper()
		for _, ref := range asked {
			if _, err := pull(t, trusttest.NewRepo(t), ref, door); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	admitted("at first")
	for _, c := range []struct{ path, image string }{
		{policyFile, attached}, {policyKey, attached}, {filepath.Join(config, "containers/registries.d/test.yaml"), attached},
		{ruleFile, bundled}, {ruleKey, bundled}, {root, bundled},
	} {
		for _, path := range []string{c.path, filepath.Dir(c.path)} {
			st, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			chmod(t, path, st.Mode()|0o002)
			r := trusttest.NewRepo(t)
			_, err = pull(t, r, asked[c.image], door)
			if !errors.Is(err, guarded.ErrOpen) || !strings.Contains(err.Error(), `run "chmod o-w `+path+`"`) {
				t.Errorf("everybody may write to %s: %v", path, err)
			}
			if left := trusttest.Content(t, r); len(left) > 0 {
				t.Errorf("everybody may write to %s: there is %q", path, left)
			}
			chmod(t, path, st.Mode())
		}
	}
	admitted("at last")
}

// TestRulesThatOthersCouldHaveRemovedAreMissed has a policy that admits the image, and no stricter one or rule, in a
// directory from which everybody may remove them.
func TestRulesThatOthersCouldHaveRemovedAreMissed(t *testing.T) {
	sigstorefixture.RegistriesConf(t, sigstorefixture.Load(t))
	for _, dir := range []string{"containers", "ostree-ext", "ostree-ext/trust.d"} {
		config := t.TempDir()
		t.Setenv("XDG_CONFIG_HOME", config)
		path := filepath.Join(config, dir)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		chmod(t, path, 0o777)
		r := trusttest.NewRepo(t)
		ref := signed(sigstorefixture.Name("b1") + ":latest")
		_, err := pull(t, r, ref, trust.New(trust.Options{}))
		left := trusttest.Content(t, r)
		if !errors.Is(err, guarded.ErrOpen) || !strings.Contains(err.Error(), path) || len(left) > 0 {
			t.Errorf("%s: got %v, and there is %q", dir, err, left)
		}
	}
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
