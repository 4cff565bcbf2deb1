//go:build interop

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a filesystem of the given size in MiB and returns its path.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	image, mount := filepath.Join(dir, "disk"), filepath.Join(dir, "mnt")
	sh(t, `truncate -s "$1" "$2" && mkfs.ext4 -q -F "$2" && mkdir "$3" && mount -o loop "$2" "$3"`,
		fmt.Sprintf("%dM", mib), image, mount)
	t.Cleanup(func() { _ = exec.Command("umount", mount).Run() })
	return mount
}

// fill writes a file "ballast" that leaves the given number of MiB free. The free space of an empty filesystem depends
// on the version of mkfs.
func fill(t *testing.T, dir string, mib uint64) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	free := st.Bfree * uint64(st.Bsize)
	if free < mib<<20 {
		t.Fatalf("only %d bytes are free to begin with", free)
	}
	sh(t, `fallocate -l "$1" "$2"`, fmt.Sprint(free-mib<<20), filepath.Join(dir, "ballast"))
}

// TestInterop_AFullDiskLeavesASoundRepository runs a commit and an import on a disk that is too small, with and without
// the check for free space that would stop them early. It then makes room and runs them again.
func TestInterop_AFullDiskLeavesASoundRepository(t *testing.T) {
	tree := killTree(t)
	source := newRepo(t, "archive")
	want := must(t, program, commitArgs(tree)(source)...)
	image := "oci:" + t.TempDir() + "/image"
	must(t, program, "container", "encapsulate", "--repo="+source, "killed", image)
	writers := map[string]func(repo string) []string{"commit": commitArgs(tree), "import": importArgs(image)}
	for _, mode := range []string{"bare", "bare-user", "bare-user-only", "archive"} {
		for name, args := range writers {
			for _, percent := range []string{"0", "3"} {
				t.Run(fmt.Sprintf("%s into %s, %s percent kept free", name, mode, percent), func(t *testing.T) {
					t.Parallel()
					fillAndRetry(t, mode, percent, args, want)
				})
			}
		}
	}
}

func fillAndRetry(t *testing.T, mode, percent string, args func(repo string) []string, want string) {
	disk := smallDisk(t, 110)
	repo := filepath.Join(disk, "repo")
	must(t, "ostree", "init", "--repo="+repo, "--mode="+mode)
	must(t, "ostree", "config", "--repo="+repo, "set", "core.min-free-space-percent", percent)
	fill(t, disk, 12)
	_, stderr, err := try(t, program, args(repo)...)
	if err == nil {
		t.Fatal("the disk was to be full")
	}
	t.Logf("refused: %s", stderr)
	fsck(t, repo)
	if refs := must(t, "ostree", "refs", "--repo="+repo); refs != "" {
		t.Errorf("a ref was written: %q", refs)
	}
	sh(t, `rm "$1"`, filepath.Join(disk, "ballast"))
	must(t, program, args(repo)...)
	fsck(t, repo)
	if got := must(t, "ostree", "rev-parse", "--repo="+repo, "killed"); got != want {
		t.Errorf("the run with room gave %s, want %s", got, want)
	}
}
