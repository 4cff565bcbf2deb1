//go:build interop

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/aptsources"
)

// policyRoot makes a small Debian root filesystem with SELinux's policy, enabled.
func policyRoot(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	must(t, "mmdebstrap", append(aptsources.Mmdebstrap("bookworm", root, bookworm(t).All(),
		"--include=selinux-policy-default"), "--variant=essential")...)
	sh(t, `cd "$1" && find . \( -type b -o -type c -o -type p -o -type s \) -delete
		sed -i s/^SELINUX=.*/SELINUX=permissive/ etc/selinux/config
		mkdir -p usr/lib/modules/6.1.0 usr/share/opaque && echo kernel >usr/lib/modules/6.1.0/vmlinuz
		echo initramfs >usr/lib/modules/6.1.0/initramfs.img && echo 1 >usr/share/opaque/old`, root)
	return root
}

// derive puts three layers on top of an image, made by umoci from changed trees: files that are added, replaced and
// removed, a directory that is made opaque, and a package that dpkg installs.
func derive(t *testing.T, layout, from, to string) {
	t.Helper()
	sh(t, `dir=$1 layout=$2
		layer() { umoci unpack --image "$layout:$1" "$dir/$2" && cd "$dir/$2/rootfs"; }
		layer "$3" one
		echo new >usr/bin/new && chmod 4755 usr/bin/new && echo changed >usr/lib/os-release.d && rm usr/share/dict/README* \
			2>/dev/null || rm -r usr/share/doc/dpkg
		echo conf >etc/added.conf && mkdir -p run/app var/lib/app && echo 1 >run/app/pid && echo s >var/lib/app/state
		cd / && umoci repack --image "$layout:one" "$dir/one"
		layer one two
		rm -r usr/share/opaque && mkdir usr/share/opaque && echo 2 >usr/share/opaque/new
		ln usr/bin/new usr/bin/newer && ln -s /usr/bin/new usr/bin/newest
		cd / && umoci repack --image "$layout:two" "$dir/two"
		mkdir -p "$dir/pkg/DEBIAN" "$dir/pkg/usr/sbin" "$dir/pkg/etc/tool"
		printf 'Package: tool\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: tool\n' \
			>"$dir/pkg/DEBIAN/control"
		echo tool >"$dir/pkg/usr/sbin/tool" && chmod 755 "$dir/pkg/usr/sbin/tool" && echo conf >"$dir/pkg/etc/tool/conf"
		dpkg-deb -b "$dir/pkg" "$dir/tool.deb"
		layer two three
		dpkg --root="$PWD" --force-depends --no-triggers -i "$dir/tool.deb"
		cd / && umoci repack --image "$layout:$4" "$dir/three"`, t.TempDir(), layout, from, to)
}

// asOnHosts moves the tree that umoci made of an image to where a host has it.
func asOnHosts(t *testing.T, root string) {
	t.Helper()
	sh(t, `cd "$1" && rm -rf sysroot/ostree
		[ -d usr/etc ] && cp -a etc/. usr/etc/ && rm -r etc || mv etc usr/etc
		for d in run tmp proc sys dev; do [ ! -d $d -o -L $d ] || find $d -mindepth 1 -delete; done
		for f in usr/etc/hostname usr/etc/resolv.conf; do [ -s $f ] || rm -f $f; done`, root)
}

// TestInterop_ALayeredImageIsTheTreeThatContainersSee pulls a Debian with layers on top of its commit, and one that
// holds no commit. Checked out, the merge commits are what umoci unpacks, and their labels are those that ostree gives
// that tree.
func TestInterop_ALayeredImageIsTheTreeThatContainersSee(t *testing.T) {
	root, layout := policyRoot(t), filepath.Join(t.TempDir(), "layout")
	for _, format := range []string{"ostree", "plain"} {
		t.Run(format, func(t *testing.T) {
			must(t, program, "-q", "container", "build", "--prior=none", "--format="+format, "--rootfs="+root, "--max-layers=20",
				"oci:"+layout+":"+format)
			derive(t, layout, format, format+"-derived")
			want := unpackedWith(t, layout+":"+format+"-derived")
			asOnHosts(t, want)
			repo := newRepo(t, "bare")
			image := "oci:" + layout + ":" + format + "-derived"
			_, stderr, err := try(t, program, "container", "image", "pull", "-q", repo, "ostree-unverified-image:"+image)
			if err != nil || !strings.Contains(stderr, "non-ostree compatible file paths") {
				t.Errorf("the pull: %v: %s", err, stderr)
			}
			fsck(t, repo)
			ref := strings.TrimSpace(must(t, "ostree", "refs", "--repo="+repo, "--list", "ostree/container/image"))
			got := filepath.Join(t.TempDir(), "tree")
			must(t, "ostree", "checkout", "--repo="+repo, ref, got)
			// The labels: ostree's own, of the same tree with the same policy.
			relabelled := newRepo(t, "archive")
			must(t, "ostree", "commit", "--repo="+relabelled, "--branch=x", "--selinux-policy="+got, "--tree=dir="+got)
			show := `ostree ls --repo="$1" -RXC "$2" | sed -E 's/^(d[^ ]+ +[0-9]+ +[0-9]+ +[0-9]+) [0-9a-f]+ [0-9a-f]+/\1/'`
			a := sh(t, show, repo, ref)
			b := sh(t, show, relabelled, "x")
			writeFile(t, filepath.Join(t.TempDir(), "a"), a)
			if a != b {
				t.Errorf("labels differ from those of ostree:\n%s", firstDifferences(a, b))
			}
			if !strings.Contains(a, "system_u:object_r:") {
				t.Error("nothing is labelled")
			}
			sh(t, `find "$1" -exec setfattr -h -x security.selinux {} + 2>/dev/null || true`, got)
			sameTree(t, got, want)
		})
	}
}

// firstDifferences returns the first lines that differ.
func firstDifferences(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	var out strings.Builder
	for i, n := 0, 0; i < min(len(x), len(y)) && n < 10; i++ {
		if x[i] != y[i] {
			out.WriteString("  ours: " + x[i] + "\n ostree: " + y[i] + "\n")
			n++
		}
	}
	return out.String()
}

// unpackedWith is the tree that umoci makes of an image.
func unpackedWith(t *testing.T, image string) string {
	t.Helper()
	bundle := filepath.Join(t.TempDir(), "bundle")
	must(t, "umoci", "unpack", "--image", image, bundle)
	return filepath.Join(bundle, "rootfs")
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
