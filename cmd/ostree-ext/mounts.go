package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

// inOwnMounts is the environment variable that marks a program that has started itself again.
const inOwnMounts = "_OSTREE_EXT_OWN_MOUNTS"

// ensureWritable makes the repository of a sysroot writable if it is that of the running system and /sysroot is mounted
// read-only, as hosts may have it. Like ostree, it does so for this program alone: it starts the program again, in a
// mount namespace of its own. In other cases it does nothing, and writing fails by itself.
func ensureWritable(sysroot string) error {
	const mount = "/sysroot"
	path := filepath.Join(sysroot, "ostree/repo")
	if !readOnly(path) || !sameFile(path, mount+"/ostree/repo") || os.Getuid() != 0 {
		return nil
	}
	if os.Getenv(inOwnMounts) != "" {
		return fmt.Errorf("%s is mounted read-only and cannot be made writable for this program", mount)
	}
	// The namespace is the thread's, and exec gives it to the whole program.
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
	}
	if err == nil {
		err = unix.Mount("", mount, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_SILENT, "")
	}
	if err == nil && readOnly(path) {
		// It is the filesystem that is read-only, and not only this mount.
		err = unix.Mount("", mount, "", unix.MS_REMOUNT|unix.MS_SILENT, "")
	}
	if err == nil {
		err = unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), inOwnMounts+"=1"))
	}
	return fmt.Errorf("making %s writable for this program: %w", mount, err)
}

// ensureWritableRepo does that for a repository.
func ensureWritableRepo(path string) error {
	// A host has it in ostree/repo.
	return ensureWritable(filepath.Dir(filepath.Dir(filepath.Clean(path))))
}

// withWritableRepo is like [withRepo], and makes the repository of the running system writable for this program.
func withWritableRepo(flag string, f func(*repo.Repo) error) error {
	path, err := repoPath(flag)
	if err != nil {
		return err
	}
	if err := ensureWritableRepo(path); err != nil {
		return err
	}
	return withRepo(flag, f)
}

// readOnly reports whether a path is on a mount that is read-only.
func readOnly(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Flags&unix.ST_RDONLY != 0
}

func sameFile(a, b string) bool {
	ia, err := os.Stat(a)
	if err != nil {
		return false
	}
	ib, err := os.Stat(b)
	return err == nil && os.SameFile(ia, ib)
}
