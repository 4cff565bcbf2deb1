//go:build interop

package buildroot_test

import (
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/container/buildroot"
)

func TestMountsStay(t *testing.T) {
	root := makeRoot(t, "d tmp/fs", "f tmp/gone", "d tmp/up/bound", "f tmp/file", "f run/x", "d run/inner",
		"f usr/data/keep", "f usr/file", "f var/cache/x")
	mount := func(source, target, fstype string, flags uintptr) {
		t.Helper()
		target = filepath.Join(root, target)
		if err := unix.Mount(source, target, fstype, flags, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	mount("tmpfs", "tmp/fs", "tmpfs", 0)
	mount(filepath.Join(root, "usr/data"), "tmp/up/bound", "", unix.MS_BIND)
	mount(filepath.Join(root, "usr/file"), "tmp/file", "", unix.MS_BIND)
	mount(filepath.Join(root, "run"), "run", "", unix.MS_BIND)
	if err := unix.Mkdir(filepath.Join(root, "tmp/fs/keep"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := buildroot.Clean(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"run", "run/inner", "run/x", "tmp", "tmp/file", "tmp/fs", "tmp/fs/keep", "tmp/up", "tmp/up/bound",
		"tmp/up/bound/keep", "usr", "usr/data", "usr/data/keep", "usr/file", "var", "var/cache",
	}
	if got := list(t, root); !slices.Equal(got, want) {
		t.Errorf("left: %q, want %q", got, want)
	}
}
