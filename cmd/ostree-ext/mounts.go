package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// inOwnMounts is the environment variable that marks a program that has started itself again.
const inOwnMounts = "_OSTREE_EXT_OWN_MOUNTS"

// ensureWritable makes the repository of a sysroot writable if it is that of the running system and /sysroot is mounted
// read-only, as hosts may have it. Like ostree, it does so for this program alone: it starts the program again, in a
// mount namespace of its own. In other cases it does nothing, and writing fails by itself.
func ensureWritable(sysroot string) error {
	const mount = "/sysroot"
	repo := filepath.Join(sysroot, "ostree/repo")
	if !readOnly(repo) || !sameFile(repo, mount+"/ostree/repo") || os.Getuid() != 0 {
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
	if err == nil && readOnly(repo) {
		// It is the filesystem that is read-only, and not only this mount.
		err = unix.Mount("", mount, "", unix.MS_REMOUNT|unix.MS_SILENT, "")
	}
	if err == nil {
		err = unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), inOwnMounts+"=1"))
	}
	return fmt.Errorf("making %s writable for this program: %w", mount, err)
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
