//go:build interop

package ima_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/ima"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// run runs a program, which must succeed.
func run(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v: %s", program, args, err, out)
	}
}

func TestEvmctlVerifiesItsSignatures(t *testing.T) {
	dir := t.TempDir()
	key, cert := filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.der")
	run(t, "openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-outform", "DER",
		"-out", cert, "-keyout", key)
	for _, mode := range []repo.Mode{repo.ModeArchive, repo.ModeBareUser, repo.ModeBare} {
		t.Run(mode.String(), func(t *testing.T) {
			r := repotest.Init(t, mode)
			from := repotest.Commit(t, r, tree(), "os")
			id, err := ima.Sign(t.Context(), r, from, "signed", ima.Options{Algorithm: "sha256", Key: key})
			if err != nil {
				t.Fatal(err)
			}
			run(t, "ostree", "fsck", "--repo="+r.Path())
			view, err := repo.ViewCommit(t.Context(), r, id)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range []string{"/usr/a", "/usr/c"} {
				data, err := view.ReadFile(t.Context(), p, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				item, err := view.Lookup(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				info, err := r.FileInfo(t.Context(), item.File)
				if err != nil {
					t.Fatal(err)
				}
				signature, _ := info.Xattrs.Get(ima.Xattr)
				file := filepath.Join(t.TempDir(), "file")
				if err := os.WriteFile(file, data, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := unix.Setxattr(file, "user.ima", signature, 0); err != nil {
					t.Fatal(err)
				}
				run(t, "evmctl", "ima_verify", "--xattr-user", "--key", cert, file)
			}
		})
	}
}
