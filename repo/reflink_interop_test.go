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

// btrfs returns a new filesystem that can share blocks.
func btrfs(t *testing.T) string {
	t.Helper()
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
	return mount
}

// sharesBlocks reports whether a file shares all or some of its blocks with another.
func sharesBlocks(t *testing.T, file string) bool {
	t.Helper()
	extents, err := exec.Command("filefrag", "-s", "-v", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, extents)
	}
	return strings.Contains(string(extents), "shared")
}

// Rewriting a header, for example with another label, does not copy the content if the filesystem can share it.
func TestARewrittenHeaderSharesExtents(t *testing.T) {
	t.Parallel()
	mount := btrfs(t)
	for _, mode := range []repo.Mode{repo.ModeBare, repo.ModeBareUser, repo.ModeArchive} {
		r, err := repo.Init(filepath.Join(mount, mode.String()), mode)
		if err != nil {
			t.Fatal(err)
		}
		content := strings.Repeat("0123456789abcdef", 1<<16)
		from := storeFile(t, r, &object.FileHeader{Mode: 0o100644}, content)
		label := object.Xattrs{{Name: "user.label", Value: []byte("system_u:object_r:usr_t:s0")}}
		c := rewriteHeader(t, r, &object.FileHeader{Mode: 0o100644, Xattrs: label}, from)
		if mode != repo.ModeArchive {
			name := c.String()
			if !sharesBlocks(t, filepath.Join(r.Path(), "objects", name[:2], name[2:]+".file")) {
				t.Errorf("%s: the content is there twice", mode)
			}
		}
		if err := r.VerifyObject(t.Context(), object.Name{Checksum: c, Type: object.TypeFile}); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A checkout without hard links shares the blocks of the objects if the filesystem can.
func TestCheckoutSharesExtents(t *testing.T) {
	t.Parallel()
	mount := btrfs(t)
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
		if got := sharesBlocks(t, file); got != want {
			t.Errorf("%s: shared is %v, want %v", mode, got, want)
		}
	}
}
