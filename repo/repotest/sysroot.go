package repotest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// KernelVersion is the version of the kernel of [BootTree].
const KernelVersion = "6.1.0-test"

// BootTree returns a tree that libostree can deploy, with the given contents of the kernel and the initramfs, which may
// be empty to leave it out. files are further ones, by path.
func BootTree(kernel, initramfs string, files map[string]string) []Entry {
	b := builder{byPath: map[string]*Entry{}}
	add := func(name, content string) {
		b.parents(name)
		b.byPath[name] = &Entry{Path: name, Mode: object.ModeRegular | 0o644, Content: []byte(content)}
	}
	modules := "usr/lib/modules/" + KernelVersion
	add(modules+"/vmlinuz", kernel)
	if initramfs != "" {
		add(modules+"/initramfs.img", initramfs)
	}
	add("usr/lib/os-release", "ID=exampleos\nPRETTY_NAME=\"Example OS\"\n")
	add("usr/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
	for name, content := range files {
		add(name, content)
	}
	for _, dir := range []string{"sysroot", "var", "run", "dev", "proc", "sys", "tmp", "boot"} {
		b.byPath[dir] = &Entry{Path: dir, Mode: object.ModeDir | 0o755}
	}
	for name, target := range map[string]string{
		"ostree": "sysroot/ostree", "bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64",
	} {
		b.byPath[name] = &Entry{Path: name, Mode: object.ModeSymlink | 0o777, Target: target}
	}
	return b.sorted()
}

// BootChecksum returns the checksum by which libostree names the kernel of a [BootTree] in /boot.
func BootChecksum(kernel, initramfs string) object.Checksum {
	return sha256.Sum256([]byte(kernel + initramfs))
}

// CommitWith is like [Commit], with metadata and, if it is not nil, detached metadata.
func CommitWith(
	t testing.TB, r *repo.Repo, tree []Entry, ref string, metadata, detached gvariant.Dict,
) object.Checksum {
	t.Helper()
	var data []byte
	if detached != nil {
		data = detached.Encode()
	}
	return commit(t, r, tree, ref, &object.Commit{Timestamp: 1700000000, Metadata: metadata}, data)
}

// Deployment is a deployment that [MakeSysroot] makes.
type Deployment struct {
	Stateroot string
	Commit    object.Checksum
	// Boot is the checksum of the kernel.
	Boot object.Checksum
	// Title and KernelArgs are those of the boot loader entry; ostree= is added.
	Title, KernelArgs string
	// Origin is the content of the origin file; there is none if it is empty.
	Origin string
}

// MakeSysroot makes a sysroot as libostree does, but with empty deployments, in a temporary directory. It has no
// repository yet, only the directory for one. The first deployment is the default.
func MakeSysroot(t testing.TB, deployments ...Deployment) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, content string) {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"ostree/repo", "ostree/deploy/default", "ostree/boot.0.1", "boot/loader.0/entries"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link("loader.0", "boot/loader")
	link("boot.0.1", "ostree/boot.0")
	serials := map[string]int{}
	for i, d := range deployments {
		k := len(deployments) - i
		kernel := fmt.Sprintf("%s/%s", d.Stateroot, d.Boot)
		name := fmt.Sprintf("ostree/deploy/%s/deploy/%s.0", d.Stateroot, d.Commit)
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if d.Origin != "" {
			write(name+".origin", d.Origin)
		}
		link("../../../"+name[len("ostree/"):], fmt.Sprintf("ostree/boot.0.1/%s/%d", kernel, serials[kernel]))
		files := fmt.Sprintf("ostree/%s-%s", d.Stateroot, d.Boot)
		write(fmt.Sprintf("boot/loader.0/entries/ostree-%d-%s.conf", k, d.Stateroot), fmt.Sprintf(
			"title %s\nversion %d\noptions %s ostree=/ostree/boot.0/%s/%d\n"+
				"linux /%s/vmlinuz-%s\ninitrd /%[6]s/initramfs-%[7]s.img\n",
			d.Title, k, d.KernelArgs, kernel, serials[kernel], files, KernelVersion))
		write(fmt.Sprintf("boot/%s/vmlinuz-%s", files, KernelVersion), "kernel")
		write(fmt.Sprintf("boot/%s/initramfs-%s.img", files, KernelVersion), "initramfs")
		serials[kernel]++
	}
	return root
}

// bootScript runs a command as if a deployment was booted: with its directory as the root directory, the mark of a
// booted host, and the programs of this machine. libostree compares the mounts with those of process 1, so the script
// has a process namespace of its own.
const bootScript = `set -e
mount --bind "$DEPLOYMENT" "$DEPLOYMENT"
cd "$DEPLOYMENT"
mount --bind "$SYSROOT" sysroot
mount --bind "$SYSROOT/boot" boot
mount --rbind /usr usr
mount --rbind /dev dev
mount -t proc proc proc
mount --bind "$RUN" run
mount -t tmpfs tmpfs tmp
touch run/ostree-booted
for bind in $BINDS; do
	if [ -d "${bind%%:*}" ]; then mkdir "${bind##*:}"; else touch "${bind##*:}"; fi
	mount --bind "${bind%%:*}" "${bind##*:}"
done
[ -z "$READONLY" ] || mount -o remount,bind,ro "$DEPLOYMENT/sysroot"
exec chroot . "$@"`

// Booted is a sysroot that is to be the running system. The test must be root.
type Booted struct {
	// Sysroot is its path, and Deployment the path of the booted deployment in it.
	Sysroot, Deployment string
	// Run is the directory for state, which is kept from one command to the next.
	Run string
	// Binds are files and directories that the system sees below /tmp: the path, a colon, and "tmp/NAME".
	Binds []string
	// ReadOnly is whether /sysroot is mounted read-only, as many systems have it.
	ReadOnly bool
}

// Command returns a command of the running system.
func (b *Booted) Command(args ...string) *exec.Cmd {
	cmd := exec.Command("unshare", "--mount", "--propagation=private", "--pid", "--fork", "sh", "-c", bootScript, "sh")
	cmd.Args = append(cmd.Args, args...)
	cmd.Env = append(os.Environ(), "DEPLOYMENT="+filepath.Join(b.Sysroot, b.Deployment), "SYSROOT="+b.Sysroot,
		"RUN="+b.Run, "BINDS="+strings.Join(b.Binds, " "))
	if b.ReadOnly {
		cmd.Env = append(cmd.Env, "READONLY=1")
	}
	return cmd
}
