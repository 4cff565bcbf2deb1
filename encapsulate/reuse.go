package encapsulate

import (
	"context"
	"io"
	"runtime"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
)

// Held is a layer of an existing image.
type Held struct {
	Image *oci.Image
	Layer *oci.Layer
}

// reuse takes over layers of the prior image. LayerSpec.Expected is a hint: each expected layer is made once, without
// being compressed, and is taken over if the prior image has a layer with the same diff-id. So what the prior image
// claims affects time, never content.
func (i *Image) reuse(ctx context.Context, specs []LayerSpec, opts *Options) error {
	prior := opts.Prior
	byDiffID := map[digest.Digest]*oci.Layer{}
	if prior != nil {
		for n := range prior.Layers {
			// A layer whose media type cannot be read is not taken over.
			if l := &prior.Layers[n]; l.Kind != oci.Unknown && byDiffID[l.DiffID] == nil {
				byDiffID[l.DiffID] = l
			}
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for n, spec := range specs {
		l := i.layers[n]
		if spec.Held != nil {
			l.take(*spec.Held)
			continue
		}
		if !spec.Expected || len(byDiffID) == 0 {
			continue
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := l.hash(ctxio.Writer(ctx, io.Discard)); err != nil {
				return err
			}
			had := byDiffID[l.diffID]
			if had == nil || !prior.Labelled(ctx, had) {
				return nil
			}
			held := Held{Image: prior, Layer: had}
			if opts.CheckHeld != nil {
				if ok, err := opts.CheckHeld(ctx, held); err != nil || !ok {
					return err
				}
			}
			l.take(held)
			return nil
		})
	}
	return g.Wait()
}

// take replaces the layer by an existing one.
func (l *layer) take(h Held) {
	l.mu.Lock()
	l.held, l.diffID = &h, h.Layer.DiffID
	if d := h.Layer.Descriptor; d.Digest != "" {
		l.sums = &sums{digest: d.Digest, size: d.Size}
	}
	l.mu.Unlock()
	l.emit(progress.Event{
		Kind: progress.Present, Image: l.image, Layer: l.index, Name: l.name, Total: h.Layer.Descriptor.Size,
	})
}

// Held returns the existing layer that is taken over at an index, or nil if the layer is made.
func (i *Image) Held(index int) *Held { return i.layers[index].held }
