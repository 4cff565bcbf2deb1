//go:build interop

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// TestInterop_TheCommandsOfThePageForHostsWork runs each command of docs/hosts.md in its order, on a host with three
// deployments. The image of the page is one in a directory.
func TestInterop_TheCommandsOfThePageForHostsWork(t *testing.T) {
	page, err := os.ReadFile("../../docs/hosts.md")
	if err != nil {
		t.Fatal(err)
	}
	h := newOSTreeHost(t)
	t.Setenv("OSTREE_SYSROOT", h.root)
	for _, kernel := range []string{"one", "two"} {
		c := repotest.Commit(t, h.repo, repotest.BootTree(kernel, "initramfs", nil), kernel)
		h.ostree(t, "admin", "deploy", "--os=default", "--retain", c.String())
	}
	image, other := bootableImage(t, "four"), bootableImage(t, "six")
	next := repotest.Commit(t, h.repo, repotest.BootTree("three", "initramfs", nil), "three")
	n := 0
	for line := range strings.Lines(string(page)) {
		command, ok := strings.CutPrefix(line, "    ")
		if !ok {
			continue
		}
		n++
		if strings.HasPrefix(command, "ostree-ext container image pull ") { // which finds an update
			dir := strings.TrimPrefix(image, "ostree-unverified-image:oci:")
			update := strings.TrimPrefix(bootableImage(t, "five"), "ostree-unverified-image:oci:")
			if err := errors.Join(os.RemoveAll(dir), os.Rename(update, dir)); err != nil {
				t.Fatal(err)
			}
		}
		command = strings.NewReplacer(
			"ostree-unverified-registry:registry.example/os:latest", image, "/ostree/repo", h.root+"/ostree/repo",
			"ostree-unverified-registry:registry.example/os:next", other,
			"update.json", filepath.Join(t.TempDir(), "update.json"),
		).Replace(command)
		args := strings.Fields(command)
		switch {
		case strings.HasPrefix(command, "ostree-ext container image deploy "):
			if _, err := runDeploy(t, args[4:]...); err != nil {
				t.Errorf("%s%v", command, err)
			}
		case strings.HasPrefix(command, "ostree-ext "):
			var out bytes.Buffer
			if code := run(t.Context(), args[1:], streams{out: &out, err: &out}); code != exitOK {
				t.Errorf("%s%s", command, &out)
			}
		default:
			if args[2] == "config-diff" { // of the running system, if no other is named
				args = append(args, "--os=default")
			}
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%s%s%v", command, out, err)
			}
			if args[2] == "undeploy" { // for the next command
				h.ostree(t, "admin", "deploy", "--os=default", "--retain", next.String())
			}
		}
	}
	if n < 8 {
		t.Errorf("only %d commands found", n)
	}
}
