package report

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/chunking/packing"
	"github.com/ostree-ext/ostree-ext-go/chunking/upstream"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// listed is a component in a list. The form is that of upstream's content metadata, with our field probability.
type listed struct {
	upstream.Package
	Probability *float64 `json:"probability"`
}

// maxList is the largest size of a list of components, in bytes.
const maxList = 256 << 20

// ErrList is wrapped by errors about an invalid list of components.
var ErrList = errors.New("invalid list of components")

// PlanList packs a list of components. The list is JSON, and may be compressed with gzip: an array of objects as in
// upstream's content metadata. Each may also have "probability", the probability of a change in one update, which is
// then used as it is. name is the name of the list. The result does not include the layer of the commit.
func PlanList(name string, data []byte, opts plan.Options) (*Layers, error) {
	list, err := readList(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrList, err)
	}
	limit := opts.MaxLayers
	if opts.Packing == plan.PackUpstream {
		return planListUpstream(name, list, limit)
	}
	if limit == 0 {
		limit = plan.DefaultMaxLayers - 1
	}
	params := packing.Params{MaxBins: limit, Overhead: packing.DefaultOverhead}
	if opts.UpdateInterval > 0 {
		params.Horizons = []int{opts.UpdateInterval}
	}
	sizes := map[string]uint64{}
	items := make([]packing.Item, len(list))
	for i, c := range list {
		items[i] = packing.Item{ID: c.ID, Size: c.Size, Changes: c.changes()}
		sizes[c.ID] = c.Size
	}
	packed, err := packing.Pack(items, params)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrList, err)
	}
	r := &Layers{Layers: []Layer{}, Expected: packed.Expected, Bound: packed.Bound, name: name, unmeasured: true}
	for _, b := range packed.Bins {
		layer := Layer{Components: b.Items, Bytes: b.Size, Probability: b.Probability,
			Reason: placed(len(b.Items), false)}
		for _, id := range b.Items {
			layer.Sizes = append(layer.Sizes, sizes[id])
		}
		layer.position = len(r.Layers) + 1
		r.Layers = append(r.Layers, layer)
	}
	return r, nil
}

func planListUpstream(name string, list []listed, limit int) (*Layers, error) {
	if limit == 0 {
		limit = upstream.DefaultMaxChunks
	}
	packages := make([]upstream.Package, len(list))
	chance := map[string]float64{}
	for i, c := range list {
		packages[i] = c.Package
		if c.Probability != nil {
			chance[c.ID] = *c.Probability
		}
	}
	bins, err := upstream.Pack(packages, limit, nil)
	if err != nil {
		return nil, err
	}
	r := &Layers{Layers: []Layer{}, name: name, unmeasured: true}
	for _, bin := range bins {
		layer := Layer{Components: []string{}}
		unchanged := 1.0
		for _, c := range bin {
			layer.Components = append(layer.Components, c.ID)
			layer.Bytes += c.Size
			layer.Sizes = append(layer.Sizes, c.Size)
			unchanged *= 1 - chance[c.ID]
		}
		layer.Probability = 1 - unchanged
		layer.position = len(r.Layers) + 1
		r.Layers = append(r.Layers, layer)
	}
	return r, nil
}

// changes returns how often the component changes, according to the list.
func (c *listed) changes() packing.Changes {
	switch {
	case c.Probability != nil:
		return packing.PerUpdate(*c.Probability)
	case c.ChangeFrequency == component.AlwaysChanges:
		return packing.PerUpdate(0.9999)
	}
	return packing.PerDay(float64(c.ChangeFrequency) / 365)
}

func readList(data []byte) ([]listed, error) {
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		if data, err = io.ReadAll(io.LimitReader(z, maxList+1)); err != nil {
			return nil, err
		}
	}
	if len(data) > maxList {
		return nil, fmt.Errorf("more than %s", sizes.Format(maxList))
	}
	var list []listed
	if err := jsonplace.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("it is empty")
	}
	for i, c := range list {
		if c.ID == "" {
			return nil, fmt.Errorf("component %d has no identifier", i)
		}
		if p := c.Probability; p != nil && !(*p >= 0 && *p <= 1) {
			return nil, fmt.Errorf("component %s: the probability %v is not between 0 and 1", c.ID, *p)
		}
	}
	return list, nil
}
