//go:build interop

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A tree that somebody took from a running container or made with debootstrap is not yet that of a commit. Each command
// says what is in the way, and what to do.
func TestInterop_WhatIsInTheWayInAnOrdinaryTreeIsTold(t *testing.T) {
	root, repo := filepath.Join(t.TempDir(), "root"), newRepo(t, "archive")
	for _, dir := range []string{"proc", "dev", "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	image := "oci:" + filepath.Join(t.TempDir(), "image")
	commit := []string{"repo", "commit", "--repo=" + repo, "--branch=os", root}
	build := []string{"container", "build", "--rootfs=" + root, image}
	commitFromTree := []string{"container", "build", "--format=ostree", "--rootfs=" + root, "--repo=" + repo, image}
	refused := func(want string, args ...string) {
		t.Helper()
		if _, said, err := try(t, program, args...); err == nil || !strings.Contains(said, want) {
			t.Errorf("%q: got %q, want an error that says %q", args, said, want)
		}
	}

	if err := unix.Mknod(filepath.Join(root, "dev/console"), unix.S_IFCHR|0o600, int(unix.Mkdev(5, 1))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/bin/sh"), []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	refused("/dev/console; 'ostree-ext container build --format=ostree --rootfs="+root+" --repo="+repo+" IMGREF'",
		commit...)
	must(t, program, build...)
	must(t, program, commitFromTree...)

	if err := unix.Mount("proc", filepath.Join(root, "proc"), "proc", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(filepath.Join(root, "proc"), unix.MNT_DETACH) }()
	if err := os.Remove(filepath.Join(root, "dev/console")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{commit, build, commitFromTree} {
		refused("/proc: a filesystem that the kernel makes, as /proc or /sys, is mounted there: unmount it first", args...)
	}
	// What the error proposes works.
	bind := filepath.Join(t.TempDir(), "bind")
	if err := os.Mkdir(bind, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(root, bind, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(bind, unix.MNT_DETACH) }()
	must(t, program, "repo", "commit", "--repo="+repo, "--branch=os", bind)
	must(t, program, "container", "build", "--rootfs="+bind, image)
}
