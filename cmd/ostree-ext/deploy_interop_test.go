//go:build interop

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/repo"
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

func TestInterop_DeployUpdateAndStatusOfARealHost(t *testing.T) {
	h := newOSTreeHost(t)
	first, second := bootableImage(t, "one"), bootableImage(t, "two")
	const target = "ostree-unverified-registry:registry.example/os:latest"
	deploy := func(image string, args ...string) (commit string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "commit")
		args = append(args, "--sysroot="+h.root, "--imgref="+image, "--target-imgref="+target, "--write-commitid-to="+file)
		out, err := runDeploy(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if want := "Deployed: " + target + " => " + string(data) + "\n"; out != want {
			t.Errorf("got %q, want %q", out, want)
		}
		if got := h.ostree(t, "admin", "status"); !strings.HasPrefix(got, "  default "+string(data)) {
			t.Errorf("ostree shows\n%s", got)
		}
		return string(data)
	}
	deploy(first, "--karg=root=UUID=1", "--karg=console=a", "--karg=console=b")
	// Nothing but the deployment keeps the commit of the second one.
	commit := deploy(second, "--no-imgref")
	entries, err := filepath.Glob(filepath.Join(h.root, "boot/loader/entries/*"))
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
	status := []string{"container", "image", "status", "--sysroot=" + h.root}
	code := run(t.Context(), status, streams{out: &out, err: &errs})
	if code != exitOK || !strings.HasPrefix(out.String(), "Default: "+target+"\n  Version:   two\n") ||
		!strings.Contains(out.String(), "\nOther: "+target+"\n  Version:   one\n") ||
		!strings.Contains(out.String(), commit) {
		t.Errorf("status %d: got\n%s%s", code, &out, &errs)
	}
	// A third time, and the first is gone with its objects.
	deploy(first)
	deploy(second)
	if out, err := exec.Command("ostree", "fsck", "--repo="+h.repo.Path()).CombinedOutput(); err != nil {
		t.Errorf("%s%v", out, err)
	}
}

func TestInterop_DeployWritesRecordsOfAllThatItDoes(t *testing.T) {
	h := newOSTreeHost(t)
	image := bootableImage(t, "one")
	for _, c := range []struct{ args, tasks string }{
		{"--download-only", "Start pulling importing"},
		{"--dry-run", ""},
		{"", "Start staging"},
	} {
		args := []string{"container", "image", "deploy", "-q", "--progress=json", "--sysroot=" + h.root, "--imgref=" + image}
		var out, errs bytes.Buffer
		if code := run(t.Context(), append(args, strings.Fields(c.args)...), streams{out: &out, err: &errs}); code != exitOK {
			t.Fatalf("%s: %s", c.args, &errs)
		}
		var tasks []string
		last := struct {
			Type, Task        string
			Steps, StepsTotal int
		}{}
		for line := range strings.Lines(errs.String()) {
			if err := json.Unmarshal([]byte(line), &last); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			name := last.Task
			if name == "" {
				name = last.Type
			}
			if len(tasks) == 0 || tasks[len(tasks)-1] != name {
				tasks = append(tasks, name)
			}
		}
		if got := strings.Join(tasks, " "); got != c.tasks || last.Steps != last.StepsTotal {
			t.Errorf("deploy %s: tasks %q, want %q; %d of %d steps at the end", c.args, got, c.tasks, last.Steps,
				last.StepsTotal)
		}
	}
}

func TestInterop_ASmallBootIsAWarningBeforeAndAnErrorAfterTheDownload(t *testing.T) {
	h := newOSTreeHost(t)
	boot := filepath.Join(h.root, "boot")
	if err := unix.Mount("tmpfs", boot, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(boot, 0); err != nil {
			t.Error(err)
		}
	})
	kernel := func(c string) string { return strings.Repeat(c, 3<<20) }
	if _, err := runDeploy(t, "--sysroot="+h.root, "--imgref="+bootableImage(t, kernel("a"))); err != nil {
		t.Fatal(err)
	}
	// A kernel of the same version is thought to be the same, so there is no warning.
	_, err := runDeploy(t, "--sysroot="+h.root, "--imgref="+bootableImage(t, kernel("b")))
	if err == nil || !strings.Contains(err.Error(), "error: not enough room in "+boot) ||
		strings.Contains(err.Error(), "warning") {
		t.Errorf("got %v, want that room is missing", err)
	}
	// The label with the version is that of another kernel.
	image := bootableImageOf(t, "9.9", kernel("c"))
	if _, err := runDeploy(t, "--sysroot="+h.root, "--imgref="+image); err == nil ||
		!strings.Contains(err.Error(), "warning: if the new kernel is as large as the present one") {
		t.Errorf("got %v, want a warning", err)
	}
	// An image with a plan says how large its kernel is.
	image = plannedBootableImage(t, "9.9", kernel("d"))
	_, err = runDeploy(t, "--sysroot="+h.root, "--imgref="+image)
	if err == nil || !strings.Contains(err.Error(), "error: not enough room in "+boot+": 2.2") ||
		!strings.HasSuffix(strings.TrimSpace(err.Error()), "; nothing was fetched") {
		t.Errorf("got %v, want that room is missing", err)
	}
	if ref, err := imgref.ParseOstreeImageReference(image); err != nil {
		t.Error(err)
	} else if _, err := store.Query(t.Context(), h.repo, ref.Image); !errors.Is(err, store.ErrNoImage) {
		t.Errorf("the image is stored: %v", err)
	}
}
