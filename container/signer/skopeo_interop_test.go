//go:build interop

package signer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/signer"
	"github.com/ostree-ext/ostree-ext-go/internal/aptsources"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
)

// skopeo is the program of Debian 13. That of Debian 12 was built without sigstore, and refuses all such signatures.
type skopeo []string

func newSkopeo(t *testing.T) skopeo {
	t.Helper()
	const release = "trixie"
	mirror, err := aptsources.Find(release)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root")
	args := aptsources.Mmdebstrap(release, root, mirror.Release, "--variant=extract", "--include=skopeo",
		`--aptopt=APT::Install-Recommends "false"`)
	if out, err := exec.CommandContext(t.Context(), "mmdebstrap", args...).CombinedOutput(); err != nil {
		t.Fatalf("mmdebstrap: %v\n%s", err, out)
	}
	loaders, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu*/ld-linux*"))
	if err != nil || len(loaders) != 1 {
		t.Fatalf("the dynamic loader: %q, %v", loaders, err)
	}
	return skopeo{loaders[0], "--library-path", filepath.Dir(loaders[0]), filepath.Join(root, "usr/bin/skopeo")}
}

// run runs the program, and returns what it says and whether it succeeded.
func (s skopeo) run(t *testing.T, args ...string) (string, bool) {
	t.Helper()
	args = append(s[1:len(s):len(s)], args...)
	out, err := exec.CommandContext(t.Context(), s[0], args...).CombinedOutput()
	return string(out), err == nil
}

// copy copies an image under a policy.
func (s skopeo) copy(t *testing.T, p policies, source string) (string, bool) {
	t.Helper()
	return s.run(t, "--policy="+p.policy, "--registries.d="+p.registries, "copy", "--src-tls-verify=false",
		"docker://"+source, "dir:"+filepath.Join(t.TempDir(), "copy"))
}

func TestSkopeoAcceptsWhatIsSigned(t *testing.T) {
	t.Parallel()
	tool := newSkopeo(t)
	for _, kind := range []string{"image", "index"} {
		w, key := newWorld(t), cosignsKey(t, 1)
		push := map[string]func(string){"image": w.realImage, "index": w.realIndex}[kind]
		push("stable")
		push("unsigned")
		data := w.get("stable")
		if err := w.reg.Put(repository, "moved", mediaTypeOf(data), data); err != nil {
			t.Fatal(err)
		}
		w.sign(w.ref(":stable"), options(signer.Both, newKey(t)))
		w.sign(w.ref(":stable"), options(signer.Both, key))
		for _, c := range policyCases {
			t.Run(kind+", "+c.name, func(t *testing.T) {
				t.Parallel()
				trusted := key
				if c.other {
					trusted = cosignsKey(t, 2)
				}
				ref := w.ref(strings.Replace(c.ref, "@", "@"+digest.FromBytes(data).String(), 1)).Name
				if out, ok := tool.copy(t, w.trust(trusted, c.identity), ref); ok != c.accept {
					t.Errorf("accepted: %t, want %t: %s", ok, c.accept, out)
				}
			})
		}
	}
	t.Run("beside skopeo's own signature", func(t *testing.T) {
		t.Parallel()
		besideSkopeos(t, tool)
	})
}

// besideSkopeos signs an image before and after skopeo does.
func besideSkopeos(t *testing.T, tool skopeo) {
	t.Helper()
	w, ours, theirs := newWorld(t), newKey(t), cosignsKey(t, 2)
	w.realImage("stable")
	w.sign(w.ref(":stable"), options(signer.Both, ours))
	empty := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	copied := "dir:" + filepath.Join(t.TempDir(), "copy")
	common := []string{"--insecure-policy", "--registries.d=" + w.trust(ours, nil).registries, "copy",
		"--src-tls-verify=false", "--dest-tls-verify=false"}
	for _, args := range [][]string{
		{"docker://" + w.ref(":stable").Name, copied},
		{"--remove-signatures", "--sign-by-sigstore-private-key=" + sigstorefixture.PrivateKey(t, 2),
			"--sign-passphrase-file=" + empty, copied, "docker://" + w.ref(":stable").Name},
	} {
		if out, ok := tool.run(t, append(common[:len(common):len(common)], args...)...); !ok {
			t.Fatalf("%q: %s", args, out)
		}
	}
	w.sign(w.ref(":stable"), options(signer.Both, newKey(t)))
	for _, key := range []*signer.Key{ours, theirs} {
		if out, ok := tool.copy(t, w.trust(key, nil), w.ref(":stable").Name); !ok {
			t.Error(out)
		}
	}
}
