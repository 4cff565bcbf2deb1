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

// Apply puts a layer onto the tree, which keeps its files. An error about the layer wraps [tarfmt.ErrInvalidStream].
// After an error the tree is of no use.
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

// order says what a layer does with a path after a place in its archive.
type order[C any] struct {
	layer []Entry[C]
	last  map[string]int // made when it is asked for, which few layers need
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

// add applies an entry that is not a mark.
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
	// What had the name goes first, so that a hard link to it finds nothing.
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

// makeDirs makes what is missing at the place that was resolved last, and returns the directory there. It and all
// above it are the layer's from now on.
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

// hide applies a mark. It reports whether the mark has to wait, as in [Tree.resolve].
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

// hideName removes what older layers have under a name of a directory.
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

// hideIn removes what older layers have in a directory. Once that is done nothing of them can come back, so that many
// marks of a large directory cost no more than one.
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
	// maxLinks is how many symlinks a path may lead through. Linux takes 40, programs that unpack images 255.
	maxLinks = 255
	// maxSteps is how many names a path may have with the targets of its symlinks: four times what fits into a path of
	// Linux. Without it a few hostile entries would take seconds each.
	maxSteps = 8192
)

var errTooManySymlinks = errors.New("too many levels of symbolic links")

// location is where a path leads.
type location[C any] struct {
	names   []string   // from the root
	nodes   []*node[C] // the root, and of the names those that are there
	pending []string   // parts of the path and of symlinks that are still to walk, the next one last
}

// dir returns the directory at a location, or nil.
func (l *location[C]) dir() *node[C] {
	if n := l.nodes[len(l.nodes)-1]; len(l.nodes) == len(l.names)+1 && n.isDir() {
		return n
	}
	return nil
}

// path returns the path of the first names of a location.
func (l *location[C]) path(n int) string { return "/" + strings.Join(l.names[:n], "/") }

// resolve walks a path and sets t.at to where it leads. Symlinks are followed, and lead no higher than the root.
// Below what is missing or is a file, names are names: ".." takes back the last. If the path comes to a symlink for
// which wait, which may be nil, returns true, the walk ends there and returns true.
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

// next takes the next name from what is pending.
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

// split splits an absolute, clean path into that of its directory and its name.
func split(p string) (dir, name string) {
	dir, name = path.Split(p)
	return path.Clean(dir), name
}
