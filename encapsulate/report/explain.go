package report

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Explanation says which layer a path goes into, and why. `chunks explain --json` prints it.
type Explanation struct {
	Path string `json:"path"`
	// Component is the ID of the owner, Detector the name of the detector that found it, and Reason says how.
	Component string `json:"component"`
	Detector  string `json:"detector"`
	Reason    string `json:"reason"`
	// Layer is the number of the layer, counted from 1 after the image's first layer, whose number is 0.
	Layer int `json:"layer"`
	// LayerComponents are the components in that layer.
	LayerComponents []string `json:"layer_components"`
}

// Errors about paths to explain.
var (
	// ErrNoPath means that the tree does not have the path.
	ErrNoPath = errors.New("no such path in the tree")
	// ErrDirectory means that the path is a directory. Directories belong to no component.
	ErrDirectory = errors.New("directories belong to no component: name a file in it")
	// ErrNotSplit means that there is nothing to explain, because everything is in one layer.
	ErrNotSplit = errors.New("the image has a single layer")
)

// Explain returns where a plan puts a path. It follows symlinks, except in the last element.
func Explain(p *plan.Plan, name string) (*Explanation, error) {
	if p.Set == nil || p.Arrangement == nil && p.Packed == nil {
		return nil, ErrNotSplit
	}
	index := rootfs.NewIndex(p.Tree)
	clean := path.Join("/", name)
	if c, ok := index.Canonical(clean); ok {
		clean = c
	}
	i, ok := index.Find(clean)
	if !ok {
		return nil, fmt.Errorf("%s: %w", clean, ErrNoPath)
	}
	claim := p.Set.Claims[i]
	if claim.Component < 0 {
		return nil, fmt.Errorf("%s: %w", clean, ErrDirectory)
	}
	why := p.Set.Explain(p.Tree.Entries(), i)
	e := &Explanation{Path: clean, Component: p.Set.Components[claim.Component].ID, Detector: why.Detector,
		Reason: why.Text, LayerComponents: []string{}}
	if p.Packed != nil {
		for n, l := range p.Packed.Layers {
			if l.Content != nil && hasPath(l.Content, clean) {
				e.Layer, e.LayerComponents = n+1, slices.Sorted(slices.Values(l.Packages))
			}
		}
		return e, nil
	}
	for n, l := range p.Arrangement.Layers {
		if _, ok := slices.BinarySearch(l.Entries, uint32(i)); ok {
			e.Layer, e.LayerComponents = n+1, l.Components
		}
	}
	return e, nil
}

func hasPath(files repo.Files, name string) bool {
	for i := range files.Len() {
		if files.Path(i) == name {
			return true
		}
	}
	return false
}

// WriteText writes the explanation for a person.
func (e *Explanation) WriteText(w io.Writer) error {
	l := Layer{Components: e.LayerComponents}
	_, err := fmt.Fprintf(w, "%s\ncomponent: %s\nbecause: %s (%s)\nlayer %d: %s\n",
		e.Path, e.Component, e.Reason, e.Detector, e.Layer, l.summary(8))
	return err
}
