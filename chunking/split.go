package chunking

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Split says which file objects of a commit go into which layer. The image also has a first layer: it holds the
// commit with its metadata objects, the directories, and the objects that are in no other layer.
type Split struct {
	Layers []Layer
	// Remainder are the file objects of the first layer. It may be nil, like the content of a layer, if there are none.
	Remainder repo.Files
	// FirstExpected is Layer.Expected for the first layer.
	FirstExpected bool
}

// Layer is one layer of a split after the first.
type Layer struct {
	// Name is the layer's name in the image's history.
	Name string
	// Packages are the names of the layer's components, for its annotation, in any order.
	Packages []string
	Content  repo.Files
	// Expected says that the prior image is expected to have this layer. It is a hint: the diff-id decides.
	Expected bool
	// Size is the approximate size of the content in bytes, for progress, or 0 if it is not known.
	Size int64
}

// ErrInvalidSplit is wrapped by errors about a split that does not hold each path of the commit exactly once.
var ErrInvalidSplit = errors.New("invalid split into layers")

// SingleLayer returns the split of an image with one layer.
func SingleLayer(content repo.Files) *Split { return &Split{Remainder: content} }

// Check reads the trees of a commit, and returns an error unless each of its files is in the split exactly once, with
// its object. An object may be in several layers with different paths. The error wraps [ErrInvalidSplit] if the split
// is wrong.
func (s *Split) Check(ctx context.Context, src repo.Source, commit object.Checksum) error {
	c := checker{split: s}
	for n := range len(s.Layers) + 1 {
		if l := c.layer(n); l != nil {
			c.size += l.Len()
		}
	}
	if err := c.sort(); err != nil {
		return err
	}
	missing := 0
	if err := repo.EachFile(ctx, src, commit, func(f repo.ObjectPath) error {
		if !c.find(f) {
			missing++
		}
		return nil
	}); err != nil {
		return err
	}
	if i := slices.Index(c.found, false); i >= 0 {
		at := c.placed[i]
		return fmt.Errorf("%w: layer %s: %s with object %s is not in the commit, or in the split twice",
			ErrInvalidSplit, c.name(int(at.layer)), c.path(at), c.object(at))
	}
	if missing > 0 {
		return fmt.Errorf("%w: %d paths of the commit are in no layer", ErrInvalidSplit, missing)
	}
	return nil
}

// checker finds files in a split.
type checker struct {
	split  *Split
	size   int
	placed []placed // sorted by object and path
	found  []bool
}

// placed is the position of a file in a split. It is small because there is one for each file.
type placed struct{ layer, index uint32 }

// layer returns the content of a layer. The first layer of the image comes after the last layer of the split.
func (c *checker) layer(n int) repo.Files {
	if n == len(c.split.Layers) {
		return c.split.Remainder
	}
	return c.split.Layers[n].Content
}

// name returns the name of a layer for errors.
func (c *checker) name(n int) string {
	if n == len(c.split.Layers) {
		return "the first"
	}
	return strconv.Quote(c.split.Layers[n].Name)
}

func (c *checker) object(at placed) object.Checksum {
	return c.layer(int(at.layer)).Checksum(int(at.index))
}
func (c *checker) path(at placed) string { return c.layer(int(at.layer)).Path(int(at.index)) }

// sort makes the sorted list of the files in all layers, and checks that each layer is in order.
func (c *checker) sort() error {
	c.placed, c.found = make([]placed, 0, c.size), make([]bool, c.size)
	for n := range len(c.split.Layers) + 1 {
		l := c.layer(n)
		if l == nil {
			continue
		}
		for i := range l.Len() {
			if i > 0 && l.Checksum(i-1).Compare(l.Checksum(i)) > 0 {
				return fmt.Errorf("%w: layer %s: the objects are not in order: %s follows %s",
					ErrInvalidSplit, c.name(n), l.Checksum(i), l.Checksum(i-1))
			}
			c.placed = append(c.placed, placed{uint32(n), uint32(i)})
		}
	}
	slices.SortFunc(c.placed, func(a, b placed) int {
		if order := c.object(a).Compare(c.object(b)); order != 0 {
			return order
		}
		return strings.Compare(c.path(a), c.path(b))
	})
	return nil
}

// find marks a file as found.
func (c *checker) find(f repo.ObjectPath) bool {
	i, ok := slices.BinarySearchFunc(c.placed, f, func(at placed, f repo.ObjectPath) int {
		if order := c.object(at).Compare(f.Checksum); order != 0 {
			return order
		}
		return strings.Compare(c.path(at), f.Path)
	})
	if ok {
		c.found[i] = true
	}
	return ok
}
