// Package overlay applies the layers of ordinary images to a tree of files, one after the other, as container runtimes
// unpack them. It has only the algorithm: package plain reads the archives, and the content of a file is a handle that
// this package does not interpret.
//
// The rules are those of programs that unpack an image into one directory, umoci in particular:
//
//   - Entries are applied in the order of the archive. A path goes where the symlinks of the tree lead at that moment,
//     never out of the root. Directories that are missing are made, with mode 0755, and belong to root.
//   - A directory onto a directory changes its owner, mode and xattrs alone. Everything else takes the place of what
//     had the name, with all that was below it.
//   - A hard link is another name of what its target is at that moment. One to itself, to a directory or to nothing is
//     an error.
//   - A whiteout hides what older layers have under a name, and an opaque mark what they have in a directory. Neither
//     ever hides what its own layer has brought before or brings after it. Of a directory that both have, what the
//     layer brought stays.
//   - Where a symlink in the path of a whiteout or mark is replaced or hidden later in the same layer, the whiteout is
//     applied after all entries: it was meant for the directory that its layer brings.
//
// Other programs differ. The last rule is not umoci's, which follows the old symlink and deletes files elsewhere.
// Drivers that keep layers apart (overlayfs below containerd, Docker and Podman) do not see symlinks of older layers
// while they unpack: a file below such a symlink creates a directory in its place, and a hard link to a file of an
// older layer fails. The kernel gives a directory made in a setgid directory the group and the setgid bit of that; here
// it belongs to root like all others.
package overlay

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// File is a file, directory, symlink or special file without its names. Hard links share one File. C is the type of the
// caller's handle of the content.
type File[C any] struct {
	object.FileHeader
	// Size is the length of a regular file's content in bytes.
	Size int64
	// Device is the device number of a block or character device, as Linux composes it.
	Device uint64
	// Content is the caller's handle of the content.
	Content C
}

// IsDir reports whether a file is a directory.
func (f *File[C]) IsDir() bool { return f.Mode&object.ModeTypeMask == object.ModeDir }

// Mark says whether an entry is a file or hides others.
type Mark uint8

const (
	// None marks a file, directory, symlink, special file or hard link.
	None Mark = iota
	// Whiteout hides the entry of older layers at the path.
	Whiteout
	// Opaque hides the entries of older layers in the directory at the path.
	Opaque
	// Reserved marks other names that begin like those of whiteouts. Storage drivers use them internally. Such entries are
	// ignored. (In umoci, ".wh." alone hides the directory that it is in.)
	Reserved
)

// Entry is one entry of a layer.
type Entry[C any] struct {
	Mark Mark
	// Path is absolute and clean. For a whiteout or opaque mark it is the path that is hidden.
	Path string
	// Link is the absolute, clean path of a hard link's target. It is empty for other entries.
	Link string
	// File is nil for hard links and marks.
	File *File[C]
}

// Tree is a tree that layers are applied to.
type Tree[C any] struct {
	root  *node[C]
	layer int // number of the layer that is being applied; 0 is the base
	grow  func(bytes int) error
	at    location[C] // where the last path led, kept to reuse its memory
}

// node is a name in the tree. A directory has only one.
type node[C any] struct {
	file     *File[C]
	children map[string]*node[C] // of a directory
	layer    int                 // last layer with an entry for it or below it
	pure     int                 // layer that hides the entries of older ones in the directory
}

func (n *node[C]) isDir() bool { return n.children != nil }

// New returns a tree to apply layers to. base, if not nil, yields its initial content: files with absolute, clean
// paths, each after its directory. A file that is yielded several times has several names. If base has no root, the
// root is an empty directory of mode 0755. grow, if not nil, is called before the tree takes more memory for a layer's
// entry than the entry itself, with the number of bytes; its error ends the work.
func New[C any](base iter.Seq2[string, *File[C]], grow func(bytes int) error) (*Tree[C], error) {
	if grow == nil {
		grow = func(int) error { return nil }
	}
	t := &Tree[C]{grow: grow}
	t.root = t.directory()
	if base == nil {
		return t, nil
	}
	for p, f := range base {
		if err := t.put(p, f); err != nil {
			return nil, fmt.Errorf("%.200q: %w", p, err)
		}
	}
	return t, nil
}

// put adds a file of the base.
func (t *Tree[C]) put(p string, f *File[C]) error {
	if p == "/" {
		return t.describeRoot(f)
	}
	dir, name := split(p)
	// Symlinks are not followed: like a file, a symlink is not a directory.
	if again, err := t.resolve(dir, func(string) bool { return true }); err != nil {
		return err
	} else if again || t.at.dir() == nil {
		return fmt.Errorf("%w: its directory does not come before it", tarfmt.ErrInvalidStream)
	}
	t.set(t.at.dir(), name, f)
	return nil
}

// directory returns an empty directory that the layer implies without an entry.
func (t *Tree[C]) directory() *node[C] {
	f := &File[C]{FileHeader: object.FileHeader{Mode: object.ModeDir | 0o755}}
	return &node[C]{file: f, children: map[string]*node[C]{}, layer: t.layer, pure: t.layer}
}

// set sets the entry of a directory with the given name to a file.
func (t *Tree[C]) set(parent *node[C], name string, f *File[C]) {
	n := &node[C]{file: f, layer: t.layer}
	if f.IsDir() {
		n.children, n.pure = map[string]*node[C]{}, t.layer
	}
	parent.children[name] = n
}

func (t *Tree[C]) describeRoot(f *File[C]) error {
	if f == nil || !f.IsDir() {
		return fmt.Errorf("%w: the root is not a directory", tarfmt.ErrInvalidStream)
	}
	t.root.file = f
	return nil
}

// Walk calls visit for each path of the tree: a directory before its content, and the names in a directory in order.
// The root has the directory "/" and the name "". An error of visit ends the walk and is returned, but [fs.SkipDir]
// skips everything below the path. Hard links have the same *File.
func (t *Tree[C]) Walk(visit func(dir, name string, f *File[C]) error) error {
	return walk(t.root, "/", "", visit)
}

func walk[C any](n *node[C], dir, name string, visit func(dir, name string, f *File[C]) error) error {
	if err := visit(dir, name, n.file); err != nil {
		if errors.Is(err, fs.SkipDir) {
			return nil
		}
		return err
	}
	if len(n.children) == 0 {
		return nil
	}
	p := join(dir, name)
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		if err := walk(n.children[name], p, name, visit); err != nil {
			return err
		}
	}
	return nil
}

func join(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}
