package overlay

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// Apply applies a layer to the tree, which keeps the entries' files. An error about the layer wraps
// [tarfmt.ErrInvalidStream]. After an error the tree must not be used.
func (t *Tree[C]) Apply(ctx context.Context, layer []Entry[C]) error {
	t.layer++
	order := order[C]{layer: layer}
	var waiting []int
	for i := range layer {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := &layer[i]
		if e.Mark == None {
			if err := t.add(e); err != nil {
				return fmt.Errorf("%.200q: %w", e.Path, err)
			}
			continue
		}
		wait, err := t.hide(e, func(p string) bool { return order.later(p, i) })
		if err != nil {
			return fmt.Errorf("whiteout of %.200q: %w", e.Path, err)
		}
		if wait {
			waiting = append(waiting, i)
		}
	}
	for _, i := range waiting {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := t.hide(&layer[i], nil); err != nil {
			return fmt.Errorf("whiteout of %.200q: %w", layer[i].Path, err)
		}
	}
	return nil
}

// order knows the last entry of a layer that replaces or hides a path.
type order[C any] struct {
	layer []Entry[C]
	last  map[string]int // made on demand, since few layers need it
}

// later reports whether an entry after the one at an index replaces or hides a path.
func (o *order[C]) later(p string, i int) bool {
	if o.last == nil {
		o.last = make(map[string]int, len(o.layer))
		for i, e := range o.layer {
			if e.Mark == None || e.Mark == Whiteout {
				o.last[e.Path] = i
			}
		}
	}
	return o.last[p] > i
}

// add applies an entry that is not a whiteout or opaque mark.
func (t *Tree[C]) add(e *Entry[C]) error {
	if e.Path == "/" {
		return t.describeRoot(e.File)
	}
	dir, name := split(e.Path)
	if _, err := t.resolve(dir, nil); err != nil {
		return err
	}
	parent, err := t.makeDirs()
	if err != nil {
		return err
	}
	if old := parent.children[name]; old != nil && old.isDir() && e.File != nil && e.File.IsDir() {
		old.file, old.layer = e.File, t.layer
		return nil
	}
	// Remove the old entry of that name first, so that a hard link to it finds nothing.
	delete(parent.children, name)
	f := e.File
	if e.Link != "" {
		if f, err = t.linked(e.Link); err != nil {
			return err
		}
	}
	t.set(parent, name, f)
	return nil
}

// makeDirs makes the missing directories at the location that was resolved last, and returns the last one. It and its
// parents now belong to the layer.
func (t *Tree[C]) makeDirs() (*node[C], error) {
	last := t.at.nodes[len(t.at.nodes)-1]
	if !last.isDir() {
		p := t.at.path(len(t.at.nodes) - 1)
		return nil, fmt.Errorf("%w: %.200q is in its path, and is not a directory", tarfmt.ErrInvalidStream, p)
	}
	for _, n := range t.at.nodes {
		n.layer = t.layer
	}
	for _, name := range t.at.names[len(t.at.nodes)-1:] {
		if err := t.grow(len(name)); err != nil {
			return nil, err
		}
		next := t.directory()
		last.children[name] = next
		last = next
	}
	return last, nil
}

// linked returns the file that a hard link names.
func (t *Tree[C]) linked(target string) (*File[C], error) {
	dir, name := split(target)
	if _, err := t.resolve(dir, nil); err != nil {
		return nil, err
	}
	if parent := t.at.dir(); parent != nil {
		if n := parent.children[name]; n != nil && !n.isDir() {
			return n.file, nil
		}
	}
	return nil, fmt.Errorf("%w: a hard link to %.200q, which is a directory or not there", tarfmt.ErrInvalidStream, target)
}

// hide applies a whiteout or opaque mark. It reports whether that has to wait, as in [Tree.resolve].
func (t *Tree[C]) hide(e *Entry[C], wait func(p string) bool) (again bool, err error) {
	switch e.Mark {
	case Whiteout:
		dir, name := split(e.Path)
		if again, err = t.resolve(dir, wait); err == nil && !again {
			if parent := t.at.dir(); parent != nil {
				t.hideName(parent, name)
			}
		}
	case Opaque:
		if again, err = t.resolve(e.Path, wait); err == nil && !again {
			if dir := t.at.dir(); dir != nil {
				t.hideIn(dir)
			}
		}
	}
	return again, err
}

