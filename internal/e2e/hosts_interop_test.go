//go:build interop

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/hosttree"
)

// derive puts three layers on top of an image, made by umoci from changed trees.
func derive(t *testing.T, layout, from, to string) {
	t.Helper()
	tag := from
	for _, step := range hosttree.Steps() {
		bundle := filepath.Join(t.TempDir(), "bundle")
		must(t, "umoci", "unpack", "--image", layout+":"+tag, bundle)
		sh(t, `cd "$1"; `+step, filepath.Join(bundle, "rootfs"))
		must(t, "umoci", "repack", "--image", layout+":"+to, bundle)
		tag = to
	}
}

// TestInterop_ALayeredImageIsTheTreeThatContainersSee pulls a Debian with layers on top of its commit, and one that
// holds no commit. Checked out, the merge commits are what umoci unpacks, and their labels are those that ostree gives
// that tree.
func TestInterop_ALayeredImageIsTheTreeThatContainersSee(t *testing.T) {
	root, layout := hosttree.Debian(t), filepath.Join(t.TempDir(), "layout")
	for _, format := range []string{"ostree", "plain"} {
		t.Run(format, func(t *testing.T) {
			must(t, program, "-q", "container", "build", "--prior=none", "--format="+format, "--rootfs="+root, "--max-layers=20",
				"oci:"+layout+":"+format)
			derive(t, layout, format, format+"-derived")
			repo := newRepo(t, "bare")
			image := layout + ":" + format + "-derived"
			_, stderr, err := try(t, program, "container", "image", "pull", "-q", repo, "ostree-unverified-image:oci:"+image)
			if err != nil || !strings.Contains(stderr, "non-ostree compatible file paths") {
				t.Fatalf("the pull: %v: %s", err, stderr)
			}
			hosttree.CheckMerge(t, repo, hosttree.Unpacked(t, image))
		})
	}
}

// pullArgs pulls an image, and gives its merge commit the ref that the tests of killed processes look at.
func pullArgs(image string) func(string) []string {
	return func(repo string) []string {
		return []string{"container", "image", "pull", "--quiet", repo, "ostree-unverified-image:" + image}
	}
}

// chunkedKillImage makes an image of the tree for killed processes: chunks, and a layer on top of them.
func chunkedKillImage(t *testing.T) string {
	t.Helper()
	layout := filepath.Join(t.TempDir(), "layout")
	tree := killTree(t)
	sh(t, `mkdir -p "$1/usr/lib/modules/6" && echo kernel >"$1/usr/lib/modules/6/vmlinuz"
		mkdir -p "$1/usr/bulk" && cd "$1" && for d in $(ls | grep -v '^usr$'); do mv "$d" usr/bulk/; done
		echo ID=test >usr/lib/os-release`, tree)
	must(t, program, "-q", "container", "build", "--prior=none", "--format=ostree", "--max-layers=12", "--rootfs="+tree,
		"oci:"+layout+":base")
	sh(t, `cd "$1" && mkdir -p new/usr && echo more >new/usr/derived && tar -C new -cf layer.tar . &&
		umoci raw add-layer --image "$2:base" --tag derived layer.tar`, t.TempDir(), layout)
	return "oci:" + layout + ":derived"
}

func TestInterop_APullKilledAnywhereLeavesASoundRepository(t *testing.T) {
	image := chunkedKillImage(t)
	for _, mode := range []string{"bare", "bare-user", "archive"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			first := newSyncedRepo(t, mode)
			must(t, program, pullArgs(image)(first)...)
			ref := strings.TrimSpace(must(t, "ostree", "refs", "--repo="+first, "--list", "ostree/container/image"))
			want := must(t, "ostree", "rev-parse", "--repo="+first, ref)
			dieOften(t, mode, ref, pullArgs(image), want)
		})
	}
}

func TestInterop_APruneDuringPullsRemovesNothingThatIsNeeded(t *testing.T) {
	image := chunkedKillImage(t)
	repo := newRepo(t, "bare-user")
	done := make(chan struct{})
	stopped := make(chan error, 1)
	go func() {
		for {
			select {
			case <-done:
				stopped <- nil
				return
			default:
			}
			if _, stderr, err := try(t, program, "container", "image", "prune-layers", "--repo="+repo); err != nil {
				stopped <- err
				t.Log(stderr)
				return
			}
			if _, _, err := try(t, "ostree", "prune", "--repo="+repo, "--refs-only"); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range 5 {
		must(t, program, pullArgs(image)(repo)...)
		must(t, program, "container", "image", "history", "--repo="+repo, image)
		must(t, program, "container", "image", "remove", "--repo="+repo, image)
	}
	must(t, program, pullArgs(image)(repo)...)
	close(done)
	if err := <-stopped; err != nil {
		t.Errorf("the prune: %v", err)
	}
	fsck(t, repo)
	must(t, program, "container", "image", "history", "--repo="+repo, image)
	if _, err := os.Stat(filepath.Join(repo, "config")); err != nil {
		t.Error(err)
	}
}

// TestInterop_APullThatFillsTheDiskGoesOnWhereThereIsRoom: layers that were stored stay, and nothing else does.
func TestInterop_APullThatFillsTheDiskGoesOnWhereThereIsRoom(t *testing.T) {
	image := chunkedKillImage(t)
	disk := smallDisk(t, 110)
	repo := filepath.Join(disk, "repo")
	must(t, "ostree", "init", "--repo="+repo, "--mode=bare-user")
	must(t, "ostree", "config", "--repo="+repo, "set", "core.min-free-space-percent", "0")
	fill(t, disk, 12)
	_, stderr, err := try(t, program, pullArgs(image)(repo)...)
	if err == nil {
		t.Fatal("the disk was to be full")
	}
	if !strings.Contains(stderr, "space") {
		t.Errorf("the error does not tell that the disk is full: %s", stderr)
	}
	fsck(t, repo)
	if refs := must(t, "ostree", "refs", "--repo="+repo, "--list", "ostree/container/image"); refs != "" {
		t.Errorf("the image has a ref: %q", refs)
	}
	sh(t, `rm "$1"`, filepath.Join(disk, "ballast"))
	must(t, program, pullArgs(image)(repo)...)
	fsck(t, repo)
	must(t, program, "container", "image", "history", "--repo="+repo, image)
}
