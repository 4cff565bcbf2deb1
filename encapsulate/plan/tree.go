package plan

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/plain"
)

// formatPlain is the format of ordinary layers. It is part of keys.
const formatPlain = "plain-1"

// Base is a base image. Its layers stay as they are, below the layers of a tree.
type Base struct {
	Image *oci.Image
	// Has reports whether the base has the same entry as the tree, given the index in the tree.
	Has func(index int) bool
	// Whiteouts are paths of the base that the tree does not have.
	Whiteouts []string
}

// Tree plans an ordinary image of a root filesystem. A container runtime that unpacks it gets the tree, except that
// all times are the same. Options.Image.Created must be set.
//
// The first layer, or the first above the base, has all directories. Every layer also has the directories above its
// files.
func Tree(ctx context.Context, tree rootfs.Tree, base *Base, opts Options) (*Plan, error) {
	if opts.Packing == PackUpstream {
		return nil, errors.New("upstream's packing is for commits: use --packing=cost or --format=ostree")
	}
	if err := plain.CheckNames(tree.Entries()); err != nil {
		return nil, err
	}
	hashed, err := rootfs.Hash(ctx, plain.View(tree))
	if err != nil {
		return nil, err
	}
	t := &treeBuild{tree: hashed, base: base}
	p := &Plan{Tree: hashed, opts: opts, image: t.image}
	if base != nil {
		p.inBase = base.Has
	}
	if opts.SingleLayer {
		return p, nil
	}
	if p.Set, err = component.Detect(ctx, tree, opts.Components); err != nil {
		return nil, err
	}
	p.Warnings = append(p.Warnings, p.Set.Warnings...)
	return p, t.arrange(ctx, p)
}

type treeBuild struct {
	tree     *rootfs.Hashed
	base     *Base
	expected bool // the prior image is expected to have the first layer
	prior    continuation
}

func (t *treeBuild) arrange(ctx context.Context, p *Plan) error {
	limit, err := p.opts.maxLayers()
	if err != nil {
		return err
	}
	limit--
	var exclude func(int) bool
	if t.base != nil {
		exclude = t.base.Has
		if limit -= len(t.base.Image.Layers); limit < 1 {
			below := len(t.base.Image.Layers)
			return fmt.Errorf("%w: the base has %d of at most %d: raise --max-layers", ErrLayers, below, limit+1+below)
		}
	}
	prior, warnings, err := continueFrom(ctx, p.opts.Prior, formatPlain, t.tree, plain.List)
	if err != nil {
		return err
	}
	p.Warnings = append(p.Warnings, warnings...)
	a, err := chunking.Arrange(t.tree, p.Set, chunking.ArrangeOptions{
		MaxChunks: limit, Format: formatPlain, ParentDirs: true, Sharing: chunking.ShareLinks,
		UpdateInterval: p.opts.UpdateInterval, Rebalance: p.opts.Rebalance, Prior: prior.known, Exclude: exclude,
		Density: densities(ctx, t.tree, p.opts.Image.Compression),
	})
	if err != nil {
		return err
	}
	p.Arrangement = a
	p.Warnings = append(p.Warnings, a.Warnings...)
	a.Record.First = t.firstKey()
	t.expected, t.prior = a.Record.First == prior.first, prior
	return p.listPackages(p.Set.Installed)
}

// firstKey returns the key of the layer with the directories.
func (t *treeBuild) firstKey() (k chunking.Key) {
	h := sha256.New()
	fmt.Fprintf(h, "%s first\x00", formatPlain)
	for _, e := range t.tree.Entries().All() {
		if e.IsDir() {
			fmt.Fprintf(h, "%q %d %d %o ", e.Path(), e.UID, e.GID, e.Mode)
			h.Write(object.EncodeXattrs(e.Xattrs))
		}
	}
	if t.base != nil {
		fmt.Fprintf(h, "%q", t.base.Whiteouts)
	}
	copy(k[:], h.Sum(nil))
	return k
}

// image makes the image of the plan.
func (t *treeBuild) image(ctx context.Context, p *Plan) (*encapsulate.Image, error) {
	var layers []encapsulate.LayerSpec
	if t.base != nil {
		for i := range t.base.Image.Layers {
			l := &t.base.Image.Layers[i]
			held := &encapsulate.Held{Image: t.base.Image, Layer: l}
			layers = append(layers, encapsulate.LayerSpec{Name: "base", History: l.History, Held: held})
		}
	}
	opts := p.imageOptions(len(layers))
	var first []uint32
	for i, e := range t.tree.Entries().All() {
		if t.base != nil && t.base.Has(i) {
			continue
		}
		if e.IsDir() || p.Arrangement == nil {
			first = append(first, uint32(i))
		}
	}
	layers = append(layers, t.layer(ctx, firstName(p), nil, first, t.expected, t.whiteouts()))
	if p.Arrangement != nil {
		for i := range p.Arrangement.Layers {
			l := &p.Arrangement.Layers[i]
			spec := t.layer(ctx, layerName(l.Components), l.Packages, l.Entries, l.Prior >= 0, nil)
			if p.opts.Annotate != nil {
				spec.Annotations = p.opts.Annotate(l)
			}
			if l.Prior >= 0 && t.prior.known.Layers[l.Prior].Foreign {
				// Another program wrote this layer, in its own way. It was read, and has exactly these files.
				spec.Held = &encapsulate.Held{Image: p.opts.Prior, Layer: t.prior.read[l.Prior]}
			}
			layers = append(layers, spec)
		}
	}
	return encapsulate.BuildPlain(ctx, layers, opts)
}

func firstName(p *Plan) string {
	if p.Arrangement == nil {
		return "the root filesystem"
	}
	return "directories"
}

func (t *treeBuild) whiteouts() []string {
	if t.base == nil {
		return nil
	}
	return t.base.Whiteouts
}

func (t *treeBuild) layer(
	ctx context.Context, name string, packages []string, indexes []uint32, expected bool, whiteouts []string,
) encapsulate.LayerSpec {
	var size int64
	for _, i := range indexes {
		size += t.tree.Entries().At(int(i)).Size
	}
	write := func(w io.Writer) error {
		return plain.Write(ctx, w, t.tree, indexes, plain.Options{Whiteouts: whiteouts})
	}
	return encapsulate.LayerSpec{Name: name, Packages: packages, Size: size, Expected: expected, Write: write}
}
