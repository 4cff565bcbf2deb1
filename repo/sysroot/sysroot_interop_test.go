//go:build interop

package sysroot_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

// ostree runs the host's ostree and returns what it prints.
func ostree(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("ostree", args...)
	cmd.Env = append(os.Environ(), "OSTREE_SYSROOT_DEBUG=mutable-deployments")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ostree %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// initSysroot makes a sysroot with two stateroots by libostree.
func initSysroot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	ostree(t, "admin", "init-fs", "--modern", root)
	for _, name := range []string{"default", "other"} {
		ostree(t, "admin", "os-init", "--sysroot="+root, name)
	}
	return root
}

func commitTo(t *testing.T, root string, tree []repotest.Entry) object.Checksum {
	t.Helper()
	r, err := repo.Open(filepath.Join(root, "ostree/repo"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return repotest.Commit(t, r, tree, "os")
}

// status prints deployments as `ostree admin status` does where nothing is booted.
func status(list sysroot.Deployments) string {
	var b strings.Builder
	for _, d := range list {
		fmt.Fprintf(&b, "  %s %s\n", d.Stateroot, d.Name())
		if d.Pinned() {
			b.WriteString("    Pinned: yes\n")
		}
		switch {
		case d.Origin == nil:
			b.WriteString("    origin: none\n")
		case d.Origin.Refspec == "":
			b.WriteString("    origin: <unknown origin type>\n")
		default:
			fmt.Fprintf(&b, "    origin refspec: %s\n", d.Origin.Refspec)
		}
	}
	return b.String()
}

func TestInterop_DeploymentsAreThoseOfOSTreeAdminStatus(t *testing.T) {
	t.Parallel()
	root := initSysroot(t)
	s := open(t, sysroot.Host{Root: t.TempDir(), Run: t.TempDir()}, root)
	if list := load(t, s); len(list) != 0 {
		t.Errorf("got %+v before the first deployment", list)
	}
	origin := filepath.Join(t.TempDir(), "origin")
	write(t, origin, "[origin]\ncontainer-image-reference=ostree-unverified-registry:registry.example/os\n")
	first := commitTo(t, root, repotest.BootTree("kernel 1", "initramfs", nil))
	second := commitTo(t, root, repotest.BootTree("kernel 2", "initramfs", nil))
	third := commitTo(t, root, repotest.BootTree("kernel 2", "initramfs", map[string]string{"usr/bin/new": "new"}))
	deploy := func(stateroot string, c object.Checksum, args ...string) {
		t.Helper()
		ostree(t, append([]string{"admin", "deploy", "--no-prune", "--sysroot=" + root, "--os=" + stateroot, c.String()},
			args...)...)
		if got, want := status(load(t, s)), ostree(t, "admin", "status", "--sysroot="+root); got != want {
			t.Errorf("got\n%s\nostree says\n%s", got, want)
		}
	}
	deploy("default", first, "--origin-file="+origin, "--karg=quiet", "--karg=root=UUID=1")
	deploy("default", second)
	deploy("other", second, "--retain")
	deploy("default", third, "--retain", "--origin-file="+origin)
	deploy("default", third, "--retain", "--not-as-default")
	deploy("default", third, "--retain")
	ostree(t, "admin", "pin", "--sysroot="+root, "1")
	if got, want := status(load(t, s)), ostree(t, "admin", "status", "--sysroot="+root); got != want {
		t.Errorf("got\n%s\nostree says\n%s", got, want)
	}
	// Every deployment is where its entry says, and so is its kernel.
	r, err := repo.Open(s.RepoPath())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	boot, err := s.Boot()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range load(t, s) {
		k, err := sysroot.FindKernel(t.Context(), r, d.Commit)
		if err != nil {
			t.Fatal(err)
		}
		if k.Checksum != d.BootChecksum || !boot.Has(d.Stateroot, k.Checksum) {
			t.Errorf("%s: got the checksum %s, libostree %s; /boot has %+v", d.Name(), k.Checksum, d.BootChecksum, boot.Kernels)
		}
		for _, name := range []string{filepath.Join(root, d.Dir), filepath.Join(root, "boot", d.Kernel)} {
			if _, err := os.Stat(name); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestInterop_TheChecksumOfAKernelIsLibostrees(t *testing.T) {
	t.Parallel()
	const modules = "usr/lib/modules/" + repotest.KernelVersion + "/"
	older := strings.Repeat("7", 64)
	for name, tree := range map[string][]repotest.Entry{
		"no initramfs":  repotest.BootTree("kernel", "", nil),
		"a device tree": repotest.BootTree("kernel", "i", map[string]string{modules + "devicetree": "dt"}),
		"an older one": repotest.BootTree("kernel", "", map[string]string{
			"usr/lib/ostree-boot/vmlinuz-5-" + older: "k", "usr/lib/ostree-boot/initramfs-5.img-" + older: "i",
		}),
		"a hash of it": repotest.BootTree("kernel", "i", map[string]string{modules + ".vmlinuz.hmac": "h"}),
		"device trees": repotest.BootTree("kernel", "i", map[string]string{
			modules + "dtb/b": "22", modules + "dtb/a/x": "1", modules + "dtb/c": "3",
		}),
		"its other name": repotest.BootTree("kernel", "", map[string]string{modules + "initramfs": "abc"}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := initSysroot(t)
			c := commitTo(t, root, tree)
			ostree(t, "admin", "deploy", "--sysroot="+root, "--os=default", c.String())
			s := open(t, sysroot.Host{Root: t.TempDir(), Run: t.TempDir()}, root)
			r, err := repo.Open(s.RepoPath())
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			k, err := sysroot.FindKernel(t.Context(), r, c)
			if err != nil {
				t.Fatal(err)
			}
			d := load(t, s)[0]
			if k.Checksum != d.BootChecksum {
				t.Errorf("got %s, libostree %s", k.Checksum, d.BootChecksum)
			}
			if len(d.KernelArgs) != 0 {
				t.Errorf("got the kernel arguments %q, want none but libostree's own", d.KernelArgs)
			}
		})
	}
}

func TestInterop_OSTreeWaitsForTheLock(t *testing.T) {
	t.Parallel()
	root := initSysroot(t)
	s := open(t, sysroot.Host{Run: t.TempDir()}, root)
	unlock, err := s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cleanup := func() error {
		return exec.Command("timeout", "1", "ostree", "admin", "cleanup", "--sysroot="+root).Run()
	}
	if err := cleanup(); err == nil {
		t.Error("ostree did not wait")
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	ostree(t, "admin", "cleanup", "--sysroot="+root)
}
