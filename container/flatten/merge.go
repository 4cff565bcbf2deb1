package flatten

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Names that mean something in layers.
const (
	whiteoutPrefix = ".wh."
	opaque         = ".wh..wh..opq"
)

// isMark reports whether a path is a whiteout, or lies in a directory named like one, which storage drivers make for
// themselves.
func isMark(p string) bool { return strings.Contains(p, "/"+whiteoutPrefix) }

// node is a path of the merged tree.
type node struct {
	file     *file
	children map[string]*node // of a directory
	layer    int              // that wrote it last
}

// file is what hard links share.
type file struct {
	header object.FileHeader
	size   int64
	device uint64
	place  place
	number int // in the list
}

func (n *node) isDir() bool { return n.children != nil }

// merge applies layers one after the other.
type merge struct {
	root   *node
	layer  int
	budget *budget
}

func newMerge(b *budget) *merge { return &merge{root: directory(0), budget: b} }

// directory is one that no layer described.
func directory(layer int) *node {
	return &node{file: &file{header: object.FileHeader{Mode: object.ModeDir | 0o755}}, children: map[string]*node{}, layer: layer}
}

// apply puts a layer over those before it. Whiteouts hide what lower layers have, wherever they stand in the archive.
func (m *merge) apply(list []layerEntry) error {
	m.layer++
	for i := range list {
		if err := m.whiteout(&list[i]); err != nil {
			return err
		}
	}
	for i := range list {
		e := &list[i]
		if isMark(e.path) {
			continue
		}
		if err := m.add(e); err != nil {
			return fmt.Errorf("%s: %w", e.path, err)
		}
	}
	return nil
}

func (m *merge) whiteout(e *layerEntry) error {
	dir, base := path.Split(e.path)
	if !strings.HasPrefix(base, whiteoutPrefix) {
		return nil
	}
	parent, err := m.walk(dir, false)
	if err != nil || parent == nil || !parent.isDir() {
		return err
	}
	name := strings.TrimPrefix(base, whiteoutPrefix)
	switch {
	case base == opaque:
		clear(parent.children)
	case name == "" || name == "." || name == ".." || strings.HasPrefix(name, whiteoutPrefix):
		// Marks of storage drivers hide nothing.
	default:
		delete(parent.children, name)
	}
	return nil
}

var errTooManySymlinks = errors.New("too many levels of symbolic links")

// walk returns the directory at a path, following symlinks inside the tree, and makes missing ones if asked to. What is not
// there is nil.
func (m *merge) walk(p string, make bool) (*node, error) {
	stack, rest, links := []*node{m.root}, strings.Trim(p, "/"), 0
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		at := stack[len(stack)-1]
		switch name {
		case "", ".":
			continue
		case "..":
			stack = stack[:max(len(stack)-1, 1)]
			continue
		}
		next := at.children[name]
		switch {
		case next == nil && !make:
			return nil, nil
		case next == nil:
			if err := m.budget.entry(len(name)); err != nil {
				return nil, err
			}
			next = directory(m.layer)
			at.children[name] = next
		case next.file.header.IsSymlink():
			if links++; links > 40 {
				return nil, fmt.Errorf("%w: %w", ErrInvalidLayer, errTooManySymlinks)
			}
			target := next.file.header.Target
			if strings.HasPrefix(target, "/") {
				stack = stack[:1]
			}
			rest = strings.Trim(target+"/"+rest, "/")
			continue
		case !next.isDir():
			if !make {
				return nil, nil
			}
			return nil, fmt.Errorf("%w: %s is in its path and no directory", ErrInvalidLayer, name)
		}
		stack = append(stack, next)
		if len(stack) > object.MaxTreeDepth {
			return nil, fmt.Errorf("%w: more than %d directories deep", ErrInvalidLayer, object.MaxTreeDepth)
		}
	}
	return stack[len(stack)-1], nil
}

// add puts one entry into the tree.
func (m *merge) add(e *layerEntry) error {
	f := &file{header: e.header, place: e.place, size: e.size, device: e.device}
	if e.path == "/" {
		if e.typ != tar.TypeDir {
			return fmt.Errorf("%w: the root is no directory", ErrInvalidLayer)
		}
		m.root.file = f
		return nil
	}
	dir, name := path.Split(e.path)
	parent, err := m.walk(dir, true)
	if err != nil {
		return err
	}
	old := parent.children[name]
	n := &node{file: f, layer: m.layer}
	switch e.typ {
	case tar.TypeDir:
		n.children = map[string]*node{}
		if old != nil && old.isDir() {
			n.children = old.children
		}
	case tar.TypeLink:
		if n.file, err = m.linked(e.link); err != nil {
			return err
		}
	}
	parent.children[name] = n
	return nil
}

// linked returns the file that a hard link names.
func (m *merge) linked(target string) (*file, error) {
	dir, name := path.Split(target)
	parent, err := m.walk(dir, false)
	if err != nil {
		return nil, err
	}
	if parent == nil || parent.children[name] == nil || parent.children[name].isDir() {
		return nil, fmt.Errorf("%w: a link to %.200q, which is no file", ErrInvalidLayer, target)
	}
	return parent.children[name].file, nil
}

// repository is where images of commits keep the objects; their files are links to those.
const repository = "/sysroot/ostree"

// list returns the entries of the tree, and where their contents are. The repository of a commit's image is left out.
func (m *merge) list() (*rootfs.List, []place, error) {
	b := rootfs.NewBuilder(0)
	var files []*file
	var walk func(dir, name string, n *node) error
	walk = func(dir, name string, n *node) error {
		f := n.file
		if f.number == 0 {
			f.number = len(files) + 1
		}
		files = append(files, f)
		e := rootfs.Entry{Dir: dir, Name: name, FileHeader: &f.header, Size: f.size, Device: f.device}
		if err := b.Add(e); err != nil {
			return fmt.Errorf("%s: %w", e.Path(), err)
		}
		p := e.Path()
		for _, name := range slices.Sorted(maps.Keys(n.children)) {
			if path.Join(p, name) == repository {
				continue
			}
			if err := walk(p, name, n.children[name]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk("/", "", m.root); err != nil {
		return nil, nil, err
	}
	list, order := b.List(func(a, b int) int { return cmp.Compare(files[a].number, files[b].number) })
	places := make([]place, len(order))
	for i, o := range order {
		places[i] = files[o].place
	}
	return list, places, nil
}
