package chunking

import (
	"errors"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// Plan says which file objects of a commit go into which layer. The image has one more layer, its first: the commit with
// its metadata objects and directories, and the objects that no other layer has.
type Plan struct {
	Layers []Layer
	// Remainder are the objects of the first layer.
	Remainder tarfmt.Content
	// First says which layer of a prior image the first layer is.
	First Reuse
}

// Reuse names the layer of a prior image that a layer is expected to equal, so that it need not be made again.
type Reuse struct {
	// DiffID of the prior layer, or empty.
	DiffID string
	// Verify asks for a look at the bytes: the layer is made, but neither compressed nor sent, to see that it has the
	// diff-id. Otherwise what names the layer is believed.
	Verify bool
}

// Layer is one planned layer.
type Layer struct {
	// Name is what the image's history calls the layer.
	Name string
	// Packages are the names of the components in the layer, for its annotation. They may be in any order.
	Packages []string
	Content  tarfmt.Content
	Reuse    Reuse
}

// ErrInvalidPlan says that a plan does not hold each path of the commit exactly once. It is wrapped.
var ErrInvalidPlan = errors.New("invalid plan")

// SingleLayer is the plan of an image that is not split.
func SingleLayer(content tarfmt.Content) *Plan { return &Plan{Remainder: content} }

// Check reports whether every path of the commit's content is in the plan exactly once, with its object. An object may be
// in several layers, with different paths.
func (p *Plan) Check(content tarfmt.Content) error {
	type place struct {
		checksum repo.Checksum
		planned  bool
	}
	paths := map[string]place{}
	for _, o := range content {
		for _, path := range o.Paths {
			paths[path] = place{checksum: o.Checksum}
		}
	}
	left := len(paths)
	count := func(c tarfmt.Content) error {
		for _, o := range c {
			for _, path := range o.Paths {
				at, ok := paths[path]
				if !ok || at.checksum != o.Checksum || at.planned {
					return fmt.Errorf("%w: %s is not in the commit, or planned twice", ErrInvalidPlan, path)
				}
				at.planned = true
				paths[path] = at
				left--
			}
		}
		return nil
	}
	for _, l := range p.Layers {
		if err := count(l.Content); err != nil {
			return fmt.Errorf("layer %q: %w", l.Name, err)
		}
	}
	if err := count(p.Remainder); err != nil {
		return err
	}
	if left > 0 {
		return fmt.Errorf("%w: %d paths of the commit are in no layer", ErrInvalidPlan, left)
	}
	return nil
}
