//go:build interop && containers_image_openpgp

package policy_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// run runs a program and returns its standard output.
func run(t *testing.T, stdin []byte, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, errs.String())
	}
	return out.Bytes()
}

// gpgKey makes a key in a new GnuPG home, which is that of this test from now on, and returns its fingerprint and a
// keyring.
func gpgKey(t *testing.T, algorithm string) (fingerprint, ring string) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("GNUPGHOME", home)
	t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() })
	run(t, nil, "gpg", "--batch", "--passphrase", "", "--quick-gen-key", "signer@example.com", algorithm, "sign", "never")
	for line := range strings.Lines(string(run(t, nil, "gpg", "--batch", "--with-colons", "--list-keys"))) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" && fingerprint == "" {
			fingerprint = fields[9]
		}
	}
	ring = filepath.Join(home, "exported.gpg")
	write(t, ring, string(run(t, nil, "gpg", "--batch", "--export")))
	return fingerprint, ring
}

// hostedAt starts the fixture's registry, with the directory dir as lookaside storage, and returns what skopeo needs
// to sign there.
func hostedAt(t *testing.T, dir string) (r *testreg.Registry, registriesD string) {
	t.Helper()
	conf := attachmentsOn + "  lookaside: file://" + dir + "\n  lookaside-staging: file://" + dir + "\n"
	configure(t, map[string]string{"registries.d/0.yaml": conf})
	r = sigstorefixture.Load(t)
	insecure(t, r.Host)
	registriesD = t.TempDir()
	write(t, filepath.Join(registriesD, "0.yaml"), conf)
	return r, registriesD
}

// skopeo copies an image of the fixture within its registry.
func skopeo(t *testing.T, r *testreg.Registry, registriesD, from, to string, options ...string) {
	t.Helper()
	args := append([]string{"--insecure-policy", "--registries.d", registriesD, "copy", "-q", "--src-tls-verify=false",
		"--dest-tls-verify=false", "--remove-signatures"}, options...)
	run(t, nil, "skopeo", append(args, "docker://"+r.Host+"/"+from, "docker://"+r.Host+"/"+to)...)
}

func TestSimpleSignaturesThatSkopeoMakes(t *testing.T) {
	for _, algorithm := range []string{"rsa3072", "ed25519"} {
		t.Run(algorithm, func(t *testing.T) {
			dir := t.TempDir()
			r, registriesD := hostedAt(t, dir)
			fingerprint, ring := gpgKey(t, algorithm)
			skopeo(t, r, registriesD, "os/unsigned:latest", "os/signed:1", "--sign-by", fingerprint)
			ref := docker(r.Host + "/os/signed:1")
			doc := documents(t, ref)[0]
			s, err := evaluate(t, ref, rule(t, signedBy(nil, ring)), doc)
			if err != nil || s.Signer != fingerprint+" ("+ring+")" {
				t.Errorf("got %+v, %v", s, err)
			}
			if err := r.Put("os/signed", "2", doc.MediaType, doc.Raw); err != nil {
				t.Fatal(err)
			}
			_, err = evaluate(t, docker(r.Host+"/os/signed:2"), rule(t, signedBy(nil, ring)), doc)
			if f := refusal(t, err).Found; len(f) != 1 || !f[0].Genuine {
				t.Errorf("under another tag: %v", err)
			}
			_, err = evaluate(t, ref, rule(t, signedBy(nil, newPerson(t, nil).file)), doc)
			if !strings.Contains(refusal(t, err).Reason, "not found") {
				t.Errorf("by another key: %v", err)
			}

			// What skopeo and gpg sign without copying is the same.
			skopeo(t, r, registriesD, "os/unsigned:latest", "os/other:1")
			manifest := filepath.Join(t.TempDir(), "manifest.json")
			write(t, manifest, string(doc.Raw))
			alone := filepath.Join(t.TempDir(), "signature")
			run(t, nil, "skopeo", "standalone-sign", manifest, r.Host+"/os/other:1", fingerprint, "-o", alone)
			ref = docker(r.Host + "/os/other:1")
			byGPG := run(t, simplePayload(t, r.Host+"/os/other:1", doc.Digest), "gpg", "--batch", "--sign", "-o", "-")
			for _, signature := range []string{string(run(t, nil, "cat", alone)), string(byGPG)} {
				write(t, filepath.Join(dir, "os/other@sha256="+doc.Digest.Encoded(), "signature-1"), signature)
				if s, err := evaluate(t, ref, rule(t, signedBy(nil, ring)), doc); err != nil || !strings.HasPrefix(s.Signer,
					fingerprint) {
					t.Errorf("got %+v, %v", s, err)
				}
			}
		})
	}
}
