package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// priorImage is what a plan needs of the image that hosts have now.
type priorImage struct {
	plan *chunking.Prior // nil if there is none
	// base is how many layers precede those of the plan.
	base        int
	first       chunking.Key
	firstDiffID string
}

// priorPlan reads the plan of an image: the record in its label, and what of the tree is in those layers that the record does not
// explain, or in all of them where another program made the image. An image that makes no sense is a warning.
func priorPlan(ctx context.Context, image *encapsulate.Prior, format string, tree rootfs.Tree, list lister) (priorImage, []string, error) {
	var p priorImage
	if image == nil || len(image.Layers) == 0 {
		return p, nil, nil
	}
	record, warnings := recordOf(image, format)
	if record == nil && !image.HasLayers() {
		return p, append(warnings, "the prior image is not at hand and has no plan to continue from: name the image itself"), nil
	}
	p.plan = &chunking.Prior{}
	if record != nil {
		p.first = record.First
		p.plan.Components = record.Components
		p.base = len(image.Layers) - len(record.Layers)
	} else if format == formatOSTree {
		p.base = 1
	}
	if p.base > 0 {
		p.firstDiffID = image.Layers[p.base-1].DiffID.String()
	}
	var fetch []int
	for i, l := range image.Layers[p.base:] {
		layer := chunking.PriorLayer{DiffID: l.DiffID.String()}
		if record != nil {
			layer.Components, layer.Key = record.Layers[i].Components, record.Layers[i].Key
		}
		if len(layer.Components) == 0 && image.HasLayers() {
			fetch = append(fetch, i)
		}
		p.plan.Layers = append(p.plan.Layers, layer)
	}
	unread, err := matchLayers(ctx, image, p, fetch, tree, list)
	return p, append(warnings, unread...), err
}

// recordOf returns the record of an image if it has one for this format.
func recordOf(image *encapsulate.Prior, format string) (*chunking.Record, []string) {
	label, ok := image.Config.Config.Labels[chunking.LabelPlan]
	if !ok {
		return nil, nil
	}
	record, err := chunking.ParseRecord(label)
	if err != nil {
		return nil, []string{fmt.Sprintf("the prior image's plan is not understood: %v", err)}
	}
	if record.Format != format {
		return nil, []string{fmt.Sprintf("the prior image has layers of format %s, not %s: all of them change", record.Format, format)}
	}
	if len(record.Layers) > len(image.Layers) {
		return nil, []string{"the prior image's plan is of another image: it has more layers"}
	}
	return record, nil
}

// matchLayers reads the layers which the record does not explain. One that cannot be understood is a warning; one that
// cannot be fetched is an error.
func matchLayers(ctx context.Context, image *encapsulate.Prior, p priorImage, fetch []int, tree rootfs.Tree, list lister) ([]string, error) {
	warnings := make([]string, len(fetch))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for n, i := range fetch {
		g.Go(func() error {
			l := image.Layers[p.base+i]
			entries, err := matchLayer(ctx, image, l, tree, list)
			switch {
			case err == nil:
				p.plan.Layers[i].Foreign, p.plan.Layers[i].Entries = true, entries
			case errors.Is(err, tarfmt.ErrInvalidStream), errors.Is(err, encapsulate.ErrLayerType):
				warnings[n] = fmt.Sprintf("layer %s of the prior image is not understood and made anew: %v", l.Digest, err)
			default:
				return fmt.Errorf("reading layer %s of the prior image: %w", l.Digest, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var out []string
	for _, w := range warnings {
		if w != "" {
			out = append(out, w)
		}
	}
	return out, nil
}

// matchLayer returns what of a tree is in a layer that has nothing else.
func matchLayer(ctx context.Context, image *encapsulate.Prior, l encapsulate.PriorLayer, tree rootfs.Tree, list lister) (entries []uint32, err error) {
	blob, err := image.Open(ctx, l)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	z, err := encapsulate.DecompressAll(l.MediaType, blob)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	entries, all, err := match(tree, list(ctx, z))
	if err != nil || !all {
		return nil, err
	}
	// The rest is read, too: only then the blob's digest is checked.
	_, err = io.Copy(io.Discard, blob)
	return entries, err
}
