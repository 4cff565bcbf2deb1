// Package treetest makes root filesystems in memory for tests.
package treetest

import (
	"context"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// File is an entry of a tree.
type File struct {
	// Content is the content of a regular file. If Size is larger, zeros follow up to that length.
	Content string
	Size    int64
	// Target makes the entry a symlink, LinkTo a hard link to the file at that path, Dir a directory.
	Target, LinkTo string
	Dir            bool
	// Mode has the permissions. Zero means 0644, and 0755 for directories.
	Mode uint32
	// Xattrs are the extended attributes by name.
	Xattrs map[string]string
	// Err is the error of opening the file.
	Err error
}

// Text returns a regular file.
func Text(content string) File { return File{Content: content} }

// Symlink returns a symbolic link.
func Symlink(target string) File { return File{Target: target} }

// HardLink returns another name of a regular file.
func HardLink(name string) File { return File{LinkTo: name} }

// Empty returns regular files without content.
func Empty(paths ...string) Files {
	f := Files{}
	for _, p := range paths {
		f[p] = File{}
	}
	return f
}

// Files are the files of a tree by their absolute paths. Missing parent directories are added.
type Files map[string]File

// And returns the union of both.
func (f Files) And(more Files) Files {
	all := maps.Clone(f)
	maps.Copy(all, more)
	return all
}

// Tree is a tree in memory.
type Tree struct {
	entries *rootfs.List
	files   []File
}

// New returns a tree with the given files.
func New(files Files) *Tree {
	all := maps.Clone(files)
	all["/"] = File{Dir: true}
	for p := range files {
		for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
			if _, ok := all[dir]; ok {
				break // its parents are there, or will be
			}
			all[dir] = File{Dir: true}
		}
	}
	t := &Tree{}
	b := rootfs.NewBuilder(len(all))
	var names []string // the targets of hard links
	for _, p := range slices.Sorted(maps.Keys(all)) {
		f := all[p]
		first := p
		if f.LinkTo != "" {
			first, f = f.LinkTo, all[f.LinkTo]
		}
		e := rootfs.Entry{FileHeader: &object.FileHeader{Mode: f.Mode, Target: f.Target}}
		e.Dir, e.Name = rootfs.Split(p)
		switch {
		case f.Dir:
			e.Mode = object.ModeDir | max(f.Mode, 0o755)
		case f.Target != "":
			e.Mode = object.ModeSymlink | 0o777
		default:
			e.Mode = object.ModeRegular | max(f.Mode, 0o644)
			e.Size = max(f.Size, int64(len(f.Content)))
		}
		var xattrs []object.Xattr
		for name, value := range f.Xattrs {
			xattrs = append(xattrs, object.Xattr{Name: name, Value: []byte(value)})
		}
		e.Xattrs = object.NewXattrs(xattrs)
		if err := b.Add(e); err != nil {
			panic(err)
		}
		names, t.files = append(names, first), append(t.files, f)
	}
	t.entries, _ = b.List(func(a, b int) int { return strings.Compare(names[a], names[b]) })
	return t
}

// Index returns the index of a new tree with the given files.
func Index(files Files) *rootfs.Index { return rootfs.NewIndex(New(files)) }

// Entries implements [rootfs.Tree].
func (t *Tree) Entries() *rootfs.List { return t.entries }

// Open implements [rootfs.Tree].
func (t *Tree) Open(_ context.Context, i int) (io.ReadCloser, error) {
	f := t.files[i]
	if f.Err != nil {
		return nil, f.Err
	}
	zeros := io.LimitReader(zeroReader{}, t.entries.At(i).Size-int64(len(f.Content)))
	return io.NopCloser(io.MultiReader(strings.NewReader(f.Content), zeros)), nil
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Archive returns the files in a txtar archive. Names are absolute paths. The name of a symlink is followed by a tab
// and the target, that of a hard link by a tab, an equals sign and the other path.
func Archive(t testing.TB, name string) Files {
	t.Helper()
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	files := Files{}
	for _, f := range archive.Files {
		name, target, isLink := strings.Cut(f.Name, "\t")
		other, isHardLink := strings.CutPrefix(target, "=")
		switch {
		case isHardLink:
			files[name] = HardLink(other)
		case isLink:
			files[name] = Symlink(target)
		default:
			files[name] = Text(string(f.Data))
		}
	}
	return files
}
