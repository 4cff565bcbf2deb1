package repo

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ErrMounted is wrapped by the error about a directory of a tree where a filesystem of the kernel's is mounted.
var ErrMounted = errors.New("a filesystem that the kernel makes, as /proc or /sys, is mounted there: " +
	"unmount it first, or name a place where the tree is mounted without it (mount --bind TREE PLACE)")

// KernelMade reports whether an open directory is on a filesystem whose files exist only while they are read.
func KernelMade(fd int) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return false
	}
	switch int64(st.Type) { //nolint:unconvert // it has another type on other architectures
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEBUGFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC,
		unix.DEVPTS_SUPER_MAGIC, unix.SECURITYFS_MAGIC, unix.TRACEFS_MAGIC, unix.BPF_FS_MAGIC:
		return true
	}
	return false
}
