//go:build interop

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

func TestInterop_ARunningSystemWithAReadOnlySysrootIsUpdated(t *testing.T) {
	h := newOSTreeHost(t)
	first, second, third := bootableImage(t, "one"), bootableImage(t, "two"), bootableImage(t, "three")
	if _, err := runDeploy(t, "--sysroot="+h.root, "--imgref="+first, "--karg=root=UUID=1"); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := func(image string) string { return strings.TrimPrefix(image, "ostree-unverified-image:oci:") }
	deployments, err := filepath.Glob(filepath.Join(h.root, "ostree/deploy/default/deploy/*.0"))
	if err != nil || len(deployments) != 1 {
		t.Fatal(deployments, err)
	}
	b := repotest.Booted{
		Sysroot: h.root, Deployment: strings.TrimPrefix(deployments[0], h.root), Run: t.TempDir(), ReadOnly: true,
		Binds: []string{self + ":tmp/ostree-ext", path(second) + ":tmp/second", path(third) + ":tmp/third"},
	}
	program := func(ok bool, args ...string) string {
		t.Helper()
		out, err := b.Command(append([]string{"/tmp/ostree-ext", "container", "image"}, args...)...).CombinedOutput()
		if (err == nil) != ok {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
		return string(out)
	}
	if got := program(true, "status"); !strings.HasPrefix(got, "Booted: "+first) {
		t.Errorf("got %s", got)
	}
	const image = "ostree-unverified-image:oci:/tmp/second"
	for _, repo := range []string{"/sysroot/ostree/repo", "/ostree/repo"} {
		out := program(true, "pull", "--progress=json", repo, image)
		if !strings.Contains(out, " => ") || strings.Count(out, `"Start"`) != 1 && !strings.HasPrefix(out, "No changes in ") {
			t.Errorf("pull into %s: got %s", repo, out)
		}
	}
	program(true, "remove", "--repo=/ostree/repo", strings.TrimPrefix(image, "ostree-unverified-image:"))
	if got := program(true, "deploy", "--imgref="+image, "--quiet"); !strings.HasPrefix(got, "Staged: "+image+" => ") {
		t.Errorf("got %s", got)
	}
	if got := program(true, "status"); !strings.HasPrefix(got, "Staged: "+image) || !strings.Contains(got, "\nBooted: ") {
		t.Errorf("got %s", got)
	}
	// Another update does not drop it, but can be fetched.
	other := []string{"deploy", "--imgref=ostree-unverified-image:oci:/tmp/third"}
	if got := program(false, other...); !strings.Contains(got, image+" (") || !strings.Contains(got, "--replace-staged") {
		t.Errorf("got %s", got)
	}
	program(true, append(other, "--download-only")...)
	if got := program(true, append(other, "--replace-staged")...); !strings.Contains(got, "Staged: ") {
		t.Errorf("got %s", got)
	}
	b.ReadOnly = false // finalizing is not ours
	if out, err := b.Command("ostree", "admin", "finalize-staged").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := program(true, "status"); !strings.HasPrefix(got, "Pending: ostree-unverified-image:oci:/tmp/third\n") ||
		!strings.Contains(got, "\nBooted: "+first) || strings.Contains(got, image) {
		t.Errorf("got %s", got)
	}
	entry, err := os.ReadFile(filepath.Join(h.root, "boot/loader/entries/ostree-2-default.conf"))
	if err != nil || !strings.Contains(string(entry), "options root=UUID=1 ostree=") {
		t.Errorf("got %s and %v, want the kernel arguments of the running system", entry, err)
	}
}

func TestInterop_AnUpdateGoesOnFromWhatIsBootedNext(t *testing.T) {
	h := newOSTreeHost(t)
	versions := []string{bootableImage(t, "one"), bootableImage(t, "two"), bootableImage(t, "three")}
	path := func(image string) string { return strings.TrimPrefix(image, "ostree-unverified-image:oci:") }
	const image = "ostree-unverified-image:oci:/tmp/os"
	if _, err := runDeploy(t, "--sysroot="+h.root, "--imgref="+versions[0], "--target-imgref="+image,
		"--karg=root=UUID=1"); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	deployments, err := filepath.Glob(filepath.Join(h.root, "ostree/deploy/default/deploy/*.0"))
	if err != nil || len(deployments) != 1 {
		t.Fatal(deployments, err)
	}
	b := repotest.Booted{
		Sysroot: h.root, Deployment: strings.TrimPrefix(deployments[0], h.root), Run: t.TempDir(), ReadOnly: true,
	}
	update := func(version string, args ...string) string {
		t.Helper()
		b.Binds = []string{self + ":tmp/ostree-ext", path(version) + ":tmp/os"}
		args = append([]string{"/tmp/ostree-ext", "container", "image", "deploy", "--update", "--quiet"}, args...)
		out, err := b.Command(args...).CombinedOutput()
		if err != nil {
			return err.Error() + ": " + string(out)
		}
		return string(out)
	}
	for _, c := range []struct{ version, args, says string }{
		{versions[0], "--dry-run", "No update: " + image + " => "},
		{versions[0], "", "No update: " + image + " => "},
		{versions[1], "--dry-run", "Would deploy " + image + "\n"},
		{versions[1], "", "Staged: " + image + " => "},
		{versions[1], "", "No update: " + image + " => "},
		// It replaces the one that was not booted yet.
		{versions[2], "--max-bytes=10", "exit status 1: error: "},
		{versions[2], "", "Staged: " + image + " => "},
		{versions[2], "", "No update: " + image + " => "},
	} {
		if got := update(c.version, strings.Fields(c.args)...); !strings.HasPrefix(got, c.says) {
			t.Errorf("update --update %s: got %q, want %q", c.args, got, c.says)
		}
	}
	out, err := b.Command("/tmp/ostree-ext", "container", "image", "status").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "Staged: "+image+"\n  Version:   thr") ||
		strings.Count(string(out), ": "+image) != 2 {
		t.Errorf("got %s and %v", out, err)
	}
	// An administrator who holds the next deployment back is not overruled.
	lock := filepath.Join(b.Run, "ostree/staged-deployment-locked")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := update(versions[2]); !strings.HasPrefix(got, "No update: ") {
		t.Errorf("got %q", got)
	}
	if got := update(versions[1]); !strings.Contains(got, "is held back from it") {
		t.Errorf("got %q", got)
	}
	if got := update(versions[1], "--replace-staged"); !strings.HasPrefix(got, "Staged: ") {
		t.Errorf("got %q", got)
	}
}
