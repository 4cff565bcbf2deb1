// Package rootfs reads root filesystems as a [List] of paths: from a directory on disk, from a commit, or from another
// implementation of [Tree]. It can make a commit of such a tree in place: files are hashed where they are and objects
// are read from them, so that nothing is stored twice.
//
// Components are detected in a [Tree], and images of plain root filesystems are written from one. A [Source] is the
// [repo.Source] of a tree's commit: other packages read it like a repository.
package rootfs

import (
	"context"
	"io"
)

// Tree is an immutable root filesystem. Implementations are safe for concurrent use.
type Tree interface {
	// Entries returns all entries. The parent of every entry is listed and is a directory.
	Entries() *List
	// Open returns the content of the regular file at an index of Entries. Read returns an error if the content is not
	// exactly Size bytes long.
	Open(ctx context.Context, index int) (io.ReadCloser, error)
}
