package plan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// continuation is what a plan needs of the image that hosts have now.
type continuation struct {
	known *chunking.Prior // nil if there is none
	first chunking.Key    // of the layer with the commit or the directories
	read  []*oci.Layer    // those layers of the plan that were read, by their position there
}

// continueFrom reads the plan of an image: the record in its label, and what of the tree is in the layers that the record does
// not explain, or in all of them where another program made the image. An image that makes no sense is a warning.
func continueFrom(ctx context.Context, image *oci.Image, format string, tree rootfs.Tree, list lister) (continuation, []string, error) {
	var c continuation
	if image == nil || len(image.Layers) == 0 {
		return c, nil, nil
	}
	record, fit, warnings := recordOf(image, format)
	if record == nil && !image.Readable() {
		if len(warnings) == 0 {
			warnings = []string{"the prior image is not at hand and has no plan to continue from: name the image itself"}
		}
		return c, warnings, nil
	}
	c.known = &chunking.Prior{}
	var unexplained []foreign
	if record != nil {
		c.first, c.known.Components = record.First, record.Components
		for i, l := range record.Layers {
			c.known.Layers = append(c.known.Layers, chunking.PriorLayer{Components: l.Components, Key: l.Key})
			if len(l.Components) == 0 && fit == chunking.Fitting {
				unexplained = append(unexplained, foreign{i, &image.Layers[record.At+1+i]})
			}
		}
	}
	others := othersOf(image, format, record, fit)
	if len(others) == 0 && record == nil {
		warnings = append(warnings, "the prior image has no layers of the form that is asked for: all of them change")
	}
	for _, l := range others {
		unexplained = append(unexplained, foreign{len(c.known.Layers), l})
		c.known.Layers = append(c.known.Layers, chunking.PriorLayer{})
	}
	if !image.Readable() {
		return c, warnings, nil
	}
	c.read = make([]*oci.Layer, len(c.known.Layers))
	unread, err := c.match(ctx, image, unexplained, tree, list)
	return c, append(warnings, unread...), err
}

// foreign is a layer that follows no components, at its place in the plan.
type foreign struct {
	at    int
	layer *oci.Layer
}

// othersOf are the layers that a record does not speak of and that may hold what of the tree belongs into a layer: those that
// were put on top of the record's, or all where there is no record. Those of a base are not among them.
func othersOf(image *oci.Image, format string, record *chunking.Record, fit chunking.Fit) []*oci.Layer {
	kind, from := oci.Plain, 0
	if format == formatOSTree {
		kind = oci.Chunk
	}
	switch {
	case record == nil:
	case fit == chunking.Fitting:
		from = record.At + 1 + len(record.Layers)
	default:
		// Nobody knows whether what is left is below or above.
		return nil
	}
	var others []*oci.Layer
	for n := from; n < len(image.Layers); n++ {
		if image.Layers[n].Kind == kind {
			others = append(others, &image.Layers[n])
		}
	}
	return others
}

// recordOf returns the record of an image if it has one for this format that is of its layers.
func recordOf(image *oci.Image, format string) (*chunking.Record, chunking.Fit, []string) {
	label, ok := image.Config.Labels[chunking.LabelRecord]
	if !ok {
		return nil, chunking.Unfit, nil
	}
	record, err := chunking.ParseRecord(label)
	if err != nil {
		return nil, chunking.Unfit, []string{fmt.Sprintf("the prior image's plan is not understood: %v", err)}
	}
	if record.Format != format {
		text := fmt.Sprintf("the prior image has layers of format %s, not %s: all of them change", record.Format, format)
		return nil, chunking.Unfit, []string{text}
	}
	fit := record.Fit(texts(image.Config.RootFS.DiffIDs))
	if fit == chunking.Unfit {
		return nil, fit, []string{"the prior image's plan is of other layers than it has: they were converted or replaced after the " +
			"image was made, and the plan is not continued"}
	}
	return record, fit, nil
}

func texts(diffIDs []digest.Digest) []string {
	out := make([]string, len(diffIDs))
	for i, d := range diffIDs {
		out[i] = d.String()
	}
	return out
}

// match reads layers that no record explains. One that cannot be understood is a warning; one that cannot be fetched is an
// error.
func (c *continuation) match(ctx context.Context, image *oci.Image, layers []foreign, tree rootfs.Tree, list lister) ([]string, error) {
	warnings := make([]string, len(layers))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(1)
	if image.Parallel() {
		g.SetLimit(runtime.GOMAXPROCS(0))
	}
	for n, f := range layers {
		g.Go(func() error {
			entries, err := matchLayer(ctx, image, f.layer, tree, list)
			switch {
			case err == nil:
				c.known.Layers[f.at].Foreign, c.known.Layers[f.at].Entries = true, entries
				c.read[f.at] = f.layer
			case errors.Is(err, tarfmt.ErrInvalidStream), errors.Is(err, oci.ErrLayerType), errors.Is(err, oci.ErrLayerMismatch),
				errors.Is(err, oci.ErrInvalidStream):
				text := "layer %s of the prior image is not understood and made anew: %v"
				warnings[n] = fmt.Sprintf(text, f.layer.Descriptor.Digest, err)
			default:
				return fmt.Errorf("reading layer %s of the prior image: %w", f.layer.Descriptor.Digest, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(warnings, func(w string) bool { return w == "" }), nil
}

// matchLayer returns what of a tree is in a layer that has nothing else.
func matchLayer(ctx context.Context, image *oci.Image, l *oci.Layer, tree rootfs.Tree, list lister) (entries []uint32, err error) {
	err = image.ReadLayer(ctx, l, oci.ReadOptions{Rest: maxRest}, func(r io.Reader) error {
		found, all, err := match(tree, list(ctx, r))
		if err == nil && !all {
			err = oci.ErrStop
		}
		entries = found
		return err
	})
	if errors.Is(err, oci.ErrStop) {
		return nil, nil
	}
	return entries, err
}

// maxRest bounds what follows the archive in a layer of another program, in bytes.
const maxRest = 64 << 20
