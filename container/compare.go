package container

import (
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ManifestDiff describes what an update fetches. Its JSON form has only the numbers, under upstream's names.
type ManifestDiff struct {
	// Removed and Added are the layers that are only in the old or only in the new image. Each digest is listed once, in
	// order.
	Removed []ocispec.Descriptor `json:"-"`
	Added   []ocispec.Descriptor `json:"-"`
	// Total is the number of distinct layers of the new image. TotalSize is the size of all its layers in bytes; a layer
	// that occurs twice counts twice.
	Total       int   `json:"total"`
	TotalSize   int64 `json:"total_size"`
	NRemoved    int   `json:"n_removed"`
	RemovedSize int64 `json:"removed_size"`
	NAdded      int   `json:"n_added"`
	AddedSize   int64 `json:"added_size"`
}

// Compare compares the layers of two images by their digests.
func Compare(from, to ocispec.Manifest) ManifestDiff {
	oldLayers, newLayers := distinct(from.Layers), distinct(to.Layers)
	d := ManifestDiff{
		Removed: without(oldLayers, newLayers), Added: without(newLayers, oldLayers),
		Total: len(newLayers), TotalSize: totalSize(to.Layers),
	}
	d.NRemoved, d.RemovedSize = len(d.Removed), totalSize(d.Removed)
	d.NAdded, d.AddedSize = len(d.Added), totalSize(d.Added)
	return d
}

func distinct(layers []ocispec.Descriptor) map[digest.Digest]ocispec.Descriptor {
	m := make(map[digest.Digest]ocispec.Descriptor, len(layers))
	for _, l := range layers {
		m[l.Digest] = l
	}
	return m
}

func without(a, b map[digest.Digest]ocispec.Descriptor) []ocispec.Descriptor {
	var out []ocispec.Descriptor
	for d, l := range a {
		if _, ok := b[d]; !ok {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b ocispec.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	return out
}

func totalSize(layers []ocispec.Descriptor) int64 {
	var n int64
	for _, l := range layers {
		n += l.Size
	}
	return n
}
