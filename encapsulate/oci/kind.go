package oci

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Kind is the kind of a layer.
type Kind uint8

// The kinds.
const (
	// Plain is a layer of an image without a commit.
	Plain Kind = iota + 1
	// Commit is the layer with the commit, its trees and the objects that are in no chunk.
	Commit
	// Chunk is a layer with other objects of the commit.
	Chunk
	// Derived is a layer that was added on top of the layers of the commit.
	Derived
	// Unknown is a layer whose media type is not supported, at any position.
	Unknown
)

// String returns the kind in lower case.
func (k Kind) String() string {
	switch k {
	case Plain:
		return "plain"
	case Commit:
		return "commit"
	case Chunk:
		return "chunk"
	case Derived:
		return "derived"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// CanRead reports whether the layers of a manifest are of types that this package reads.
func CanRead(m ocispec.Manifest) bool {
	inOCI(&m)
	return !slices.ContainsFunc(m.Layers, func(d ocispec.Descriptor) bool { return !canDecompress(d.MediaType) })
}

// ErrNotEncapsulated is wrapped by errors about images that do not hold a commit, or that have layers besides it.
var ErrNotEncapsulated = errors.New("not an encapsulated commit")

// CommitError says why no commit was found in an image. It wraps [ErrNotEncapsulated].
type CommitError struct {
	// Labelled says that the labels claim that the image holds a commit.
	Labelled bool
	// Replaced says that the label names a diff-id that no layer has, because layers were converted or replaced after
	// the image was made.
	Replaced bool
	text     string
}

// Error implements error. The text is upstream's.
func (e *CommitError) Error() string { return e.text }

// Unwrap returns [ErrNotEncapsulated].
func (e *CommitError) Unwrap() error { return ErrNotEncapsulated }

// CommitLayers are the layers of an image with a commit, in the order of the image.
type CommitLayers struct {
	Commit  *Layer
	Chunks  []*Layer
	Derived []*Layer
}

// CommitLayers returns the layers of an image with a commit, by kind. The error is a [*CommitError].
func (i *Image) CommitLayers() (*CommitLayers, error) { return i.commit, i.unfit }

// kind returns the kind of the layer at an index.
func (i *Image) kind(n int) Kind {
	switch {
	case i.Layers[n].Descriptor.MediaType != "" && !canDecompress(i.Layers[n].Descriptor.MediaType):
		return Unknown
	case i.commit == nil:
		return Plain
	case n == 0:
		return Commit
	case n <= len(i.commit.Chunks):
		return Chunk
	}
	return Derived
}

// findCommit finds the layers of the commit. If several layers have the diff-id in the label, the first one counts,
// as in every other reader.
func findCommit(i *Image) (*CommitLayers, error) {
	label, labelled := i.Config.Labels[LabelDiffID]
	unfit := func(format string, args ...any) (*CommitLayers, error) {
		return nil, &CommitError{Labelled: labelled, text: fmt.Sprintf(format, args...)}
	}
	if len(i.Layers) == 0 {
		return unfit("No layers in manifest")
	}
	if !labelled {
		return unfit("No %s label found, not an ostree encapsulated container", LabelDiffID)
	}
	last := -1
	for n, id := range i.Config.RootFS.DiffIDs {
		if string(id) == label {
			last = n
			break
		}
	}
	if last < 0 {
		return nil, &CommitError{Labelled: true, Replaced: true, text: fmt.Sprintf("Missing %s %.80s", LabelDiffID, label)}
	}
	if last >= len(i.Layers) {
		return unfit("diffid position %d exceeds layer count %d", last, len(i.Layers))
	}
	return splitCommit(i, last)
}

// splitCommit divides the layers after the first one that equals the last layer of the commit.
func splitCommit(i *Image, last int) (*CommitLayers, error) {
	target := i.Layers[last].Descriptor
	c := &CommitLayers{}
	found := false
	for n := range i.Layers {
		l := &i.Layers[n]
		same := n == last
		if target.Digest != "" {
			same = sameDescriptor(l.Descriptor, target)
		}
		switch {
		case found && same:
			return nil, &CommitError{Labelled: true, text: fmt.Sprintf("Multiple entries for %s", target.Digest)}
		case found:
			c.Derived = append(c.Derived, l)
			continue
		case n == 0:
			c.Commit = l
		default:
			c.Chunks = append(c.Chunks, l)
		}
		found = same
	}
	return c, nil
}

func sameDescriptor(a, b ocispec.Descriptor) bool {
	return a.Digest == b.Digest && a.Size == b.Size && a.MediaType == b.MediaType &&
		maps.Equal(a.Annotations, b.Annotations)
}
