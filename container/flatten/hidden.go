package flatten

import (
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/overlay"
)

// Hidden is a regular file with content that a layer has, and that a later entry replaces or hides under all its names.
type Hidden struct {
	// Path is the path in the layer. The symlinks of the tree are not resolved in it.
	Path string
	// Size is the length of the content in bytes, and Layer the index of the layer.
	Size  int64
	Layer int
}

// Hidden returns the files that layers have and the root filesystem does not, by layer and in the order of its archive.
// They are known only if [Options] asked for them.
func (i *Image) Hidden() []Hidden { return i.hidden }

// LayerOf returns the index of the layer that has the content of the regular file at an index of Entries.
func (i *Image) LayerOf(index int) int { return i.places[index].spool }

// SameContent reports whether the content of the regular file at an index is known to be that of a file of another
// image, because both have it from the same layer. If it returns false, the contents may be equal nevertheless.
func (i *Image) SameContent(index int, other *Image, otherIndex int) bool {
	p, q := i.places[index], other.places[otherIndex]
	return p.offset == q.offset && i.diffIDs[p.spool] == other.diffIDs[q.spool] &&
		i.entries.At(index).Size == other.entries.At(otherIndex).Size
}

func hiddenFiles(tree *overlay.Tree[content], layers [][]entry) ([]Hidden, error) {
	visible := map[*overlay.File[content]]bool{}
	if err := tree.Walk(func(_, _ string, f *overlay.File[content]) error {
		if hasContent(f) {
			visible[f] = true
		}
		return nil
	}); err != nil {
		return nil, err
	}
	var out []Hidden
	for n, entries := range layers {
		for _, e := range entries {
			if e.Mark == overlay.None && e.File != nil && hasContent(e.File) && !visible[e.File] {
				out = append(out, Hidden{Path: e.Path, Size: e.File.Size, Layer: n})
			}
		}
	}
	return out, nil
}

func hasContent(f *overlay.File[content]) bool {
	return f.Mode&object.ModeTypeMask == object.ModeRegular && f.Size > 0
}
