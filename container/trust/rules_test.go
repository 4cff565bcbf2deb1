package trust_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/docblocks"
)

// rulesDir makes a directory with files of rules.
func rulesDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const byKey = "docker:\n  registry.example/os:\n    signedBy:\n    - keyPath: /key.pub\n"

func TestAFileOfRulesIsNamedInErrors(t *testing.T) {
	t.Parallel()
	for content, invalid := range map[string]bool{"docker: [": true, byKey + strings.Repeat("#\n", 1<<20): false} {
		_, err := trust.LoadRules(rulesDir(t, map[string]string{"a.yaml": content}))
		if err == nil || !strings.Contains(err.Error(), "a.yaml") || errors.Is(err, trust.ErrRules) != invalid {
			t.Errorf("got %v", err)
		}
	}
}

func TestAScopeOfTwoFilesIsRefusedUnlessTheUserReplacesIt(t *testing.T) {
	t.Parallel()
	both := rulesDir(t, map[string]string{"a.yaml": byKey, "b.yaml": byKey})
	if _, err := trust.LoadRules(both); !errors.Is(err, trust.ErrRules) || !strings.Contains(err.Error(), "merge them") {
		t.Errorf("two files: %v", err)
	}
	one, two := rulesDir(t, map[string]string{"a.yaml": byKey}), rulesDir(t, map[string]string{"b.yaml": byKey})
	if _, err := trust.LoadRules(one, two, filepath.Join(one, "nosuch")); err != nil {
		t.Errorf("two directories: %v", err)
	}
	// Other files are not rules: backups of editors, hidden files.
	others := rulesDir(t, map[string]string{"a.yaml~": "[", ".a.yaml": "[", "README": "["})
	if _, err := trust.LoadRules(others); err != nil {
		t.Errorf("other files: %v", err)
	}
}

// documented returns the block of docs/trust.md that begins with some text.
func documented(t *testing.T, first string) string {
	t.Helper()
	blocks, err := docblocks.Read("../..")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(blocks, func(b docblocks.Block) bool {
		return b.File == "docs/trust.md" && strings.HasPrefix(b.First(), first)
	})
	if i < 0 {
		t.Fatalf("docs/trust.md has no block that begins with %q", first)
	}
	return blocks[i].Text
}

func TestTheDocumentedRulesAreUnderstood(t *testing.T) {
	t.Parallel()
	if _, err := trust.LoadRules(rulesDir(t, map[string]string{"a.yaml": documented(t, "docker:")})); err != nil {
		t.Error(err)
	}
}

func TestTheDocumentedRequirementIsUnderstood(t *testing.T) {
	t.Parallel()
	q, err := policyjson.ParseRequirement([]byte(documented(t, "{")))
	if err != nil || q.Fulcio == nil || q.Fulcio.Subject != "me@example.com" {
		t.Errorf("got %+v, %v", q, err)
	}
}

// TestARecordCountsForTheRulesThatItNames asks about a stored image whose signatures were verified for other rules than
// those of the reference.
func TestARecordCountsForTheRulesThatItNames(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "key.pub")
	dir := rulesDir(t, map[string]string{"a.yaml": "docker:\n" +
		"  quay.io/one:\n    signedBy: [{keyPath: " + key + "}]\n" +
		"  quay.io/two:\n    signedBy: [{keyPath: " + key + "}]\n"})
	door := trust.New(trust.Options{RuleDirs: []string{dir}, Policy: write(t, `{"default": [{"type": "reject"}]}`)})
	ref := imgref.OstreeImageReference{
		Signature: imgref.SignatureSource{Kind: imgref.ContainerPolicy},
		Image:     imgref.ImageReference{Transport: imgref.Registry, Name: "quay.io/one/os"},
	}
	file := filepath.Join(dir, "a.yaml")
	for rule, admitted := range map[string]bool{
		file + " (docker: quay.io/one)": true, file + " (docker: quay.io/two)": false, "remote one": false,
	} {
		report, err := door.Stored(ref, "", []oci.Signature{{Kind: oci.SignedBundle, Rule: rule}})
		if err != nil || report.Admitted != admitted || (report.Reason == "") != admitted {
			t.Errorf("%s: %+v, %v", rule, report, err)
		}
	}
}

// TestARuleForARegistryInAnotherSpellingIsAnError has an unsigned default beside the rule that is meant.
func TestARuleForARegistryInAnotherSpellingIsAnError(t *testing.T) {
	t.Parallel()
	const keys = `[{"type": "sigstoreSigned", "keyPath": "/key.pub"}]`
	for _, c := range []struct{ image, scope string }{
		{"QUAY.IO/os", "quay.io"}, {"quay.io/os", "Quay.io/os"}, {"quay.io:443/os", "quay.io/os"},
		{"quay.io/os", "quay.io:443"}, {"debian", "docker.io/debian"}, {"Docker.io/library/debian", "docker.io"},
		{"registry-1.docker.io/library/debian", "docker.io/library"},
	} {
		for source, opts := range map[string]trust.Options{
			"policy.json": {Policy: write(t, `{"default": `+keys+`, "transports": {"docker": {"`+c.scope+`": `+keys+`}}}`),
				RuleDirs: []string{t.TempDir()}},
			"trust.d": {Policy: write(t, `{"default": `+keys+`}`), RuleDirs: []string{rulesDir(t, map[string]string{
				"a.yaml": "docker:\n  " + c.scope + ":\n    signedBy: [{keyPath: /key.pub}]\n"})}},
		} {
			_, err := trust.New(opts).Admit(imgref.OstreeImageReference{
				Signature: imgref.SignatureSource{Kind: imgref.ContainerPolicy},
				Image:     imgref.ImageReference{Transport: imgref.Registry, Name: c.image},
			})
			if !errors.Is(err, policyjson.ErrSpelling) || !strings.Contains(err.Error(), `"`+c.scope+`"`) {
				t.Errorf("%s, with a rule for %s in %s: %v", c.image, c.scope, source, err)
			}
		}
	}
}
