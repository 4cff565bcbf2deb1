package report

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Explanation says where a path goes and why. It is what `chunks explain --json` prints.
type Explanation struct {
	Path string `json:"path"`
	// Component is the ID of its owner, Detector what found that, and Reason why.
	Component string `json:"component"`
	Detector  string `json:"detector"`
	Reason    string `json:"reason"`
	// Layer counts from 1, without that of the commit; 0 means the first layer of all.
	Layer int `json:"layer"`
	// LayerComponents are what shares the layer.
	LayerComponents []string `json:"layer_components"`
}

// Errors about paths to explain.
var (
	// ErrNoPath says that the tree does not have a path.
	ErrNoPath = errors.New("no such path in the tree")
	// ErrDirectory says that a path is a directory, which belongs to no component.
	ErrDirectory = errors.New("directories belong to no component: name a file in it")
	// ErrNotSplit says that there is nothing to explain, as everything is in one layer.
	ErrNotSplit = errors.New("the image has a single layer")
)

// Explain says where a plan puts a path. Symlinks above the last element are followed.
func Explain(p *plan.Plan, name string) (*Explanation, error) {
	if p.Set == nil || p.Arrangement == nil {
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
	e := &Explanation{Path: clean, Component: p.Set.Components[claim.Component].ID, Detector: why.Detector, Reason: why.Text, LayerComponents: []string{}}
	for n, l := range p.Arrangement.Layers {
		if _, ok := slices.BinarySearch(l.Entries, uint32(i)); ok {
			e.Layer, e.LayerComponents = n+1, l.Components
		}
	}
	return e, nil
}

// WriteText writes the explanation for a person.
func (e *Explanation) WriteText(w io.Writer) error {
	l := Layer{Components: e.LayerComponents}
	_, err := fmt.Fprintf(w, "%s\ncomponent: %s\nbecause: %s (%s)\nlayer %d: %s\n", e.Path, e.Component, e.Reason, e.Detector, e.Layer, l.summary(8))
	return err
}
