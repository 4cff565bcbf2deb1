//go:build interop

package frontend_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// host is a machine with a policy, on which our command line runs.
type host struct {
	t    *testing.T
	home string
}

// newHost returns a host that trusts one of the keys for images of the tests' registry: attachments, by policy.json, or
// bundles, by a rule of ours.
func newHost(t *testing.T, kind string, key int) *host {
	t.Helper()
	h := &host{t, t.TempDir()}
	file := filepath.Join(h.home, "trusted.pub")
	writeFile(t, file, publicKey(t, key))
	rule := `{"default":[{"type":"reject"}]}`
	if kind == "attachment" {
		rule = policyOf(fmt.Sprintf(`{"type":"sigstoreSigned","keyPath":%q}`, file))
		writeFile(t, filepath.Join(h.home, ".config/containers/registries.d/os.yaml"),
			fmt.Sprintf("docker:\n  %s:\n    use-sigstore-attachments: true\n", env.host))
	} else {
		writeFile(t, filepath.Join(h.home, ".config/ostree-ext/trust.d/os.yaml"),
			fmt.Sprintf("docker:\n  %s/signed-%s:\n    signedBy: [{keyPath: %s}]\n", env.host, kind, file))
	}
	writeFile(t, filepath.Join(h.home, ".config/containers/policy.json"), rule)
	return h
}

// run runs our command line, and returns what it prints.
func (h *host) run(args ...string) (string, error) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), env.cli, args...)
	cmd.Env = append(os.Environ(), "HOME="+h.home, "XDG_CONFIG_HOME="+filepath.Join(h.home, ".config"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestInterop_AnImageThatABuilderPushedIsSignedAndPulled signs what BuildKit pushed through the frontend: an index of
// an image and its attestations.
func TestInterop_AnImageThatABuilderPushedIsSignedAndPulled(t *testing.T) {
	der, err := x509.MarshalPKCS8PrivateKey(signers()[0])
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "cosign.key")
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"attachment", "bundle"} {
		t.Run(kind, func(t *testing.T) {
			name := "signed-" + kind
			r := request{
				file: syntax("prior=none format=ostree") + "FROM scratch\nCOPY a /usr/lib/a\n", name: name,
				files: map[string]string{"a": kind}, opts: []string{"attest:provenance=mode=max"},
			}
			env.daemon.build(t, r)
			image := "docker://" + env.host + "/" + name + ":latest"
			trusting, other := newHost(t, kind, 1), newHost(t, kind, 2)
			check := []string{"container", "trust", "check", "--insecure-skip-tls-verification", image}
			if out, err := trusting.run(check...); err == nil || !strings.Contains(out, "Verdict:   refused") {
				t.Errorf("before it is signed: %v\n%s", err, out)
			}

			out, err := trusting.run("container", "sign", "--insecure-skip-tls-verification", "--json",
				"--sign-by-sigstore-private-key="+key, "--sign-format="+kind, image)
			if err != nil {
				t.Fatalf("signing: %v\n%s", err, out)
			}
			var signed struct {
				Signatures []struct{ On, Kind string } `json:"signatures"`
			}
			if err := json.Unmarshal([]byte(out), &signed); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var on []string
			for _, s := range signed.Signatures {
				on = append(on, s.Kind+" of the "+s.On)
			}
			// The image, its attestations, and the index of both.
			want := fmt.Sprintf("[%[1]s of the manifest %[1]s of the manifest %[1]s of the index]", kind)
			if got := fmt.Sprint(on); got != want {
				t.Errorf("signed are %s, want %s", got, want)
			}

			if out, err := trusting.run(check...); err != nil || !strings.Contains(out, "Verdict:   admitted") {
				t.Errorf("a host that trusts the key: %v\n%s", err, out)
			}
			if out, err := other.run(check...); err == nil || !strings.Contains(out, "Verdict:   refused") {
				t.Errorf("a host that trusts another key: %v\n%s", err, out)
			}
			for _, h := range []*host{trusting, other} {
				repo := filepath.Join(t.TempDir(), "repo")
				must(t, env.cli, "repo", "init", "--repo="+repo, "--mode=bare-user")
				out, err := h.run("container", "image", "pull", "--insecure-skip-tls-verification", repo,
					"ostree-image-signed:"+image)
				if h == trusting && (err != nil || !strings.Contains(out, "Signed by sha256:")) {
					t.Errorf("pulling it: %v\n%s", err, out)
				}
				if h == other && (err == nil || stored(t, repo) > 0) {
					t.Errorf("a host that trusts another key pulled it: %v, %d objects\n%s", err, stored(t, repo), out)
				}
			}
		})
	}
}

// stored counts the objects and refs of a repository.
func stored(t *testing.T, repo string) int {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "find", filepath.Join(repo, "objects"),
		filepath.Join(repo, "refs"), "-type", "f").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(out), "\n")
}
