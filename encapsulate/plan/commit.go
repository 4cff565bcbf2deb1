package plan

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/chunking/upstream"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

// Plan describes an image that can be made. Its fields are for display and must not be changed.
type Plan struct {
	// Tree is the tree in the image. It is nil for a commit in one layer.
	Tree rootfs.Tree
	// Set is the set of components found in the tree. It is nil for an image with one layer.
	Set *component.Set
	// Arrangement says what goes into which layer after the first. It is nil if nothing was arranged.
	Arrangement *chunking.Arrangement
	// Packed are the layers after the first, and what is in them, if upstream's packing chose them. Otherwise it is nil.
	Packed *chunking.Split
	// Warnings are messages for the user.
	Warnings []string

	opts Options
	// inBase reports whether the base has an entry, if there is one.
	inBase func(index int) bool
	// Labels of the configuration, or "": the installed packages, and what /boot needs.
	packages, bootBytes string
	image               func(ctx context.Context, p *Plan) (*encapsulate.Image, error)
}

// Image makes the image. The context also applies to reading the layers.
func (p *Plan) Image(ctx context.Context) (*encapsulate.Image, error) { return p.image(ctx, p) }

// imageOptions returns the options for making the image. at is the position of the first layer that the record
// describes.
func (p *Plan) imageOptions(at int) encapsulate.Options {
	opts := p.opts.Image
	if prior := p.opts.Prior; prior != nil && (prior.Readable() || p.opts.KeepUnreadable) {
		opts.Prior = prior
	}
	if p.Arrangement != nil {
		others := opts.ConfigLabels
		opts.ConfigLabels = func(diffIDs []digest.Digest) (map[string]string, error) {
			record := p.Arrangement.Record
			if err := record.Bind(at, texts(diffIDs)); err != nil {
				return nil, err
			}
			text, err := record.Encode()
			labels := map[string]string{}
			if err == nil && others != nil {
				labels, err = others(diffIDs)
			}
			if err != nil {
				return nil, err
			}
			labels[chunking.LabelRecord] = text
			for name, value := range map[string]string{
				chunking.LabelPackages: p.packages, oci.LabelBootBytes: p.bootBytes,
			} {
				if value != "" {
					labels[name] = value
				}
			}
			return labels, nil
		}
	}
	return opts
}

// formatOSTree is the format of layers that hold objects. It is part of keys.
const formatOSTree = "ostree-1"

// Commit plans the image of a commit. If no components are found, the image has one layer.
func Commit(ctx context.Context, src repo.Source, commit object.Checksum, opts Options) (*Plan, error) {
	c := &commitBuild{src: src, commit: commit}
	p := &Plan{opts: opts, image: c.image}
	if opts.SingleLayer {
		return p, nil
	}
	var err error
	if p.Tree, err = rootfs.Commit(ctx, src, commit); err != nil {
		return nil, err
	}
	if opts.Mapping != nil {
		p.Set, err = mappedSet(p.Tree, opts.Mapping)
	} else {
		p.Set, err = component.Detect(ctx, p.Tree, opts.Components)
	}
	if err != nil {
		return nil, err
	}
	p.Warnings = append(p.Warnings, p.Set.Warnings...)
	if opts.Mapping == nil && !anyOwner(p.Set) {
		p.Warnings = append(p.Warnings,
			"no package database and no other components were found: the image has a single layer")
		p.Tree, p.Set = nil, nil
		return p, nil
	}
	if opts.Packing == PackUpstream {
		return p, c.packUpstream(ctx, p)
	}
	return p, c.arrange(ctx, p)
}

// anyOwner reports whether any file belongs to a component that was found, rather than to the remainder.
func anyOwner(set *component.Set) bool {
	return slices.ContainsFunc(set.Claims, func(c component.Claim) bool {
		return c.Component >= 0 && !slices.Contains(component.Fallbacks, set.Reasons[c.Reason].Detector)
	})
}

type commitBuild struct {
	src    repo.Source
	commit object.Checksum
	split  *chunking.Split
}

