package chunking

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

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
	// Size is about that of the content in bytes, for showing progress, or 0 where it is not known.
	Size int64
}

// ErrInvalidPlan says that a plan does not hold each path of the commit exactly once. It is wrapped.
var ErrInvalidPlan = errors.New("invalid plan")

// SingleLayer is the plan of an image that is not split.
func SingleLayer(content tarfmt.Content) *Plan { return &Plan{Remainder: content} }

// Check reports whether every path of the commit's content is in the plan exactly once, with its object. An object may be
// in several layers, with different paths. All contents are sorted, as [tarfmt.Content] says.
func (p *Plan) Check(content tarfmt.Content) error {
	layers := make([]tarfmt.Content, 0, len(p.Layers)+1)
	for _, l := range p.Layers {
		layers = append(layers, l.Content)
	}
	layers = append(layers, p.Remainder)
	var planned []string
	missing := 0
	for _, o := range content {
		planned = planned[:0]
		for i, l := range layers {
			if len(l) == 0 {
				continue
			}
			switch c := l[0].Checksum.Compare(o.Checksum); {
			case c < 0:
				return p.wrong(i, l[0])
			case c == 0:
				planned, layers[i] = append(planned, l[0].Paths...), l[1:]
			}
		}
		want := o.Paths
		if len(planned) > 1 || len(want) > 1 {
			want = slices.Sorted(slices.Values(want))
			slices.Sort(planned)
		}
		for _, name := range planned {
			for len(want) > 0 && want[0] < name {
				want = want[1:]
				missing++
			}
			if len(want) == 0 || want[0] != name {
				return fmt.Errorf("%w: %s is not in the commit, or planned twice", ErrInvalidPlan, name)
			}
			want = want[1:]
		}
		missing += len(want)
	}
	for i, l := range layers {
		if len(l) > 0 {
			return p.wrong(i, l[0])
		}
	}
	if missing > 0 {
		return fmt.Errorf("%w: %d paths of the commit are in no layer", ErrInvalidPlan, missing)
	}
	return nil
}

// wrong says that a layer has an object that it should not have, or not there.
func (p *Plan) wrong(layer int, o tarfmt.ObjectPaths) error {
	name := "the first"
	if layer < len(p.Layers) {
		name = strconv.Quote(p.Layers[layer].Name)
	}
	return fmt.Errorf("%w: layer %s: object %s %q is not in the commit, planned twice, or not in order", ErrInvalidPlan, name, o.Checksum, o.Paths)
}
