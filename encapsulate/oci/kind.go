package oci

import (
	"errors"
	"fmt"
	"maps"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Kind says what a layer is.
type Kind uint8

// The kinds.
const (
	// Plain is a layer of an image that holds no commit.
	Plain Kind = iota + 1
	// Commit is the layer with the commit, its trees and the objects that no chunk has.
	Commit
	// Chunk is a layer with more objects of the commit.
	Chunk
	// Derived is a layer that was put on top of those of the commit.
	Derived
	// Unknown is a layer whose media type this program cannot read, wherever it stands.
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

// ErrNotEncapsulated is wrapped by errors about images that hold no commit, or other layers besides.
var ErrNotEncapsulated = errors.New("not an encapsulated commit")

// CommitError says why no commit can be found in an image. It wraps [ErrNotEncapsulated].
type CommitError struct {
	// Labelled says that the image claims to hold a commit all the same.
	Labelled bool
	// Replaced says that the label names a diff-id that no layer has: the layers were converted or replaced after the image
	// was made.
	Replaced bool
	text     string
}

// Error implements error in words that users of upstream know.
func (e *CommitError) Error() string { return e.text }

// Unwrap returns [ErrNotEncapsulated].
func (e *CommitError) Unwrap() error { return ErrNotEncapsulated }

// CommitLayers are the layers of an image that holds a commit, in their order.
type CommitLayers struct {
	Commit  *Layer
	Chunks  []*Layer
	Derived []*Layer
}

// CommitLayers tells the layers of a commit's image apart. The error is a [*CommitError].
func (i *Image) CommitLayers() (*CommitLayers, error) { return i.commit, i.unfit }

// kind is what the layer at an index is.
func (i *Image) kind(n int) Kind {
	switch {
	case i.Layers[n].Descriptor.MediaType != "" && !CanDecompress(i.Layers[n].Descriptor.MediaType):
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

// findCommit finds the layers of the commit. The label may name a diff-id that several layers share: the first of them
// counts, as for every other reader.
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

// splitCommit divides the layers behind the first that equals the last layer of the commit.
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
	return a.Digest == b.Digest && a.Size == b.Size && a.MediaType == b.MediaType && maps.Equal(a.Annotations, b.Annotations)
}
