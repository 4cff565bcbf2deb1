package encapsulate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/internal/progress"
)

// Prior is the image that hosts have now. Layers that are in it are taken over as they are, whatever compressed them.
type Prior struct {
	Layers []PriorLayer
	// Config is the image's configuration.
	Config *v1.ConfigFile
	// Annotations are those of the manifest.
	Annotations map[string]string
	open        func(context.Context, PriorLayer) (io.ReadCloser, error)
	others      []PriorLayer // of another image, which may be taken over, too
}

// With returns the image with the layers of another that may be taken over, too.
func (p *Prior) With(other *Prior) *Prior {
	if !p.HasLayers() {
		return other
	}
	both := *p
	both.others = slices.Concat(p.others, other.Layers)
	theirs := map[v1.Hash]bool{}
	for _, l := range other.Layers {
		theirs[l.Digest] = true
	}
	both.open = func(ctx context.Context, l PriorLayer) (io.ReadCloser, error) {
		if theirs[l.Digest] {
			return other.open(ctx, l)
		}
		return p.open(ctx, l)
	}
	return &both
}

// ErrNoImage says that a document is neither a manifest nor an image's configuration. It is wrapped.
var ErrNoImage = errors.New("neither the manifest nor the configuration of an image")

// ParsePrior reads what is left of an image whose layers are not at hand: its configuration, which has the plan and the
// diff-ids, or its manifest, whose annotations are all that upstream's packing asks for. No layer can be taken over.
func ParsePrior(data []byte) (*Prior, error) {
	var form struct {
		Layers []v1.Descriptor `json:"layers"`
		RootFS *v1.RootFS      `json:"rootfs"`
	}
	if err := json.Unmarshal(data, &form); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoImage, err)
	}
	switch {
	case form.RootFS != nil && len(form.RootFS.DiffIDs) > 0:
		config := &v1.ConfigFile{}
		if err := json.Unmarshal(data, config); err != nil {
			return nil, fmt.Errorf("image configuration: %w", err)
		}
		return newPrior(&v1.Manifest{Layers: make([]v1.Descriptor, len(config.RootFS.DiffIDs))}, config, nil)
	case len(form.Layers) > 0:
		config := &v1.ConfigFile{RootFS: v1.RootFS{DiffIDs: make([]v1.Hash, len(form.Layers))}}
		return newPrior(&v1.Manifest{Layers: form.Layers}, config, nil)
	}
	return nil, ErrNoImage
}

// HasLayers reports whether the layers can be read, and so taken over.
func (p *Prior) HasLayers() bool { return p.open != nil }

// PriorLayer is a layer of a prior image.
type PriorLayer struct {
	DiffID, Digest v1.Hash
	// Size is that of the blob in bytes.
	Size        int64
	MediaType   types.MediaType
	Annotations map[string]string
	// History is what the configuration says of the layer, nil if it says nothing.
	History *v1.History
}

// NewPrior reads an image's manifest and configuration. open returns the blob of a layer and checks it.
func NewPrior(manifest, config []byte, open func(context.Context, PriorLayer) (io.ReadCloser, error)) (*Prior, error) {
	m, c := &v1.Manifest{}, &v1.ConfigFile{}
	if err := json.Unmarshal(manifest, m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if err := json.Unmarshal(config, c); err != nil {
		return nil, fmt.Errorf("image configuration: %w", err)
	}
	return newPrior(m, c, open)
}

func newPrior(m *v1.Manifest, config *v1.ConfigFile, open func(context.Context, PriorLayer) (io.ReadCloser, error)) (*Prior, error) {
	p := &Prior{Config: config, Annotations: m.Annotations, open: open}
	if got, want := len(config.RootFS.DiffIDs), len(m.Layers); got != want {
		return nil, fmt.Errorf("the configuration has %d diff-ids for %d layers", got, want)
	}
	var history []*v1.History
	for i := range p.Config.History {
		if !p.Config.History[i].EmptyLayer {
			history = append(history, &p.Config.History[i])
		}
	}
	for i, d := range m.Layers {
		l := PriorLayer{DiffID: p.Config.RootFS.DiffIDs[i], Digest: d.Digest, Size: d.Size, MediaType: ociLayer(d.MediaType), Annotations: d.Annotations}
		if len(history) == len(m.Layers) {
			l.History = history[i]
		}
		p.Layers = append(p.Layers, l)
	}
	return p, nil
}

// Open returns the blob of one of the layers.
func (p *Prior) Open(ctx context.Context, l PriorLayer) (io.ReadCloser, error) { return p.open(ctx, l) }

// ociLayer is the media type that a layer has in an OCI image.
func ociLayer(t types.MediaType) types.MediaType {
	switch t {
	case types.DockerLayer:
		return types.OCILayer
	case types.DockerUncompressedLayer:
		return types.OCIUncompressedLayer
	}
	return t
}

// reuse finds the layers that the prior image has. Those that have to be looked at are made, but not compressed.
func (i *Image) reuse(ctx context.Context, specs []PlainLayer, prior *Prior) error {
	if prior == nil || !prior.HasLayers() {
		return nil
	}
	byDiffID := map[string]*PriorLayer{}
	for n := range prior.Layers {
		byDiffID[prior.Layers[n].DiffID.String()] = &prior.Layers[n]
	}
	for n := range prior.others {
		byDiffID[prior.others[n].DiffID.String()] = &prior.others[n]
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for n, spec := range specs {
		had := byDiffID[spec.Reuse.DiffID]
		if had == nil || spec.Reuse.DiffID == "" {
			continue
		}
		l := i.layers[n]
		g.Go(func() error {
			if spec.Reuse.Verify {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := l.hash(io.Discard); err != nil {
					return err
				}
				if *l.diffID != had.DiffID {
					return nil
				}
			}
			l.take(had, prior.open)
			l.emit(progress.Event{Kind: progress.Present, Layer: l.index, Name: l.name, Total: had.Size})
			return nil
		})
	}
	return g.Wait()
}

// take makes the layer that of the prior image.
func (l *layer) take(had *PriorLayer, open func(context.Context, PriorLayer) (io.ReadCloser, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken, l.open = had, open
	l.sums, l.diffID = &sums{diffID: had.DiffID, digest: had.Digest, size: had.Size}, &had.DiffID
}

// Reused reports whether the layer at an index was taken over from the prior image.
func (i *Image) Reused(index int) bool { return i.layers[index].taken != nil }