// arrange plans by cost.
func (c *commitBuild) arrange(ctx context.Context, p *Plan) error {
	limit, err := p.opts.maxLayers()
	if err != nil {
		return err
	}
	prior, warnings, err := continueFrom(ctx, p.opts.Prior, formatOSTree, p.Tree, listObjects)
	if err != nil {
		return err
	}
	p.Warnings = append(p.Warnings, warnings...)
	a, err := chunking.Arrange(p.Tree, p.Set, chunking.ArrangeOptions{
		MaxChunks: limit - 1, Format: formatOSTree, ParentDirs: p.opts.Image.ParentDirs, Sharing: chunking.ShareObjects,
		UpdateInterval: p.opts.UpdateInterval, Rebalance: p.opts.Rebalance, Prior: prior.known,
		Density: densities(ctx, p.Tree, p.opts.Image.Compression),
	})
	if err != nil {
		return err
	}
	p.Arrangement = a
	p.Warnings = append(p.Warnings, a.Warnings...)
	installed := p.Set.Installed
	if p.opts.Mapping != nil {
		var warnings []string
		if installed, warnings, err = component.Packages(ctx, p.Tree); err != nil {
			return err
		}
		p.Warnings = append(p.Warnings, warnings...)
	}
	if err := p.listPackages(installed); err != nil {
		return err
	}
	if err := c.measureBoot(ctx, p); err != nil {
		return err
	}
	c.split = &chunking.Split{}
	for _, l := range a.Layers {
		c.split.Layers = append(c.split.Layers, chunking.Layer{
			Name: layerName(l.Components), Packages: l.Packages, Content: newContent(p.Tree.Entries(), l.Entries),
			Size: int64(l.Size), Expected: l.Prior >= 0,
		})
	}
	if a.Record.First, err = c.firstKey(ctx, p.opts.Image.ParentDirs); err != nil {
		return err
	}
	c.split.FirstExpected = a.Record.First == prior.first
	return nil
}

// measureBoot makes the label with the room that a kernel needs. It stays empty if nothing can be booted.
func (c *commitBuild) measureBoot(ctx context.Context, p *Plan) error {
	n, err := sysroot.BootBytes(ctx, c.src, c.commit)
	for _, unfit := range []error{repo.ErrNoKernel, repo.ErrSeveralKernel, sysroot.ErrInvalid} {
		if errors.Is(err, unfit) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("measuring the kernel: %w", err)
	}
	p.bootBytes = strconv.FormatInt(n, 10)
	return nil
}

// firstKey returns the key of the first layer, which holds the commit with all its metadata.
func (c *commitBuild) firstKey(ctx context.Context, parentDirs bool) (k chunking.Key, err error) {
	meta, err := c.src.Metadata(ctx, object.Name{Checksum: c.commit, Type: object.TypeCommitMeta})
	if err != nil && !errors.Is(err, repo.ErrObjectNotFound) {
		return k, err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s first\x00%t\x00%s\x00", formatOSTree, parentDirs, c.commit)
	h.Write(meta)
	copy(k[:], h.Sum(nil))
	return k, nil
}

// image makes the image of the plan.
func (c *commitBuild) image(ctx context.Context, p *Plan) (*encapsulate.Image, error) {
	opts := p.imageOptions(0)
	if c.split != nil {
		opts.Split = c.split
	}
	return encapsulate.Build(ctx, c.src, c.commit, opts)
}

// packUpstream plans with upstream's packing.
func (c *commitBuild) packUpstream(ctx context.Context, p *Plan) error {
	mapping := p.opts.Mapping
	if mapping == nil {
		mapping = upstreamMapping(p.Tree, p.Set)
	} else {
		clone := *mapping
		mapping = &clone
	}
	if p.opts.MaxLayers > 0 {
		mapping.MaxChunks = p.opts.MaxLayers
	}
	var bins [][]string
	if prior := p.opts.Prior; prior != nil {
		var annotations []map[string]string
		for _, l := range prior.Layers {
			annotations = append(annotations, l.Descriptor.Annotations)
		}
		var err error
		if bins, err = upstream.PriorBins(annotations); err != nil {
			return fmt.Errorf("prior image: %w: leave it out with --prior=none", err)
		}
	}
	content, err := repo.CommitContent(ctx, c.src, c.commit)
	if err != nil {
		return err
	}
	if c.split, err = mapping.Split(content, bins); err != nil {
		return err
	}
	if p.opts.Prior != nil {
		expectByPackages(c.split, p.opts.Prior)
	}
	p.Packed = c.split
	return nil
}

// expectByPackages marks as expected each layer for which the prior image has a layer with the same packages.
func expectByPackages(s *chunking.Split, prior *oci.Image) {
	had := map[string]bool{}
	for _, l := range prior.Layers {
		had[l.Descriptor.Annotations[upstream.AnnotationComponents]] = true
	}
	for i := range s.Layers {
		names := strings.Join(slices.Sorted(slices.Values(s.Layers[i].Packages)), ",")
		s.Layers[i].Expected = names != "" && had[names]
	}
}

// layerName returns the name of a layer in the history.
func layerName(components []string) string {
	if n := len(components); n > 5 {
		return fmt.Sprintf("%d components: %s and others", n, strings.Join(components[:3], ", "))
	}
	return strings.Join(components, " and ")
}
