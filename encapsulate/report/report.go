// Package report shows how an image is split into layers, what an update downloads, and why: as a table, as JSON, or
// as a page for a browser. The data comes from a plan, from images, or from a list of components. Of images it uses
// only manifest and configuration.
package report

import (
	"slices"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/upstream"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Layers says how an image is split. `chunks plan --json` and `chunks show --json` print it.
type Layers struct {
	Layers []Layer `json:"layers"`
	// Expected is the expected download of an update in bytes, and Bound the least that any plan can reach. Both are 0
	// if they are not known.
	Expected float64 `json:"expected,omitempty"`
	Bound    float64 `json:"bound,omitempty"`

	// name is what the report is about, and info describes the image if it is one.
	name string
	info *Summary
	// continued says that a plan continues from a prior image, and unmeasured that compressed sizes are not known.
	continued, unmeasured bool
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
	// Compressed is the estimated compressed size of a layer that is only planned.
	Compressed uint64 `json:"compressed,omitempty"`
	// CompressedSizes are the estimated compressed sizes of the components, in the same order, if they are known. Their
	// sum is that of the layer: Bytes in an image, Compressed in a plan.
	CompressedSizes []uint64 `json:"compressed_sizes,omitempty"`
	// Changes are how often the contents of the components differed from the image before, in the same order, and
	// LastChanged the dates of the images that first had the contents, each "" if it is not known. They are set for
	// images with a plan.
	Changes     []int    `json:"changes,omitempty"`
	LastChanged []string `json:"last_changed,omitempty"`
	// Reason is one of the constants: why a planned layer has these components, or why a layer is downloaded.
	Reason string `json:"reason,omitempty"`

	// position is the number of the layer in the image, from 1. In a plan the first layer has the number 0.
	position int
	// title is what the history says of a layer of which nothing else is known.
	title string
	// changed says how each component of a plan differs from the prior image: "changed", "added", or "" if it does not.
	changed []string
	// since are the days of the first images with the components, and known says how it is known how often they change.
	since []string
	known []string
	// installed are the installed packages of each component, as far as they are known.
	installed [][]string
}

// Reasons for the layers of a plan.
const (
	// Kept means that nothing in the layer changed, so that it stays as it is in the prior image.
	Kept = "kept"
	// Exclusive means that a rule or an xattr asks for a layer of its own.
	Exclusive = "exclusive"
	// Alone means that a layer of its own makes updates smallest.
	Alone = "alone"
	// Together means that the components change so seldom, or so often together, that sharing a layer costs little.
	Together = "together"
)

// size returns the compressed size of the layer, or what is nearest to it.
func (l *Layer) size() uint64 {
	if l.Compressed > 0 {
		return l.Compressed
	}
	return l.Bytes
}

// parts returns the size of each component, compressed if that is known.
func (l *Layer) parts() []uint64 {
	if len(l.CompressedSizes) == len(l.Components) {
		return l.CompressedSizes
	}
	return l.Sizes
}

// OfPlan returns the layers of a plan. The layer with the commit is left out, because its size is not known before it
// is made.
func OfPlan(p *plan.Plan) *Layers {
	if p.Packed != nil {
		return ofPacked(p)
	}
	r := &Layers{Layers: []Layer{}}
	if p.Arrangement == nil {
		return r
	}
	units := map[string]*chunking.Unit{}
	for i := range p.Arrangement.Units {
		units[p.Arrangement.Units[i].ID] = &p.Arrangement.Units[i]
	}
	changes := map[string]string{}
	for _, dirty := range p.Arrangement.Dirty {
		for _, id := range dirty.Changed {
			changes[id] = Changed
		}
	}
	for _, id := range p.Arrangement.Added {
		changes[id] = Added
	}
	for i := range p.Arrangement.Layers {
		layer := ofArranged(&p.Arrangement.Layers[i], units, p.Arrangement.Record.Components)
		layer.position = i + 1
		for _, id := range layer.Components {
			layer.changed = append(layer.changed, changes[id])
		}
		r.continued = r.continued || layer.Kept
		r.Layers = append(r.Layers, layer)
	}
	r.Expected, r.Bound = p.Arrangement.Expected, p.Arrangement.Bound
	r.continued = r.continued || len(p.Arrangement.Dirty) > 0
	return r
}

// ofPacked returns the layers of upstream's packing, which does not say how often they change.
func ofPacked(p *plan.Plan) *Layers {
	lengths := map[object.Checksum]uint64{}
	for _, e := range p.Tree.Entries().All() {
		lengths[e.Object] = uint64(e.Size)
	}
	r := &Layers{Layers: []Layer{}, unmeasured: true}
	for i, l := range p.Packed.Layers {
		layer := Layer{Components: slices.Sorted(slices.Values(l.Packages)), position: i + 1}
		if layer.Components == nil {
			layer.Components = []string{}
		}
		if l.Content != nil {
			var last object.Checksum
			for n := range l.Content.Len() {
				if sum := l.Content.Checksum(n); n == 0 || sum != last {
					layer.Bytes, last = layer.Bytes+lengths[sum], sum
				}
			}
		}
		r.Layers = append(r.Layers, layer)
	}
	return r
}

// ofArranged returns a layer of a plan.
func ofArranged(l *chunking.ArrangedLayer, units map[string]*chunking.Unit, known map[string]chunking.Known) Layer {
	layer := Layer{Components: l.Components, Bytes: l.Size, Probability: l.Probability, Kept: l.Prior >= 0}
	var weights []uint64
	var weight, size uint64
	exclusive := false
	for _, id := range l.Components {
		u := units[id]
		k := known[id]
		layer.Sizes = append(layer.Sizes, u.Size)
		layer.known = append(layer.known, u.Basis(k))
		layer.installed = append(layer.installed, nil)
		weights = append(weights, bounded(k.Compressed()))
		weight += bounded(k.Compressed())
		size += bounded(u.Size)
		exclusive = exclusive || u.Exclusive
	}
	// A layer that another program made has only a part of its components.
	if layer.Compressed = l.Size; size > 0 && weight < size {
		layer.Compressed = uint64(float64(l.Size) * (float64(weight) / float64(size)))
		if l.Size == size {
			layer.Compressed = weight
		}
	}
	layer.CompressedSizes = divide(layer.Compressed, weights)
	layer.Reason = placed(len(l.Components), exclusive)
	if layer.Kept {
		layer.Reason = Kept
	}
	return layer
}

// placed returns why a planned layer has so many components.
func placed(components int, exclusive bool) string {
	switch {
	case exclusive:
		return Exclusive
	case components == 1:
		return Alone
	}
	return Together
}

// OfImage returns the layers of an image. Any program may have made it.
func OfImage(image *oci.Image) *Layers {
	record, first := recordOf(image)
	r := &Layers{Layers: []Layer{}, name: image.Name, info: summarise(image)}
	owners := ownersOf(image, record)
	for i, l := range image.Layers {
		layer := Layer{
			Bytes: uint64(l.Descriptor.Size), Digest: l.Descriptor.Digest.String(), DiffID: l.DiffID.String(),
			Components: []string{}, position: i + 1,
		}
		if l.History != nil {
			layer.title = l.History.CreatedBy
		}
		switch n := i - first - 1; {
		case record != nil && n < 0:
			layer.First = true
		case record != nil && n < len(record.Layers) && len(record.Layers[n].Components) > 0:
			layer.Components = record.Layers[n].Components
			layer.recorded(record)
		default:
			layer.Components = names(l)
		}
		for _, id := range layer.Components {
			layer.installed = append(layer.installed, owners[id])
		}
		r.Layers = append(r.Layers, layer)
	}
	return r
}

// recorded sets what a record knows of the components of a layer.
func (l *Layer) recorded(record *chunking.Record) {
	var weights []uint64
	for _, id := range l.Components {
		k := record.Components[id]
		weights = append(weights, k.Compressed())
		l.Sizes = append(l.Sizes, k.Size)
		l.Changes = append(l.Changes, k.Changes)
		l.LastChanged = append(l.LastChanged, date(k.Last))
		l.since = append(l.since, date(k.First))
	}
	l.CompressedSizes = divide(l.Bytes, weights)
}

// maxYear is the last year that a date may have.
const maxYear = 9999

// date returns a day, counted from 1970-01-01, as a date. It is "" for the day 0, which stands for one that is not
// known, and for days that cannot be.
func date(day int64) string {
	if day <= 0 || day > maxYear*365 {
		return ""
	}
	return time.Unix(day*24*60*60, 0).UTC().Format(time.DateOnly)
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
