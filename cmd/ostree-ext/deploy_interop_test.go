//go:build interop

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// ostreeHost is a sysroot that libostree made, with the stateroot "default".
type ostreeHost struct {
	root string
	repo *repo.Repo
}

func newOSTreeHost(t *testing.T) *ostreeHost {
	t.Helper()
	t.Setenv("OSTREE_SYSROOT_DEBUG", "mutable-deployments")
	h := &ostreeHost{root: t.TempDir()}
	if out, err := exec.Command("ostree", "admin", "init-fs", "--modern", h.root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.ostree(t, "admin", "os-init", "default")
	var err error
	if h.repo, err = repo.Open(filepath.Join(h.root, "ostree/repo")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.repo.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// ostree runs the real program with the sysroot.
func (h *ostreeHost) ostree(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ostree", append(args, "--sysroot="+h.root)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ostree %q: %v: %s", args, err, out)
	}
	return string(out)
}

func TestInterop_DeployAndStatusOfARealHost(t *testing.T) {
	h := newOSTreeHost(t)
	root, r := h.root, h.repo
	const image = "ostree-unverified-registry:registry.example/os:latest"
	deploy := func(c object.Checksum, args ...string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "commit")
		args = append(args, "--sysroot="+root, "--imgref="+image, "--write-commitid-to="+file)
		out, err := runDeploy(t, &puller{commit: c}, args...)
		if want := "Deployed: " + image + " => " + c.String() + "\n"; err != nil || out != want {
			t.Fatalf("got %q and %v, want %q", out, err, want)
		}
		if data, err := os.ReadFile(file); err != nil || string(data) != c.String() {
			t.Errorf("got %q and %v", data, err)
		}
		if got := h.ostree(t, "admin", "status"); !strings.HasPrefix(got, "  default "+c.String()) {
			t.Errorf("ostree shows\n%s", got)
		}
	}
	deploy(repotest.Commit(t, r, repotest.BootTree("one", "initramfs", nil), ""), "--karg=root=UUID=1", "--karg=console=a",
		"--karg=console=b")
	second := repotest.Commit(t, r, repotest.BootTree("two", "initramfs", nil), "")
	deploy(second)
	entries, err := filepath.Glob(filepath.Join(root, "boot/loader/entries/*"))
	if err != nil || len(entries) != 2 {
		t.Fatalf("got the entries %q and %v", entries, err)
	}
	for _, name := range entries {
		data, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(data), "options root=UUID=1 console=a console=b ostree=") {
			t.Errorf("%s: got %s and %v", name, data, err)
		}
	}
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"container", "image", "status", "--sysroot=" + root}, streams{out: &out, err: &errs})
	if code != exitOK || !strings.HasPrefix(out.String(), "Default: "+image+"\n") ||
		!strings.Contains(out.String(), "\nOther: "+image+"\n") || !strings.Contains(out.String(), second.String()) {
		t.Errorf("status %d: got\n%s%s", code, &out, &errs)
	}
}
