package encapsulate

import (
	"context"
	"errors"
	"io"
	"maps"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// LayerSpec says what a layer is to be.
type LayerSpec struct {
	// Name is what the image's history calls the layer.
	Name string
	// Packages go into the layer's annotation; nil means that it has none.
	Packages []string
	// Write writes the tar stream, the same each time.
	Write func(io.Writer) error
	// Size is about that of the tar stream in bytes, for showing progress, or 0 where it is not known.
	Size int64
	// Expected says that the prior image is expected to have this layer. It is made once to see whether that is so.
	Expected bool
	// Held is the layer itself, which stays as it is, unless nil. Nothing is written then.
	Held *Held
	// History is the entry of the image's history, unless nil, instead of Name.
	History *ocispec.History
}

// BuildPlain makes an ordinary image of layers. What Options says of commits and plans does not count; Created must be
// set. Like that of Build, the image is made while it is read.
func BuildPlain(ctx context.Context, layers []LayerSpec, opts Options) (*Image, error) {
	if opts.Created == nil {
		return nil, errors.New("an image needs a time")
	}
	if len(layers) == 0 {
		return nil, errors.New("an image needs a layer")
	}
	i, err := newImage(&opts, len(layers))
	if err != nil {
		return nil, err
	}
	i.labels = maps.Clone(opts.Labels)
	none := &object.Commit{}
	if i.created, err = created(none, &opts); err != nil {
		return nil, err
	}
	if i.container, err = containerConfig(none, &opts); err != nil {
		return nil, err
	}
	if err := checkContainer(i.container); err != nil {
		return nil, err
	}
	return i, i.addLayers(ctx, layers, &opts)
}

// historyEntry is what the history says of a layer.
func (l *layer) historyEntry(created string) map[string]any {
	h := map[string]any{"created": created, "created_by": l.name}
	if l.history == nil {
		return h
	}
	h["created_by"] = l.history.CreatedBy
	if t := l.history.Created; t != nil && !t.IsZero() {
		h["created"] = t.UTC().Format(time.RFC3339Nano)
	}
	if l.history.Author != "" {
		h["author"] = l.history.Author
	}
	if l.history.Comment != "" {
		h["comment"] = l.history.Comment
	}
	return h
}
