//go:build cosign

package signer_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/signer"
	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
)

// cosign runs the program that the variable COSIGN names, with a home of its own, and returns whether it succeeded.
func cosign(t *testing.T, args ...string) (string, bool) {
	t.Helper()
	program := os.Getenv("COSIGN")
	if program == "" {
		t.Fatal("COSIGN does not name the program: run make cosign-test")
	}
	c := exec.CommandContext(t.Context(), program, args...)
	c.Env = append(os.Environ(), "HOME="+t.TempDir(), "COSIGN_PASSWORD=")
	out, err := c.CombinedOutput()
	return string(out), err == nil
}

// cosignVerify has cosign verify an image with a key, in one of the formats.
func cosignVerify(t *testing.T, ref string, format signer.Format, key int) (string, bool) {
	t.Helper()
	args := []string{"verify", "--key=" + sigstorefixture.PublicKey(t, key), "--insecure-ignore-tlog",
		"--allow-http-registry", "--new-bundle-format=true"}
	if format == signer.Attachment {
		args[len(args)-1] = "--new-bundle-format=false"
	}
	return cosign(t, append(args, ref)...)
}

func TestCosignAcceptsWhatIsSigned(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*testing.T) *world{"a registry that lists": listing, "another": newWorld} {
		for _, kind := range []string{"image", "index"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				w := make(t)
				push := map[string]func(string){"image": w.realImage, "index": w.realIndex}[kind]
				push("stable")
				push("unsigned")
				r := w.sign(w.ref(":stable"), options(signer.Both, cosignsKey(t, 1)))
				refs := []string{w.ref(":stable").Name}
				for _, s := range r.Signed {
					refs = append(refs, w.ref("@"+s.Digest.String()).Name)
				}
				for _, format := range []signer.Format{signer.Attachment, signer.Bundle} {
					for _, ref := range refs {
						if out, ok := cosignVerify(t, ref, format, 1); !ok {
							t.Errorf("%s: %s is not accepted: %s", ref, format, out)
						}
						if _, ok := cosignVerify(t, ref, format, 2); ok {
							t.Errorf("%s: %s is accepted with another key", ref, format)
						}
					}
					if _, ok := cosignVerify(t, w.ref(":unsigned").Name, format, 1); ok {
						t.Errorf("an image without %s is accepted", format)
					}
				}
			})
		}
	}
}

func TestCosignsSignaturesStayGoodBesideOurs(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*testing.T) *world{"a registry that lists": listing, "another": newWorld} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := make(t)
			w.realImage("stable")
			ref := w.ref(":stable").Name
			w.sign(w.ref(":stable"), options(signer.Both, newKey(t)))
			for _, format := range []string{"true", "false"} {
				out, ok := cosign(t, "sign", "--key="+sigstorefixture.PrivateKey(t, 2), "--tlog-upload=false",
					"--use-signing-config=false", "--allow-http-registry", "--yes", "--new-bundle-format="+format, ref)
				if !ok {
					t.Fatal(out)
				}
			}
			w.sign(w.ref(":stable"), options(signer.Both, cosignsKey(t, 1)))
			for _, format := range []signer.Format{signer.Attachment, signer.Bundle} {
				for _, key := range []int{1, 2} {
					if out, ok := cosignVerify(t, ref, format, key); !ok {
						t.Errorf("%s by the key %d is not accepted: %s", format, key, out)
					}
				}
			}
			// Ours reads what cosign wrote.
			keys, err := bundle.LoadKeys(sigstorefixture.PublicKey(t, 2))
			if err != nil {
				t.Fatal(err)
			}
			d := digest.FromBytes(w.get("stable"))
			if _, _, err := bundle.Find(ref, plainHTTP, d).VerifyKeys(t.Context(), keys); err != nil {
				t.Error(err)
			}
			good := 0
			for _, a := range w.attachment(d, cosignsKey(t, 2)) {
				if a.good {
					good++
				}
			}
			if good != 1 {
				t.Errorf("%d attachments are by the key of cosign", good)
			}
		})
	}
}

func TestKeysThatCosignMakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := exec.CommandContext(t.Context(), os.Getenv("COSIGN"), "generate-key-pair")
	c.Dir, c.Env = dir, append(os.Environ(), "HOME="+dir, "COSIGN_PASSWORD=swordfish")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(dir + "/cosign.key")
	if err != nil {
		t.Fatal(err)
	}
	key, err := signer.ReadKey(data, passphrase("swordfish"))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.realImage("stable")
	w.sign(w.ref(":stable"), options(signer.Both, key))
	out, ok := cosign(t, "verify", "--key="+dir+"/cosign.pub", "--insecure-ignore-tlog", "--allow-http-registry",
		"--output=json", w.ref(":stable").Name)
	if !ok {
		t.Fatal(out)
	}
	var found []json.RawMessage
	if err := json.Unmarshal([]byte(out[strings.IndexByte(out, '['):]), &found); err != nil || len(found) != 1 {
		t.Errorf("cosign found %d signatures, %v: %s", len(found), err, out)
	}
}
