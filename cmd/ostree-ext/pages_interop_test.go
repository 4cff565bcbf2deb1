//go:build interop

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/docblocks"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// TestInterop_TheFirstPageOfHostsWorks follows it on a host that runs an image, with another one in the registry.
func TestInterop_TheFirstPageOfHostsWorks(t *testing.T) {
	h, n := newOSTreeHost(t), newNewcomer(t)
	root := filepath.Join(n.dir, "rootfs")
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	somePackages(t, root)
	for _, name := range []string{"boot", "dev", "proc", "run", "sysroot", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The programs of this machine are in /usr of the booted host.
	for name, target := range map[string]string{
		"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("usr/lib/modules/6.1.0/vmlinuz", "kernel")
	write("usr/lib/os-release", "ID=exampleos\nVERSION_ID=41\n")
	build := "ostree-ext container build -q --format=ostree --rootfs=rootfs docker://registry.example/os:"
	n.run(t, "the first system", build+"41\nostree-ext container image deploy -q --sysroot="+h.root+
		" --imgref=ostree-unverified-registry:registry.example/os:41")
	write("usr/lib/os-release", "ID=exampleos\nVERSION_ID=42\n")
	write("usr/lib/modules/6.1.0/vmlinuz", "another kernel")
	n.run(t, "the next system", build+"latest")

	deployments, err := filepath.Glob(filepath.Join(h.root, "ostree/deploy/default/deploy/*.0"))
	if err != nil || len(deployments) != 1 {
		t.Fatal(deployments, err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := repotest.Booted{
		Sysroot: h.root, Deployment: strings.TrimPrefix(deployments[0], h.root), Run: t.TempDir(), ReadOnly: true,
		Binds: []string{self + ":tmp/ostree-ext"},
	}
	for _, variable := range n.env {
		switch name, value, _ := strings.Cut(variable, "="); name {
		case "SSL_CERT_FILE", "CONTAINERS_REGISTRIES_CONF": // the host has another /tmp
			b.Binds = append(b.Binds, value+":tmp/"+name)
			t.Setenv(name, "/tmp/"+name)
		case "REGISTRY_AUTH_FILE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy":
			t.Setenv(name, value)
		}
	}
	t.Setenv("PATH", "/tmp:"+os.Getenv("PATH"))
	follow(t, blocksOf(t, "docs/start-host.md", "", func(docblocks.Block) bool { return false }),
		func(commands string) (string, error) {
			out, err := b.Command("sh", "-euc", "cd /tmp\n"+commands).CombinedOutput()
			t.Logf("$ %s%s", commands, out)
			return string(out), err
		})
}
