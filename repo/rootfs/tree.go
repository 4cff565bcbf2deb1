// Package rootfs reads root filesystems as lists of paths: from a directory on disk, from a commit, or from whatever
// else implements [Tree]. It can make a commit of such a tree where it lies: its files are hashed in place and its
// objects are read from it, so that nothing is stored twice.
//
// A [Tree] is what components are found in and what images of plain root filesystems are written from; a [Source] is
// the [repo.Source] of a tree's commit, from which everything above reads as from a repository.
package rootfs

import (
	"context"
	"io"
	"time"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

// Entry is one path of a tree.
type Entry struct {
	// Path is absolute and clean; that of the root is "/".
	Path string
	// FileHeader has owner, type, permissions, symlink target and xattrs, also of directories and special files.
	repo.FileHeader
	// Size is the length of a regular file's content in bytes, and 0 for everything else.
	Size int64
	// ModTime is zero where the tree has none, as in commits.
	ModTime time.Time
	// Link is the index of the first entry that is the same file under another name (a hard link, or the same object of
	// a commit), or the entry's own.
	Link int
	// Device is the device number of a block or character device.
	Device uint64
	// Object is the file object's checksum, if the tree knows it, else zero.
	Object repo.Checksum
}

// IsDir reports whether the entry is a directory.
func (e *Entry) IsDir() bool { return e.Mode&repo.ModeTypeMask == repo.ModeDir }

// IsRegular reports whether the entry is a regular file.
func (e *Entry) IsRegular() bool { return e.Mode&repo.ModeTypeMask == repo.ModeRegular }

// Tree is a root filesystem that does not change. Implementations are safe for concurrent use.
type Tree interface {
	// Entries lists everything, sorted by path bytewise, so that the root is first and each directory stands before what
	// is in it. Every entry's parent is there and is a directory. The caller must not change the list.
	Entries() []Entry
	// Open returns the content of the regular file at an index of Entries. It has exactly Size bytes; a shorter or longer
	// one is an error of Read.
	Open(ctx context.Context, index int) (io.ReadCloser, error)
}
