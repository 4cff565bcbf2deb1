package store

import (
	"math"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// ContentSizes returns the sizes of the files in the layers of an image in bytes, uncompressed, as far as its plan has
// them. The layer with the directories has none.
func ContentSizes(img *oci.Image) map[digest.Digest]int64 { return newContentSizes(img, nil) }

// newContentSizes is like [ContentSizes], without the components that another image has with the same content, as far
// as its plan tells. The other image may be nil.
func newContentSizes(img, other *oci.Image) map[digest.Digest]int64 {
	record, ok := planOf(img)
	if !ok {
		return nil
	}
	var had map[string]chunking.Known
	if other != nil {
		if old, ok := planOf(other); ok {
			had = old.Components
		}
	}
	known := map[digest.Digest]int64{}
	for i, l := range img.Layers {
		n := i - record.At - 1
		switch {
		case n == -1:
			known[l.Descriptor.Digest] = 0
			continue
		case n < 0 || n >= len(record.Layers) || len(record.Layers[n].Components) == 0:
			continue
		}
		var total uint64
		for _, id := range record.Layers[n].Components {
			if old, ok := had[id]; ok && old.Digest == record.Components[id].Digest {
				continue
			}
			if total += min(record.Components[id].Size, math.MaxInt64); total > math.MaxInt64 {
				break
			}
		}
		if total <= math.MaxInt64 {
			known[l.Descriptor.Digest] = int64(total)
		}
	}
	return known
}

// LayersOnTop returns the number of layers on top of those that the image's plan describes, or -1 if it has none.
func LayersOnTop(img *oci.Image) int {
	record, ok := planOf(img)
	if !ok {
		return -1
	}
	return len(img.Layers) - (record.At + 1 + len(record.Layers))
}

// planOf returns the plan of an image if it describes the image's layers.
func planOf(img *oci.Image) (*chunking.Record, bool) {
	record, err := chunking.ParseRecord(img.Config.Labels[chunking.LabelRecord])
	if err != nil {
		return nil, false
	}
	diffIDs := make([]string, len(img.Layers))
	for i, l := range img.Layers {
		diffIDs[i] = l.DiffID.String()
	}
	return record, record.Fit(diffIDs) == chunking.Fitting
}
