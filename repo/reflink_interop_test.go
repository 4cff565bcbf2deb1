//go:build interop

package repo_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// A checkout that may not link shares the blocks of the objects where the filesystem can.
func TestCheckoutSharesExtents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	image, mount := filepath.Join(dir, "disk"), filepath.Join(dir, "mnt")
	script := `truncate -s 256M "$1" && mkfs.btrfs -q "$1" && mkdir "$2" && mount -o loop "$1" "$2"`
	if out, err := exec.Command("sh", "-ec", script, "sh", image, mount).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", mount).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	source := filepath.Join(mount, "source")
	write(t, filepath.Join(source, "file"), strings.Repeat("0123456789abcdef", 1<<16))
	for mode, want := range map[repo.Mode]bool{
		repo.ModeBare: true, repo.ModeBareUser: true, repo.ModeBareUserOnly: true, repo.ModeArchive: false,
	} {
		r, err := repo.Init(filepath.Join(mount, mode.String()), mode)
		if err != nil {
			t.Fatal(err)
		}
		c := commitDir(t, r, source, "", object.Checksum{}, repo.TreeOptions{})
		out := filepath.Join(mount, fmt.Sprintf("out-%s", mode))
		if err := r.Checkout(t.Context(), c, out, repo.CheckoutOptions{User: true, ForceCopy: true}); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		file := filepath.Join(out, "file")
		original, err := os.ReadFile(filepath.Join(source, "file"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); string(got) != string(original) || err != nil {
			t.Errorf("%s: content differs, %v", mode, err)
		}
		extents, err := exec.Command("filefrag", "-s", "-v", file).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, extents)
		}
		if got := strings.Contains(string(extents), "shared"); got != want {
			t.Errorf("%s: shared is %v, want %v\n%s", mode, got, want, extents)
		}
	}
}
