package repo

import (
	"context"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// ListOptions say what [List] visits.
type ListOptions struct {
	// Recursive is whether to descend into subdirectories.
	Recursive bool
	// DirectoryOnly is whether to visit a directory itself but not its content.
	DirectoryOnly bool
}

// ListEntry is a file or directory of a commit.
type ListEntry struct {
	// Path is absolute in the commit.
	Path string
	// FileInfo holds the metadata of files and directories.
	object.FileInfo
	// Checksum is the id of the file object or of the dirtree.
	Checksum object.Checksum
	// DirMeta is zero for files.
	DirMeta object.Checksum
}

// IsDir reports whether the entry is a directory.
func (e *ListEntry) IsDir() bool { return e.Mode&object.ModeTypeMask == object.ModeDir }

// Line returns the line, without its newline, that `ostree ls` prints for the entry, with -C if checksums is set and
// with -X if xattrs is.
func (e *ListEntry) Line(checksums, xattrs bool) string {
	typ := byte('-')
	switch e.Mode & object.ModeTypeMask {
	case object.ModeDir:
		typ = 'd'
	case object.ModeSymlink:
		typ = 'l'
	}
	b := fmt.Appendf(nil, "%c%05o %d %d %6d ", typ, e.Mode&object.ModePermMask, e.UID, e.GID, e.Size)
	if checksums {
		b = fmt.Appendf(b, "%s ", e.Checksum)
		if e.IsDir() {
			b = fmt.Appendf(b, "%s ", e.DirMeta)
		}
	}
	if xattrs {
		v, err := gvariant.New("a(ayay)", object.EncodeXattrs(e.Xattrs))
		if err == nil {
			b = fmt.Appendf(b, "{ %s } ", v)
		}
	}
	b = append(b, e.Path...)
	if e.Target != "" {
		b = append(append(b, " -> "...), e.Target...)
	}
	return string(b)
}

// List visits the entry at a path of a commit, and if it is a directory its content, in the order of `ostree ls`: a
// directory first, then its files and then its subdirectories, each sorted by name. If the path does not exist, the
// error wraps [fs.ErrNotExist].
func List(ctx context.Context, src Source, commit object.Checksum, path string, opts ListOptions,
	visit func(*ListEntry) error) error {
	item, err := lookupIn(ctx, src, commit, path)
	if err != nil {
		return err
	}
	l := lister{src: src, opts: opts, visit: visit}
	if !item.IsDir() {
		return l.file(ctx, item.Path, item.File)
	}
	return l.dir(ctx, item.Path, item.Tree, item.Meta, 0)
}

type lister struct {
	src   Source
	opts  ListOptions
	visit func(*ListEntry) error
}

func (l *lister) file(ctx context.Context, path string, c object.Checksum) error {
	info, err := l.src.FileInfo(ctx, c)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return l.visit(&ListEntry{Path: path, FileInfo: *info, Checksum: c})
}

func (l *lister) dir(ctx context.Context, path string, tree, meta object.Checksum, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > object.MaxTreeDepth {
		return object.ErrTooDeep
	}
	m, err := LoadDirMeta(ctx, l.src, meta)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	h := object.FileHeader{UID: m.UID, GID: m.GID, Mode: m.Mode, Xattrs: m.Xattrs}
	entry := &ListEntry{Path: path, FileInfo: object.FileInfo{FileHeader: h}, Checksum: tree, DirMeta: meta}
	if err := l.visit(entry); err != nil {
		return err
	}
	if l.opts.DirectoryOnly || depth > 0 && !l.opts.Recursive {
		return nil
	}
	d, err := LoadDirTree(ctx, l.src, tree)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, f := range d.Files {
		if err := l.file(ctx, joinTreePath(path, f.Name), f.Checksum); err != nil {
			return err
		}
	}
	for _, e := range d.Dirs {
		if err := l.dir(ctx, joinTreePath(path, e.Name), e.Tree, e.Meta, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// Log visits a commit and its ancestors, newest first. It stops at the first commit that the source lacks, and then
// reports that there is more history.
func Log(
	ctx context.Context, src Source, c object.Checksum, visit func(object.Checksum, *object.Commit) error,
) (more bool, err error) {
	for first := true; !c.IsZero(); first = false {
		commit, err := LoadCommit(ctx, src, c)
		if err != nil {
			if !first && isMissing(err) {
				return true, nil
			}
			return false, err
		}
		if err := visit(c, commit); err != nil {
			return false, err
		}
		c = commit.Parent
	}
	return false, nil
}
