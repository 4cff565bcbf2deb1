//go:build interop

package setup_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/trust/setup"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// newHome makes a home for a user. Programs find the registry with signed images by its name.
func newHome(t *testing.T) {
	t.Helper()
	home := t.TempDir()
	env := testreg.Named(t, sigstorefixture.Load(t), t.TempDir(), sigstorefixture.Host)
	for _, v := range append(env, "HOME="+home, "XDG_CONFIG_HOME="+home+"/.config") {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
}

// write writes the files in the home.
func write(t *testing.T, opts setup.Options) {
	t.Helper()
	opts.Host = setup.Host{User: true, UID: os.Geteuid(), Env: os.Getenv}
	plan, err := setup.Make(opts)
	must(t, err)
	must(t, plan.Write(t.Context()))
}

// copies reports whether skopeo copies an image, which it judges by the files in the home.
func copies(t *testing.T, image string) (bool, string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "skopeo", "copy", image, "dir:"+t.TempDir()).CombinedOutput()
	return err == nil, string(out)
}

// Debian's skopeo finds attachments, but its maintainers have taken out what verifies them.
func TestSkopeoFindsAttachments(t *testing.T) {
	newHome(t)
	write(t, setup.Options{Scope: sigstorefixture.Host, Keys: []setup.Key{publicKey(t, 1)}})
	narrow := os.Getenv("HOME") + "/.config/containers/registries.d/narrow.yaml"
	for _, c := range []struct {
		image, section string
		want           bool
	}{
		{"att1", "", true},
		{"b1", "", false},
		// What a section for a part of the scope does not say is taken from the scope's own, unlike in the manual page.
		{"att1", "lookaside: file:///nothing", true},
		{"att1", "use-sigstore-attachments: false", false},
	} {
		writeFile(t, narrow, "")
		if c.section != "" {
			writeFile(t, narrow, "docker:\n  "+sigstorefixture.Name(c.image)+":\n    "+c.section+"\n")
		}
		copied, says := copies(t, "docker://"+sigstorefixture.Name(c.image))
		if found := copied || strings.Contains(says, "sigstore disabled"); found != c.want {
			t.Errorf("%s, %s: found: %t, want %t: %s", c.image, c.section, found, c.want, says)
		}
	}
}

// publicKey returns a key of the real cosign.
func publicKey(t *testing.T, n int) setup.Key {
	t.Helper()
	name := sigstorefixture.PublicKey(t, n)
	data, err := os.ReadFile(name)
	must(t, err)
	return setup.Key{Name: name, Data: data}
}

func TestSkopeoAsksForSignaturesOfOpenPGP(t *testing.T) {
	newHome(t)
	signatures := t.TempDir()
	ring := t.TempDir()
	t.Setenv("GNUPGHOME", ring)
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), name, args...).Output()
		if err != nil {
			t.Fatalf("%s %q: %v", name, args, err)
		}
		return string(out)
	}
	must(t, os.Chmod(ring, 0o700))
	t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", ring, "--kill", "all").Run() })
	run("gpg", "-q", "--batch", "--passphrase", "", "--quick-gen-key", "release@exampleos.example", "ed25519", "sign")
	public := run("gpg", "--armor", "--export", "release@exampleos.example")

	manifest := t.TempDir() + "/manifest.json"
	name := sigstorefixture.Name("att1")
	raw := run("skopeo", "inspect", "--raw", "docker://"+name)
	must(t, os.WriteFile(manifest, []byte(raw), 0o600))
	digest := strings.TrimSpace(run("skopeo", "manifest-digest", manifest))
	at := signatures + strings.TrimPrefix(name, sigstorefixture.Host) + "@" + strings.Replace(digest, ":", "=", 1)
	must(t, os.MkdirAll(at, 0o755))
	run("skopeo", "standalone-sign", "-o", at+"/signature-1", manifest, name+":latest", "release@exampleos.example")

	write(t, setup.Options{
		Scope: sigstorefixture.Host + "/os", Keys: []setup.Key{{Name: "release.asc", Data: []byte(public)}},
		Lookaside: "file://" + signatures,
	})
	for image, want := range map[string]bool{"att1": true, "att2": false} {
		if got, says := copies(t, "docker://"+sigstorefixture.Name(image)); got != want {
			t.Errorf("%s: copied: %t, want %t: %s", image, got, want, says)
		}
	}
}
