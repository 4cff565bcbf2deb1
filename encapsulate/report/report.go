// Package report shows how an image is split into layers: as a table, as JSON, or as an HTML page with a treemap. The
// data comes from a plan, from an image, or from a list of components.
package report

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/chunking/packing"
	"github.com/ostree-ext/ostree-ext-go/chunking/upstream"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// Layers says how an image is split. `chunks plan --json` and `chunks show --json` print it.
type Layers struct {
	Layers []Layer `json:"layers"`
	// Expected is the expected download of an update in bytes, and Bound the least that any plan can reach. Both are 0
	// if they are not known.
	Expected float64 `json:"expected,omitempty"`
	Bound    float64 `json:"bound,omitempty"`
}

// Layer is one layer of a report.
type Layer struct {
	// Components are the IDs of the components, sorted.
	Components []string `json:"components"`
	// Bytes is the size of the contents in a plan, and of the blob in an existing image.
	Bytes uint64 `json:"bytes"`
	// Probability is the probability that an update changes the layer.
	Probability float64 `json:"probability"`
	// Sizes are the sizes of the components in bytes, in the same order, if they are known.
	Sizes []uint64 `json:"sizes,omitempty"`
	// Kept says that the layer is kept from the prior image.
	Kept bool `json:"kept,omitempty"`
	// Digest and DiffID are set for existing images.
	Digest string `json:"digest,omitempty"`
	DiffID string `json:"diff_id,omitempty"`
	// First says that the layer holds the commit or the directories.
	First bool `json:"first,omitempty"`
}

// OfPlan returns the layers of a plan. The layer with the commit is left out, because its size is not known before it
// is made.
func OfPlan(p *plan.Plan) *Layers {
	r := &Layers{Layers: []Layer{}}
	if p.Arrangement == nil {
		return r
	}
	sizes := map[string]uint64{}
	for _, u := range p.Arrangement.Units {
		sizes[u.ID] = u.Size
	}
	for _, l := range p.Arrangement.Layers {
		layer := Layer{Components: l.Components, Bytes: l.Size, Probability: l.Probability, Kept: l.Prior >= 0}
		for _, id := range l.Components {
			layer.Sizes = append(layer.Sizes, sizes[id])
		}
		r.Layers = append(r.Layers, layer)
	}
	r.Expected, r.Bound = p.Arrangement.Expected, p.Arrangement.Bound
	return r
}

// OfImage returns the layers of an image. Any program may have made it.
func OfImage(image *oci.Image) *Layers {
	record, first := recordOf(image)
	r := &Layers{Layers: []Layer{}}
	for i, l := range image.Layers {
		layer := Layer{
			Bytes: uint64(l.Descriptor.Size), Digest: l.Descriptor.Digest.String(), DiffID: l.DiffID.String(),
			Components: []string{},
		}
		switch n := i - first - 1; {
		case record != nil && n < 0:
			layer.First = true
		case record != nil && n < len(record.Layers) && len(record.Layers[n].Components) > 0:
			layer.Components = record.Layers[n].Components
			for _, id := range layer.Components {
				layer.Sizes = append(layer.Sizes, record.Components[id].Size)
			}
		default:
			layer.Components = names(l)
		}
		r.Layers = append(r.Layers, layer)
	}
	return r
}

// recordOf returns the record of an image and the position of its first layer, if the record fits the layers of the
// image. A record that does not say which layers it describes is used if the number of layers agrees: that is good
// enough for a report.
func recordOf(image *oci.Image) (record *chunking.Record, first int) {
	record, err := chunking.ParseRecord(image.Config.Labels[chunking.LabelRecord])
	if err != nil {
		return nil, 0
	}
	diffIDs := make([]string, len(image.Layers))
	for i, l := range image.Layers {
		diffIDs[i] = l.DiffID.String()
	}
	switch fit := record.Fit(diffIDs); {
	case fit == chunking.Fitting:
		return record, record.At
	case fit == chunking.Unbound && len(image.Layers) == 1+len(record.Layers):
		return record, 0
	}
	return nil, 0
}

// names returns the components of a layer as other programs list them.
func names(l oci.Layer) []string {
	var list []string
	if s := l.Descriptor.Annotations[upstream.AnnotationComponents]; s != "" {
		list = strings.Split(s, ",")
	} else if s := l.Descriptor.Annotations["org.chunkah.component"]; s != "" {
		list = strings.Fields(s)
	} else if l.History != nil && l.History.CreatedBy != "" {
		list = []string{l.History.CreatedBy}
	}
	slices.Sort(list)
	if list == nil {
		list = []string{}
	}
	return list
}

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
// then used as it is. The result does not include the layer of the commit.
func PlanList(data []byte, opts plan.Options) (*Layers, error) {
	list, err := readList(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrList, err)
	}
	limit := opts.MaxLayers
	if opts.Packing == plan.PackUpstream {
		return planListUpstream(list, limit)
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
	r := &Layers{Layers: []Layer{}, Expected: packed.Expected, Bound: packed.Bound}
	for _, b := range packed.Bins {
		layer := Layer{Components: b.Items, Bytes: b.Size, Probability: b.Probability}
		for _, id := range b.Items {
			layer.Sizes = append(layer.Sizes, sizes[id])
		}
		r.Layers = append(r.Layers, layer)
	}
	return r, nil
}

func planListUpstream(list []listed, limit int) (*Layers, error) {
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
	r := &Layers{Layers: []Layer{}}
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
