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

// continuation is what a plan uses of the image that hosts have now.
type continuation struct {
	known *chunking.Prior // nil if there is nothing to continue from
	first chunking.Key    // key of the layer with the commit or the directories
	read  []*oci.Layer    // the layers that were read, by their position in known.Layers; nil for the others
}

// continueFrom reads the plan of an image. It parses the record in the image's label, and reads the layers that the
// record does not cover to find out which entries of the tree they hold. If another program made the image, these are
// all layers. An image that cannot be used gives a warning.
func continueFrom(
	ctx context.Context, image *oci.Image, format string, tree rootfs.Tree, list lister,
) (continuation, []string, error) {
	var c continuation
	if image == nil || len(image.Layers) == 0 {
		return c, nil, nil
	}
	record, fit, warnings := recordOf(image, format)
	if record == nil && !image.Readable() {
		if len(warnings) == 0 {
			warnings = []string{"the prior image has no plan to continue from, and its layers cannot be read: " +
				"name the image itself"}
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
	others := unrecordedLayers(image, format, record, fit)
	if len(others) == 0 && record == nil {
		warnings = append(warnings, "the prior image has no layers of the requested format: all of them change")
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

// foreign is a layer that does not follow components, and its position in the plan.
type foreign struct {
	at    int
	layer *oci.Layer
}

// unrecordedLayers returns the layers of an image that its record does not cover and that may hold files of the tree:
// the layers above those of the record, or all layers if there is no record. Layers of a base are left out.
func unrecordedLayers(image *oci.Image, format string, record *chunking.Record, fit chunking.Fit) []*oci.Layer {
	kind, from := oci.Plain, 0
	if format == formatOSTree {
		kind = oci.Chunk
	}
	switch {
	case record == nil:
	case fit == chunking.Fitting:
		from = record.At + 1 + len(record.Layers)
	default:
		// It is not known whether the other layers are below or above.
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

// recordOf returns the record of an image if it has the given format and fits the layers of the image.
func recordOf(image *oci.Image, format string) (*chunking.Record, chunking.Fit, []string) {
	label, ok := image.Config.Labels[chunking.LabelRecord]
	if !ok {
		return nil, chunking.Unfit, nil
	}
	record, err := chunking.ParseRecord(label)
	if err != nil {
		return nil, chunking.Unfit, []string{fmt.Sprintf("the prior image's plan cannot be read: %v", err)}
	}
	if record.Format != format {
		text := fmt.Sprintf("the prior image has layers of format %s, not %s: all of them change", record.Format, format)
		return nil, chunking.Unfit, []string{text}
	}
	fit := record.Fit(texts(image.Config.RootFS.DiffIDs))
	if fit == chunking.Unfit {
		return nil, fit, []string{"the prior image's plan describes other layers than the image has: " +
			"they were converted or replaced after the image was made, and the plan is not continued"}
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

// match reads layers that no record covers. An invalid layer gives a warning, a layer that cannot be fetched an
// error.
func (c *continuation) match(
	ctx context.Context, image *oci.Image, layers []foreign, tree rootfs.Tree, list lister,
) ([]string, error) {
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
				text := "layer %s of the prior image cannot be read and is made again: %v"
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

// matchLayer returns the entries of a tree that are in a layer, or none if the layer has anything else.
func matchLayer(
	ctx context.Context, image *oci.Image, l *oci.Layer, tree rootfs.Tree, list lister,
) (entries []uint32, err error) {
	err = image.ReadLayer(ctx, l, oci.ReadOptions{Rest: maxRest, Strict: true}, func(r io.Reader) error {
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

// maxRest is how many bytes may follow the archive in a layer of another program.
const maxRest = 64 << 20
