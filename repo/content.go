package repo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Files lists file objects with their paths in a commit, sorted by checksum. [Content] implements it; other
// implementations may compute the paths on demand. Implementations are safe for concurrent use.
type Files interface {
	// Len is the number of paths.
	Len() int
	// Checksum returns the file object of path i.
	Checksum(i int) object.Checksum
	// Path returns path i, absolute in the commit ("/usr/bin/bash"). The paths of one object are in the order of a walk:
	// the files of a directory before its subdirectories, each in stored order.
	Path(i int) string
}

// ObjectPath is a path in a commit and its file object.
type ObjectPath struct {
	Checksum object.Checksum
	Path     string
}

// Content is a list of [Files] in memory.
type Content []ObjectPath

var _ Files = Content(nil)

// Len implements [Files].
func (c Content) Len() int { return len(c) }

// Checksum implements [Files].
func (c Content) Checksum(i int) object.Checksum { return c[i].Checksum }

// Path implements [Files].
func (c Content) Path(i int) string { return c[i].Path }

// CommitContent returns every file of a commit.
func CommitContent(ctx context.Context, src Source, commit object.Checksum) (Content, error) {
	// Count first: a tree may have a million files, and growing a list holds it in memory twice.
	n := 0
	if err := eachDirectory(ctx, src, commit, func(_ string, list []object.FileEntry) error {
		n += len(list)
		return nil
	}); err != nil {
		return nil, err
	}
	content := make(Content, 0, n)
	if err := eachDirectory(ctx, src, commit, func(dir string, list []object.FileEntry) error {
		paths := joinAll(dir, list)
		for i, f := range list {
			content = append(content, ObjectPath{f.Checksum, paths[i]})
		}
		return nil
	}); err != nil {
		return nil, err
	}
	slices.SortStableFunc(content, func(a, b ObjectPath) int { return a.Checksum.Compare(b.Checksum) })
	return content, nil
}

// EachFile calls f for every file of a commit in the order of a walk. It stops at the first error of f and returns it.
func EachFile(ctx context.Context, src Source, commit object.Checksum, f func(ObjectPath) error) error {
	return eachDirectory(ctx, src, commit, func(dir string, list []object.FileEntry) error {
		paths := joinAll(dir, list)
		for i, file := range list {
			if err := f(ObjectPath{file.Checksum, paths[i]}); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachDirectory calls f for every directory of a commit that has files.
func eachDirectory(
	ctx context.Context, src Source, commit object.Checksum, f func(dir string, list []object.FileEntry) error,
) error {
	c, err := LoadCommit(ctx, src, commit)
	if err != nil {
		return err
	}
	err = WalkTree(ctx, src, c.Tree, TreeVisitor{Tree: func(d *TreeDir) error {
		if len(d.Files) == 0 {
			return nil
		}
		return f(d.Path, d.Files)
	}})
	if err != nil {
		return fmt.Errorf("commit %s: %w", commit, err)
	}
	return nil
}

// joinAll returns the paths of a directory's files. The strings share one piece of memory.
func joinAll(dir string, files []object.FileEntry) []string {
	if dir != "/" {
		dir += "/"
	}
	size := 0
	for _, f := range files {
		size += len(dir) + len(f.Name)
	}
	var all strings.Builder
	all.Grow(size)
	for _, f := range files {
		all.WriteString(dir)
		all.WriteString(f.Name)
	}
	text, paths := all.String(), make([]string, len(files))
	for i, f := range files {
		n := len(dir) + len(f.Name)
		paths[i], text = text[:n], text[n:]
	}
	return paths
}
