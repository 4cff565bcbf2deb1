// Package hosttree makes images whose trees are hard to get right on a host, and checks the commits that the program
// makes of them against other programs. Its functions need root, and run mmdebstrap, ostree and umoci.
package hosttree

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/aptsources"
)

// Debian makes the root filesystem of a small Debian with SELinux's policy, enabled, and returns its directory.
func Debian(t testing.TB) string {
	t.Helper()
	mirror, err := aptsources.Find("bookworm")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root")
	options := []string{"--include=selinux-policy-default"}
	for _, unneeded := range []string{"share/doc", "share/locale", "share/man", "share/zoneinfo", "share/i18n",
		"lib/*/gconv"} {
		options = append(options, "--dpkgopt=path-exclude=/usr/"+unneeded+"/*")
	}
	run(t, "mmdebstrap", append(aptsources.Mmdebstrap("bookworm", root, mirror.All(), options...),
		"--variant=essential")...)
	sh(t, `cd "$1" && find . \( -type b -o -type c -o -type p -o -type s \) -delete
		sed -i s/^SELINUX=.*/SELINUX=permissive/ etc/selinux/config
		mkdir -p usr/lib/modules/6.1.0 usr/share/opaque usr/share/removed && echo kernel >usr/lib/modules/6.1.0/vmlinuz
		echo initramfs >usr/lib/modules/6.1.0/initramfs.img && echo 1 >usr/share/opaque/old
		echo 1 >usr/share/removed/file`, root)
	return root
}

// Steps are shell commands that change the tree of [Debian], each for a layer of its own: files are added, replaced and
// removed, a directory is made opaque, and dpkg installs a package. They run with the tree as working directory, inside
// of it or from outside.
func Steps() []string {
	return []string{
		`echo new >usr/bin/new && chmod 4755 usr/bin/new && echo changed >usr/lib/os-release && rm usr/bin/yes &&
			rm -r usr/share/removed && echo conf >etc/added.conf && mkdir -p run/app var/lib/app && echo 1 >run/app/pid &&
			echo s >var/lib/app/state`,
		`rm -r usr/share/opaque && mkdir usr/share/opaque && echo 2 >usr/share/opaque/new &&
			ln usr/bin/new usr/bin/newer && ln -s /usr/bin/new usr/bin/newest`,
		`made=$(mktemp -d) && mkdir -p $made/pkg/DEBIAN $made/pkg/usr/sbin $made/pkg/etc/tool &&
			printf 'Package: tool\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: tool\n' \
				>$made/pkg/DEBIAN/control &&
			echo tool >$made/pkg/usr/sbin/tool && chmod 755 $made/pkg/usr/sbin/tool && echo conf >$made/pkg/etc/tool/conf &&
			dpkg-deb -b $made/pkg $made/tool.deb &&
			dpkg --root="$PWD" --force-depends --no-triggers -i $made/tool.deb && rm -r $made`,
	}
}

// Unpacked returns the tree that umoci makes of an image in a layout, LAYOUT:TAG, with its files where a host has them.
func Unpacked(t testing.TB, image string) string {
	t.Helper()
	bundle := filepath.Join(t.TempDir(), "bundle")
	run(t, "umoci", "unpack", "--image", image, bundle)
	root := filepath.Join(bundle, "rootfs")
	sh(t, `cd "$1" && rm -rf sysroot/ostree
		[ -d usr/etc ] && cp -a etc/. usr/etc/ && rm -r etc || mv etc usr/etc
		for d in run tmp proc sys dev; do [ ! -d $d -o -L $d ] || find $d -mindepth 1 -delete; done
		for f in usr/etc/hostname usr/etc/resolv.conf; do [ -s $f ] || rm -f $f; done`, root)
	return root
}

// CheckMerge checks the only image in a repository of mode bare, whose tree must be want. The labels must be those that
// ostree gives that tree with the policy in it.
func CheckMerge(t testing.TB, repo, want string) {
	t.Helper()
	run(t, "ostree", "fsck", "--repo="+repo)
	ref := run(t, "ostree", "refs", "--repo="+repo, "--list", "ostree/container/image")
	got, relabelled := filepath.Join(t.TempDir(), "tree"), filepath.Join(t.TempDir(), "repo")
	run(t, "ostree", "checkout", "--repo="+repo, ref, got)
	run(t, "ostree", "init", "--repo="+relabelled, "--mode=archive")
	run(t, "ostree", "commit", "--repo="+relabelled, "--fsync=false", "--branch=x", "--selinux-policy="+got,
		"--tree=dir="+got)
	show := `ostree ls --repo="$1" -RXC "$2" | sed -E 's/^(d[^ ]+ +[0-9]+ +[0-9]+ +[0-9]+) [0-9a-f]+ [0-9a-f]+/\1/'`
	ours, ostrees := sh(t, show, repo, ref), sh(t, show, relabelled, "x")
	if ours != ostrees {
		t.Errorf("labels differ from those of ostree:\n%s", firstDifferences(ours, ostrees))
	}
	if !strings.Contains(ours, "system_u:object_r:") {
		t.Error("nothing is labelled")
	}
	sh(t, `find "$1" -exec setfattr -h -x security.selinux {} + 2>/dev/null || true`, got)
	Same(t, got, want)
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

// Same compares two directories and names the differences: names, content, modes, owners and extended attributes of
// everything in them. It ignores link counts, since a checkout links equal files, and times.
func Same(t testing.TB, got, want string) {
	t.Helper()
	if sum(t, got) == sum(t, want) {
		return
	}
	list := `cd "$1" && find . -printf '%p %y %m %U %G %l\n' | sort && getfattr -R -h -d -m - . 2>/dev/null
		find . -type f -exec sha256sum {} + | sort -k2`
	diff := sh(t, `diff -u <(`+list+`) <(cd "$2"; set -- "$2"; `+list+`) || true`, want, got)
	if len(diff) > 4000 {
		diff = diff[:4000] + " …"
	}
	t.Errorf("%s differs from %s:\n%s", got, want, diff)
}

func sum(t testing.TB, dir string) string {
	t.Helper()
	return sh(t, `tar -C "$1" --sort=name --format=pax --pax-option=delete=atime,delete=ctime,delete=mtime --mtime=@0 \
		--numeric-owner --hard-dereference --xattrs --xattrs-include='*' -c . | sha256sum`, dir)
}

// sh runs a shell script; its arguments are $1, $2, ….
func sh(t testing.TB, script string, args ...string) string {
	t.Helper()
	return run(t, "bash", append([]string{"-euo", "pipefail", "-c", script, "bash"}, args...)...)
}

// run runs a command and returns its standard output, trimmed. If the command fails, the test ends with its output.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &out, &errs)
	}
	return strings.TrimSpace(out.String())
}
