//go:build containers_image_openpgp

package trust_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/container/trust/trusttest"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
)

// withAttachments has the container tools look for attachments in a home.
func withAttachments(t *testing.T) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
	dir := filepath.Join(home, ".config", "containers", "registries.d")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := "default-docker:\n  use-sigstore-attachments: true\n"
	if err := os.WriteFile(filepath.Join(dir, "test.yaml"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
}

// policyFor is the policy of a verdict.
func policyFor(t *testing.T, v sigstorefixture.Verdict) string {
	t.Helper()
	var keys []string
	for _, n := range v.Keys {
		keys = append(keys, sigstorefixture.PublicKey(t, n))
	}
	name := sigstorefixture.Name(v.Image)
	return write(t, object{
		"default": []object{{"type": "reject"}},
		"transports": object{"docker": object{name: []object{{
			"type": "sigstoreSigned", "keyPaths": keys,
			"signedIdentity": object{"type": "exactRepository", "dockerRepository": name},
		}}}},
	})
}

// signed is the reference to an image of a registry that asks for signatures.
func signed(name string) imgref.OstreeImageReference {
	return imgref.OstreeImageReference{
		Signature: imgref.SignatureSource{Kind: imgref.ContainerPolicy},
		Image:     imgref.ImageReference{Transport: imgref.Registry, Name: name},
	}
}

// TestImagesThatCosignSignedAreJudgedAsExpected pulls every image of the fixtures under every policy. Nothing of a
// refused image is in the repository.
func TestImagesThatCosignSignedAreJudgedAsExpected(t *testing.T) {
	sigstorefixture.RegistriesConf(t, sigstorefixture.Load(t))
	withAttachments(t)
	for _, v := range sigstorefixture.Verdicts(t) {
		t.Run(v.String(), func(t *testing.T) {
			name := sigstorefixture.Name(v.Image)
			rules := map[string]string{}
			if v.Bundles {
				rules["a.yaml"] = "docker:\n  " + name + ":\n    bundlesByPolicyKeys: true\n"
			}
			door := trust.New(trust.Options{Policy: policyFor(t, v), RuleDirs: []string{rulesDir(t, rules)}})
			r := trusttest.NewRepo(t)
			res, err := pull(t, r, signed(name+":latest"), door)
			switch {
			case v.Accept && err != nil:
				t.Fatalf("refused: %v", err)
			case !v.Accept && !errors.Is(err, trust.ErrRefused):
				t.Fatalf("got %v, want it refused", err)
			case !v.Accept:
				if left := trusttest.Content(t, r); len(left) > 0 {
					t.Errorf("of the refused image there is:\n%s", strings.Join(left, "\n"))
				}
				return
			}
			list, err := store.Signatures(t.Context(), r, res.Image)
			if err != nil || len(list) != 1 || list[0].Signer == "" || list[0].Rule == "" {
				t.Errorf("recorded are the signatures %+v, %v", list, err)
			}
		})
	}
}
