// Package rootfs reads root filesystems as a [List] of paths: from a directory on disk, from a commit, or from whatever
// else implements [Tree]. It can make a commit of such a tree where it lies: its files are hashed in place and its
// objects are read from it, so that nothing is stored twice.
//
// A [Tree] is what components are found in and what images of plain root filesystems are written from; a [Source] is
// the [repo.Source] of a tree's commit, from which everything above reads as from a repository.
package rootfs

import (
	"context"
	"io"
)

// Tree is a root filesystem that does not change. Implementations are safe for concurrent use.
type Tree interface {
	// Entries lists everything. Every entry's parent is there and is a directory.
	Entries() *List
	// Open returns the content of the regular file at an index of Entries. It has exactly Size bytes; a shorter or longer
	// one is an error of Read.
	Open(ctx context.Context, index int) (io.ReadCloser, error)
}
