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

// Plan says which file objects of a commit go into which layer. The image has one more layer, its first: the commit with
// its metadata objects and directories, and the objects that no other layer has.
type Plan struct {
	Layers []Layer
	// Remainder are the objects of the first layer. Like the content of layers, it may be nil: then there are none.
	Remainder repo.Files
	// FirstExpected says of the first layer what Expected says of the others.
	FirstExpected bool
}

// Layer is one planned layer.
type Layer struct {
	// Name is what the image's history calls the layer.
	Name string
	// Packages are the names of the components in the layer, for its annotation. They may be in any order.
	Packages []string
	Content  repo.Files
	// Expected says that the image before is expected to have this layer. That is a hint: what decides is the diff-id.
	Expected bool
	// Size is about that of the content in bytes, for showing progress, or 0 where it is not known.
	Size int64
}

// ErrInvalidPlan says that a plan does not hold each path of the commit exactly once. It is wrapped.
var ErrInvalidPlan = errors.New("invalid plan")

// SingleLayer is the plan of an image that is not split.
func SingleLayer(content repo.Files) *Plan { return &Plan{Remainder: content} }

// Check reads the trees of a commit, and reports whether each of its files is in the plan exactly once, with its object. An object
// may be in several layers, with different paths.
func (p *Plan) Check(ctx context.Context, src repo.Source, commit object.Checksum) error {
	c := checker{plan: p}
	for n := range len(p.Layers) + 1 {
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
		at := c.planned[i]
		return fmt.Errorf("%w: layer %s: %s with object %s is not in the commit, or planned twice", ErrInvalidPlan, c.name(int(at.layer)), c.path(at), c.object(at))
	}
	if missing > 0 {
		return fmt.Errorf("%w: %d paths of the commit are in no layer", ErrInvalidPlan, missing)
	}
	return nil
}

// checker finds files in a plan.
type checker struct {
	plan    *Plan
	size    int
	planned []planned // sorted by object and path
	found   []bool
}

// planned says where a file is in a plan. Few bytes: there is one for each file.
type planned struct{ layer, index uint32 }

// layer is the content of a layer, of the first after the last.
func (c *checker) layer(n int) repo.Files {
	if n == len(c.plan.Layers) {
		return c.plan.Remainder
	}
	return c.plan.Layers[n].Content
}

// name is that of a layer, for errors.
func (c *checker) name(n int) string {
	if n == len(c.plan.Layers) {
		return "the first"
	}
	return strconv.Quote(c.plan.Layers[n].Name)
}

func (c *checker) object(at planned) object.Checksum {
	return c.layer(int(at.layer)).Checksum(int(at.index))
}
func (c *checker) path(at planned) string { return c.layer(int(at.layer)).Path(int(at.index)) }

// sort makes the list of what is planned, and sees that each layer is in order.
func (c *checker) sort() error {
	c.planned, c.found = make([]planned, 0, c.size), make([]bool, c.size)
	for n := range len(c.plan.Layers) + 1 {
		l := c.layer(n)
		if l == nil {
			continue
		}
		for i := range l.Len() {
			if i > 0 && l.Checksum(i-1).Compare(l.Checksum(i)) > 0 {
				return fmt.Errorf("%w: layer %s: the objects are not in order: %s follows %s", ErrInvalidPlan, c.name(n), l.Checksum(i), l.Checksum(i-1))
			}
			c.planned = append(c.planned, planned{uint32(n), uint32(i)})
		}
	}
	slices.SortFunc(c.planned, func(a, b planned) int {
		if order := c.object(a).Compare(c.object(b)); order != 0 {
			return order
		}
		return strings.Compare(c.path(a), c.path(b))
	})
	return nil
}

// find marks a file as found.
func (c *checker) find(f repo.ObjectPath) bool {
	i, ok := slices.BinarySearchFunc(c.planned, f, func(at planned, f repo.ObjectPath) int {
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