// hideName removes the entries of older layers at a name in a directory.
func (t *Tree[C]) hideName(parent *node[C], name string) {
	n := parent.children[name]
	switch {
	case n == nil:
	case n.layer != t.layer:
		delete(parent.children, name)
	case n.isDir():
		t.hideIn(n)
	}
}

// hideIn removes the entries of older layers in a directory. They cannot come back, so it does the work only once for
// many marks of a large directory.
func (t *Tree[C]) hideIn(dir *node[C]) {
	if dir.pure == t.layer {
		return
	}
	dir.pure = t.layer
	for name := range dir.children {
		t.hideName(dir, name)
	}
}

const (
	// maxLinks is how many symlinks are followed for one path. Linux follows 40; programs that unpack images follow 255.
	maxLinks = 255
	// maxSteps is how many names are walked for one path, including the targets of its symlinks: four times what fits into
	// a path on Linux. Without it a few hostile entries would take seconds each.
	maxSteps = 8192
)

var errTooManySymlinks = errors.New("too many levels of symbolic links")

// location is the place that a path leads to.
type location[C any] struct {
	names   []string   // names from the root
	nodes   []*node[C] // the root and the nodes of the names, as far as they exist
	pending []string   // parts of the path and of symlink targets still to be walked, the next one last
}

// dir returns the directory at a location, or nil if there is none.
func (l *location[C]) dir() *node[C] {
	if n := l.nodes[len(l.nodes)-1]; len(l.nodes) == len(l.names)+1 && n.isDir() {
		return n
	}
	return nil
}

// path returns the path of the first n names of a location.
func (l *location[C]) path(n int) string { return "/" + strings.Join(l.names[:n], "/") }

// resolve walks a path and sets t.at to the location that it leads to. Symlinks are followed, but not out of the root.
// Below a missing entry or a file, names are not resolved and ".." removes the last one. If wait is not nil and returns
// true for a symlink of the path, the walk stops there and returns true.
func (t *Tree[C]) resolve(p string, wait func(p string) bool) (again bool, err error) {
	l := &t.at
	l.names, l.nodes, l.pending = l.names[:0], append(l.nodes[:0], t.root), append(l.pending[:0], p)
	links := 0
	for steps := 0; len(l.pending) > 0; steps++ {
		if steps > maxSteps {
			return false, fmt.Errorf("%w: %w", tarfmt.ErrInvalidStream, errTooManySymlinks)
		}
		switch name := l.next(); name {
		case "", ".":
		case "..":
			l.names = l.names[:max(len(l.names)-1, 0)]
			l.nodes = l.nodes[:min(len(l.nodes), len(l.names)+1)]
		default:
			l.names = append(l.names, name)
			if len(l.names) >= object.MaxTreeDepth {
				return false, fmt.Errorf("%w: more than %d directories deep", tarfmt.ErrInvalidStream, object.MaxTreeDepth)
			}
			at := l.nodes[len(l.nodes)-1]
			if len(l.nodes) != len(l.names) || at.children[name] == nil {
				continue
			}
			next := at.children[name]
			if !next.file.IsSymlink() {
				l.nodes = append(l.nodes, next)
				continue
			}
			if wait != nil && wait(l.path(len(l.names))) {
				return true, nil
			}
			if links++; links > maxLinks {
				return false, fmt.Errorf("%w: %w", tarfmt.ErrInvalidStream, errTooManySymlinks)
			}
			l.names = l.names[:len(l.names)-1]
			if strings.HasPrefix(next.file.Target, "/") {
				l.names, l.nodes = l.names[:0], l.nodes[:1]
			}
			l.pending = append(l.pending, next.file.Target)
		}
	}
	return false, nil
}

// next removes and returns the next pending name.
func (l *location[C]) next() string {
	last := len(l.pending) - 1
	name, rest, more := strings.Cut(l.pending[last], "/")
	if more {
		l.pending[last] = rest
	} else {
		l.pending = l.pending[:last]
	}
	return name
}

// split splits an absolute, clean path into its directory and its name.
func split(p string) (dir, name string) {
	dir, name = path.Split(p)
	return path.Clean(dir), name
}
