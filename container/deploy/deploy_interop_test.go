//go:build interop

package deploy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

func TestMain(m *testing.M) {
	// Otherwise deployments are immutable, and a test could not remove its directory.
	_ = os.Setenv("OSTREE_SYSROOT_DEBUG", "mutable-deployments")
	if steps := os.Getenv(bootedSteps); steps != "" {
		os.Exit(runBooted(strings.Fields(steps)))
	}
	os.Exit(m.Run())
}

func ostree(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ostree", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ostree %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// realHost is a sysroot that libostree made, with the stateroot "default".
type realHost struct {
	path string
	repo *repo.Repo
	n    int
}

func newRealHost(t *testing.T) *realHost {
	t.Helper()
	h := &realHost{path: t.TempDir()}
	ostree(t, "admin", "init-fs", "--modern", h.path)
	ostree(t, "admin", "os-init", "--sysroot="+h.path, "default")
	var err error
	if h.repo, err = repo.Open(filepath.Join(h.path, "ostree/repo")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.repo.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// commit makes a commit that nothing but a deployment keeps, as a pull without a reference leaves it.
func (h *realHost) commit(t *testing.T, kernel string, files map[string]string) object.Checksum {
	t.Helper()
	h.n++
	return repotest.CommitWith(t, h.repo, repotest.BootTree(kernel, "initramfs "+kernel, files), "",
		gvariant.Dict{{Key: "version", Value: gvariant.String(fmt.Sprint(h.n))}}, nil)
}

func (h *realHost) options(t *testing.T, c object.Checksum) Options {
	t.Helper()
	return Options{
		Sysroot: h.path, Commit: c, Origin: parse(t, unverified), Host: sysroot.Host{Root: t.TempDir(), Run: t.TempDir()},
	}
}

func (h *realHost) deploy(t *testing.T, opts Options) *Result {
	t.Helper()
	res, err := Deploy(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// names lists the deployments as `ostree admin status` does.
func (h *realHost) names(t *testing.T) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(ostree(t, "admin", "status", "--sysroot="+h.path)) {
		if strings.HasPrefix(line, "  default ") {
			names = append(names, strings.TrimSpace(strings.TrimPrefix(line, "  default ")))
		}
	}
	return names
}

func read(t *testing.T, name ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(name...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestInterop_DeployUpdateAndUndeploy(t *testing.T) {
	t.Parallel()
	h := newRealHost(t)
	first := h.commit(t, "one", nil)
	opts := h.options(t, first)
	opts.KernelArgs = []string{"root=UUID=1", "console=tty0", "console=ttyS0"}
	d := h.deploy(t, opts).Deployment
	if d.Commit != first || d.Staged || d.Stateroot != "default" || !slices.Equal(d.KernelArgs, opts.KernelArgs) {
		t.Errorf("got %+v", d)
	}
	if got, want := read(t, h.path, d.Dir+".origin"), imageOrigin(unverified); got != want {
		t.Errorf("got the origin %q, want %q", got, want)
	}
	if kernel, initramfs := read(t, h.path, "boot", d.Kernel), read(t, h.path, "boot", d.Initramfs); kernel != "one" ||
		initramfs != "initramfs one" {
		t.Errorf("got the kernel %q and the initramfs %q", kernel, initramfs)
	}
	// Two further ones: arguments are inherited, and /etc is merged.
	write(t, filepath.Join(h.path, d.Dir, "etc/passwd"), "root:x:0:0:changed:/root:/bin/sh\n")
	second := h.commit(t, "two", nil)
	p := plan(t, h.options(t, second))
	if len(p.Keep) != 1 || len(p.Drop) != 0 || p.Previous != unverified {
		t.Errorf("got %+v", p)
	}
	res := h.deploy(t, h.options(t, second))
	if !slices.Equal(res.Deployment.KernelArgs, opts.KernelArgs) {
		t.Errorf("got the kernel arguments %q, want %q", res.Deployment.KernelArgs, opts.KernelArgs)
	}
	if got := read(t, h.path, res.Deployment.Dir, "etc/passwd"); !strings.Contains(got, "changed") {
		t.Errorf("got %q, want the change in /etc", got)
	}
	if !slices.ContainsFunc(res.Messages, func(s string) bool { return strings.Contains(s, "/etc changes: 1 modified") }) {
		t.Errorf("got %q, want ostree's words about /etc", res.Messages)
	}
	third := h.commit(t, "three", nil)
	opts = h.options(t, third)
	opts.KernelArgs = []string{"quiet"}
	p = plan(t, opts)
	res = h.deploy(t, opts)
	if !slices.Equal(res.Deployment.KernelArgs, opts.KernelArgs) {
		t.Errorf("got the kernel arguments %q, want %q", res.Deployment.KernelArgs, opts.KernelArgs)
	}
	want := []string{third.String() + ".0"}
	for _, k := range p.Keep {
		want = append(want, k.Name)
	}
	if got := h.names(t); !slices.Equal(got, want) || len(p.Drop) != 1 || p.Drop[0].Name != first.String()+".0" {
		t.Errorf("got the deployments %q, the plan was %+v", got, p)
	}
	// A deployment keeps its commit alive, and the end of a deployment frees it.
	if ok, err := h.repo.Has(object.Name{Checksum: first, Type: object.TypeCommit}); ok || err != nil {
		t.Errorf("got %v, %v for the commit that was dropped", ok, err)
	}
	ostree(t, "admin", "undeploy", "--sysroot="+h.path, "0")
	if got := h.names(t); !slices.Equal(got, []string{second.String() + ".0"}) {
		t.Errorf("got %q after undeploy", got)
	}
	if ok, err := h.repo.Has(object.Name{Checksum: third, Type: object.TypeCommit}); ok || err != nil {
		t.Errorf("got %v, %v for the commit that was undeployed", ok, err)
	}
	if report, err := h.repo.Fsck(t.Context(), repo.FsckOptions{}); err != nil {
		t.Errorf("%v: %+v", err, report)
	}
}

func TestInterop_TheSameCommitIsDeployedAgain(t *testing.T) {
	t.Parallel()
	h := newRealHost(t)
	c := h.commit(t, "one", nil)
	h.deploy(t, h.options(t, c))
	opts := h.options(t, c)
	opts.Origin = parse(t, signed)
	if d := h.deploy(t, opts).Deployment; d.Serial != 1 || d.Origin.Image != signed {
		t.Errorf("got %+v, want a second deployment with the new origin", d)
	}
	if p := plan(t, opts); p.Boot.Needed != 0 {
		t.Errorf("got %+v for a kernel that is there", p.Boot)
	}
}

func TestInterop_PinnedDeploymentsStay(t *testing.T) {
	t.Parallel()
	h := newRealHost(t)
	for _, kernel := range []string{"one", "two"} {
		h.deploy(t, h.options(t, h.commit(t, kernel, nil)))
	}
	ostree(t, "admin", "pin", "--sysroot="+h.path, "1")
	opts := h.options(t, h.commit(t, "three", nil))
	if p := plan(t, opts); len(p.Keep) != 2 || len(p.Drop) != 0 {
		t.Errorf("got %+v", p)
	}
	h.deploy(t, opts)
	if got := h.names(t); len(got) != 3 {
		t.Errorf("got %q, want the pinned one too", got)
	}
}

func TestInterop_OSTreesOwnErrorIsShown(t *testing.T) {
	t.Parallel()
	h := newRealHost(t)
	// A tree with both is refused by libostree alone.
	c := h.commit(t, "one", map[string]string{"etc/hostname": "x"})
	_, err := Deploy(t.Context(), h.options(t, c))
	if err == nil || !strings.Contains(err.Error(), "/etc and /usr/etc") || !strings.Contains(err.Error(), c.String()) {
		t.Errorf("got %v, want what ostree says", err)
	}
	if got := h.names(t); len(got) != 0 {
		t.Errorf("got %q after a failure", got)
	}
}

// mountBoot mounts a filesystem of the given size at the boot directory of a sysroot.
func mountBoot(t *testing.T, h *realHost, size string) {
	t.Helper()
	boot := filepath.Join(h.path, "boot")
	if err := unix.Mount("tmpfs", boot, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(boot, 0); err != nil {
			t.Error(err)
		}
	})
}

func TestInterop_AFullBootIsFoundBeforehand(t *testing.T) {
	t.Parallel()
	h := newRealHost(t)
	mountBoot(t, h, "8m")
	kernel := func(c string) string { return strings.Repeat(c, 3<<20) }
	for _, c := range []string{"a", "b"} {
		opts := h.options(t, h.commit(t, c, map[string]string{
			"usr/lib/modules/" + repotest.KernelVersion + "/vmlinuz": kernel(c),
		}))
		if p := plan(t, opts); p.Boot.Needed < 3<<20 || p.Boot.Needed > 4<<20 {
			t.Errorf("got %+v, want some 3 MiB", p.Boot)
		}
		h.deploy(t, opts)
	}
	before := h.names(t)
	opts := h.options(t, h.commit(t, "c", map[string]string{
		"usr/lib/modules/" + repotest.KernelVersion + "/vmlinuz": kernel("c"),
	}))
	_, err := Deploy(t.Context(), opts)
	e, ok := errors.AsType[*RoomError](err)
	if !ok || !errors.Is(err, syscall.ENOSPC) || e.Missing() <= 0 || e.Missing() > 3<<20 ||
		e.Room.Path != filepath.Join(h.path, "boot") {
		t.Fatalf("got %v, want how much is missing", err)
	}
	// Before anything is fetched the sizes are enough.
	r, err := MeasureRoom(t.Context(), opts, 3<<20, 11)
	if err != nil {
		t.Fatal(err)
	}
	if !errors.As(r.Check(), &e) {
		t.Errorf("got %+v", r)
	}
	if got := h.names(t); !slices.Equal(got, before) {
		t.Errorf("got %q, want %q", got, before)
	}
	// What the error advises helps.
	if err := h.repo.SetRef(t.Context(), "os", opts.Commit); err != nil {
		t.Fatal(err)
	}
	ostree(t, "admin", "undeploy", "--sysroot="+h.path, "1")
	h.deploy(t, opts)
}

// The estimate is not smaller than what libostree writes.
func TestInterop_WhatIsNeededInBootIsEnough(t *testing.T) {
	t.Parallel()
	h := newRealHost(t)
	mountBoot(t, h, "64m")
	used := func() int64 {
		t.Helper()
		var st unix.Statfs_t
		if err := unix.Statfs(filepath.Join(h.path, "boot"), &st); err != nil {
			t.Fatal(err)
		}
		return int64(st.Blocks-st.Bfree) * st.Bsize
	}
	opts := h.options(t, h.commit(t, "one", map[string]string{
		"usr/lib/modules/" + repotest.KernelVersion + "/vmlinuz":     strings.Repeat("k", 5<<20+1),
		"usr/lib/modules/" + repotest.KernelVersion + "/dtb/a/b.dtb": strings.Repeat("d", 5000),
	}))
	p := plan(t, opts)
	before := used()
	h.deploy(t, opts)
	if grown := used() - before; grown > p.Boot.Needed || grown < 5<<20 {
		t.Errorf("%d bytes were written, %d were thought to be needed", grown, p.Boot.Needed)
	}
}
