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

// LayerSpec describes a layer to make.
type LayerSpec struct {
	// Name is the layer's name in the image's history.
	Name string
	// Packages are listed in one of the layer's annotations. If it is nil, the layer does not have that one.
	Packages []string
	// Annotations are more annotations of the layer.
	Annotations map[string]string
	// Write writes the tar stream. It may be called more than once, and must write the same bytes each time.
	Write func(io.Writer) error
	// Size is the approximate size of the tar stream in bytes, for progress, or 0 if it is not known.
	Size int64
	// Expected says that the prior image is expected to have this layer. The layer is then made once, without
	// compressing it, to find out.
	Expected bool
	// Held is an existing layer to use as it is, or nil. If it is set, Write is not called.
	Held *Held
	// History is the layer's entry in the image's history. If it is nil, the entry is made from Name.
	History *ocispec.History
}

// BuildPlain returns an ordinary image with the given layers. It ignores the options about commits and plans. Created
// must be set. As with [Build], the layers are generated while they are read.
func BuildPlain(ctx context.Context, layers []LayerSpec, opts Options) (*Image, error) {
	if opts.Created == nil {
		return nil, errors.New("Options.Created is not set")
	}
	if len(layers) == 0 {
		return nil, errors.New("an image needs at least one layer")
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

// historyEntry returns the layer's entry in the history.
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
