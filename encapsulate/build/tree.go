package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/plain"
)

// formatPlain names ordinary layers, in keys.
const formatPlain = "plain-1"

// Base is an image whose layers stay as they are below those of a tree.
type Base struct {
	// Prior is the base image.
	Image *encapsulate.Prior
	// Has reports whether the base has an entry of the tree just so, by index.
	Has func(index int) bool
	// Whiteouts are paths of the base that the tree does not have.
	Whiteouts []string
}

// Tree plans an ordinary image of a root filesystem: what a container runtime unpacks is the tree, but for times, which are
// all the same. Options.Image.Created must be set.
//
// The first layer, or the first above the base, has all directories; each layer has those above its files, too.
func Tree(ctx context.Context, tree rootfs.Tree, base *Base, opts Options) (*Plan, error) {
	if opts.Packing == PackUpstream {
		return nil, errors.New("upstream's packing is for commits: use --packing=cost or --format=ostree")
	}
	hashed, err := rootfs.Hash(ctx, plain.View(tree))
	if err != nil {
		return nil, err
	}
	t := &treeBuild{tree: hashed, base: base}
	p := &Plan{Tree: hashed, opts: opts, image: t.image}
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
	tree   *rootfs.Hashed
	base   *Base
	first  chunking.Reuse
	reuse  []chunking.Reuse
	record string
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
			return fmt.Errorf("%w: the base has %d, which leaves none of %d: raise --max-layers", ErrLayers, len(t.base.Image.Layers), limit+1+len(t.base.Image.Layers))
		}
	}
	prior, warnings, err := priorPlan(ctx, p.opts.Prior, formatPlain, t.tree, plain.List)
	if err != nil {
		return err
	}
	p.Warnings = append(p.Warnings, warnings...)
	a, err := chunking.Arrange(t.tree, p.Set, chunking.ArrangeOptions{
		MaxLayers: limit, Format: formatPlain, ParentDirs: true, Sharing: chunking.ShareLinks,
		UpdateInterval: p.opts.UpdateInterval, Rebalance: p.opts.Rebalance, Prior: prior.plan, Exclude: exclude,
		Density: densities(ctx, t.tree, p.opts.Image.Compression),
	})
	if err != nil {
		return err
	}
	p.Arrangement = a
	p.Warnings = append(p.Warnings, a.Warnings...)
	for _, l := range a.Layers {
		var reuse chunking.Reuse
		if l.Prior >= 0 {
			// Another program's layer was read and has the same files; ours has a key.
			reuse.DiffID = prior.plan.Layers[l.Prior].DiffID
		}
		t.reuse = append(t.reuse, reuse)
	}
	a.Record.First = t.firstKey()
	if a.Record.First == prior.first {
		t.first = chunking.Reuse{DiffID: prior.firstDiffID}
	}
	t.record, err = a.Record.Encode()
	return err
}

// firstKey is the key of the layer with the directories.
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
	opts := p.opts.Image
	opts.Prior = withLayers(p.opts.Prior, t.base)
	var layers []encapsulate.PlainLayer
	if t.base != nil {
		for _, l := range t.base.Image.Layers {
			history := l.History
			layers = append(layers, encapsulate.PlainLayer{Name: "base", History: history, Reuse: chunking.Reuse{DiffID: l.DiffID.String()}})
		}
	}
	var first []uint32
	for i, e := range t.tree.Entries().All() {
		if t.base != nil && t.base.Has(i) {
			continue
		}
		if e.IsDir() || p.Arrangement == nil {
			first = append(first, uint32(i))
		}
	}
	layers = append(layers, t.layer(ctx, firstName(p), nil, first, t.first, t.whiteouts()))
	if p.Arrangement != nil {
		for n, l := range p.Arrangement.Layers {
			layers = append(layers, t.layer(ctx, layerName(l.Components), l.Packages, l.Entries, t.reuse[n], nil))
		}
		opts.ConfigLabels = map[string]string{chunking.LabelPlan: t.record}
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

func (t *treeBuild) layer(ctx context.Context, name string, packages []string, indexes []uint32, reuse chunking.Reuse, whiteouts []string) encapsulate.PlainLayer {
	var size int64
	for _, i := range indexes {
		size += t.tree.Entries().At(int(i)).Size
	}
	return encapsulate.PlainLayer{Name: name, Packages: packages, Size: size, Reuse: reuse, Write: func(w io.Writer) error {
		return plain.Write(ctx, w, t.tree, indexes, plain.Options{Whiteouts: whiteouts})
	}}
}

// withLayers is the prior image with the layers of the base, which are taken over in any case.
func withLayers(prior *encapsulate.Prior, base *Base) *encapsulate.Prior {
	switch {
	case base == nil:
		return prior
	case prior == nil:
		return base.Image
	}
	return prior.With(base.Image)
}
