package chunk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/container/dest/layout"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Names of files.
const (
	// ResultFile is that of the result, in its directory.
	ResultFile = "result.json"
	// RequestFile is that of the request.
	RequestFile = "request.json"
)

// Dirs are the directories that the step reads and writes.
type Dirs struct {
	// In is a root filesystem, or has a repository.
	In string
	// Base is the root filesystem of the base image; empty unless its layers are kept.
	Base string
	// Layout is where the image goes. It must be empty.
	Layout string
	// Result is where the result goes.
	Result string
}

// Run does what a request asks for. What it tells people goes to the writer. What is wrong with the request or with the input
// is told in the result; an error means that the builder failed, and that the same step could succeed another time.
func Run(ctx context.Context, req Request, dirs Dirs, tell io.Writer) error {
	t := &teller{w: tell}
	result, err := run(ctx, req, dirs, t)
	var system syscall.Errno
	switch {
	case err == nil:
	case ctx.Err() != nil, errors.As(err, &system) && !errors.Is(err, fs.ErrNotExist):
		return err
	default:
		t.line("error: %v", err)
		result = &Result{Error: err.Error()}
	}
	data, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dirs.Result, ResultFile), data, 0o644)
}

func run(ctx context.Context, req Request, dirs Dirs, t *teller) (*Result, error) {
	if err := req.Options.Check(); err != nil {
		return nil, err
	}
	opts, err := req.buildOptions(t)
	if err != nil {
		return nil, err
	}
	opts.Image.Progress = t.event
	p, closeInput, err := req.plan(ctx, dirs, opts, t)
	if err != nil {
		return nil, err
	}
	defer closeInput()
	t.warnings = append(t.warnings, p.Warnings...)
	img, err := p.Image(ctx)
	if err != nil {
		return nil, err
	}
	if err := write(ctx, img, dirs.Layout); err != nil {
		return nil, err
	}
	result, err := describe(img, req, opts.Prior, t)
	if err != nil {
		return nil, err
	}
	result.Author = req.Author
	t.summary(result, opts.Prior)
	return result, nil
}

// buildOptions are those of the shared plan.
func (r *Request) buildOptions(t *teller) (opts plan.Options, err error) {
	o := r.Options
	opts.SingleLayer, opts.MaxLayers, opts.Components.Strict = o.SingleLayer, o.MaxLayers, o.Strict
	opts.Image = encapsulate.Options{
		CopyMetaKeys: o.CopyMeta, CopyMetaOptKeys: o.CopyMetaOpt, Config: r.Config, Created: r.Created, Platform: &r.Platform, Level: o.Level,
	}
	if o.Fast {
		opts.Image.Level = encapsulate.FastLevel
	}
	var errs [4]error
	if o.Compression != "" {
		opts.Image.Compression, errs[0] = encapsulate.ParseCompression(o.Compression)
	}
	if o.Packing != "" {
		opts.Packing, errs[1] = plan.ParsePacking(o.Packing)
	}
	if o.Rebalance != "" {
		opts.Rebalance, errs[2] = plan.ParseRebalance(o.Rebalance)
	}
	if o.UpdateInterval != "" {
		opts.UpdateInterval, errs[3] = plan.ParseInterval(o.UpdateInterval)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return opts, fmt.Errorf("%w: %w", ErrOption, err)
	}
	if len(r.Mapping) > 0 {
		if opts.Components.Rules, err = component.ParseRules(r.Mapping); err != nil {
			return opts, fmt.Errorf("mapping: %w", err)
		}
	}
	if len(r.Prior) > 0 {
		if opts.Prior, err = held(r.Prior, r.PriorLayers); err != nil {
			t.warnings = append(t.warnings, fmt.Sprintf("the prior image is not understood, and layers are planned afresh: %v", err))
			return opts, nil
		}
		// Without its manifest, the plan continues from it, and no layer is taken.
		opts.HeldElsewhere = len(r.PriorLayers) > 0
	}
	return opts, err
}

// held is an image whose layers the builder has and this step has not.
func held(config []byte, layers []ocispec.Descriptor) (*oci.Image, error) {
	img, err := oci.New(oci.Document{}, ocispec.Manifest{Layers: layers}, config, nil)
	if err != nil {
		return nil, err
	}
	if len(img.Layers) == 0 {
		return nil, errors.New("it has no layers")
	}
	return img, img.CheckLayers()
}

// plan plans the image of what is in the input. The input must be closed when the image was written.
func (r *Request) plan(ctx context.Context, dirs Dirs, opts plan.Options, t *teller) (p *plan.Plan, closeInput func() error, err error) {
	if r.Options.Ref != "" {
		return r.planCommit(ctx, dirs.In, opts)
	}
	dir, err := rootfs.Dir(ctx, dirs.In)
	if err != nil {
		return nil, nil, err
	}
	d := withoutLabels(dir)
	defer func() {
		if err != nil {
			err = errors.Join(err, dir.Close())
		}
	}()
	if d.Entries().Len() < 2 {
		return nil, nil, errors.New("the last stage left no files: an image of nothing cannot be split")
	}
	if r.Options.Format == FormatOSTree {
		p, err = r.planTree(ctx, d, opts, t)
		return p, dir.Close, err
	}
	base, closeBase, err := r.base(ctx, dirs.Base, d)
	if err != nil {
		return nil, nil, err
	}
	p, err = plan.Tree(ctx, d, base, opts)
	return p, func() error { return errors.Join(dir.Close(), closeBase()) }, err
}

// planCommit opens the repository and plans the image of the commit that the option ref names.
func (r *Request) planCommit(ctx context.Context, in string, opts plan.Options) (*plan.Plan, func() error, error) {
	name, err := findRepo(in, r.Options.Repo)
	if err != nil {
		return nil, nil, err
	}
	src, err := repo.Open(name)
	if err != nil {
		return nil, nil, err
	}
	commit, err := src.ResolveRev(r.Options.Ref)
	if err == nil && len(r.ContentMeta) > 0 {
		err = opts.UseContentMeta(ctx, src, r.ContentMeta, r.Options.Packing != "")
	}
	if err != nil {
		return nil, nil, errors.Join(err, src.Close())
	}
	p, err := plan.Commit(ctx, src, commit, opts)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("making an image of commit %s: %w", commit, err), src.Close())
	}
	return p, src.Close, nil
}

// places are where repositories usually are, relative to the input.
var places = []string{".", "repo", "ostree/repo", "sysroot/ostree/repo"}

// findRepo finds the directory of the repository below the input.
func findRepo(in, given string) (string, error) {
	looked := places
	if given != "" {
		looked = []string{strings.TrimPrefix(filepath.Clean("/"+given), "/")}
	}
	root, err := os.OpenRoot(in)
	if err != nil {
		return "", err
	}
	defer root.Close()
	for _, p := range looked {
		if p == "" {
			p = "."
		}
		if fi, err := root.Stat(p + "/objects"); err == nil && fi.IsDir() {
			return filepath.Join(in, p), nil
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("there is no OSTree repository (looked at %s): name its directory with the option repo", strings.Join(looked, ", "))
}

// planTree commits the root filesystem and plans the image of the commit.
func (r *Request) planTree(ctx context.Context, tree rootfs.Tree, opts plan.Options, t *teller) (*plan.Plan, error) {
	var commit plan.OSTreeOptions
	commit.Time = time.Unix(0, 0)
	if r.Created != nil {
		commit.Time = *r.Created
	}
	commit.Prepare.DropVar = r.Options.Var == "drop"
	if r.Options.SELinux != "off" {
		var err error
		if commit.Prepare.Label, err = plan.PolicyOf(ctx, tree); err != nil {
			return nil, err
		}
	}
	c, err := plan.CommitTree(ctx, tree, commit)
	if err != nil {
		return nil, err
	}
	t.dropped(c.Dropped)
	opts.Components.Origin = tree
	return plan.Commit(ctx, c.Source, c.Commit, opts)
}

// base compares the root filesystem with that of the base image, if there is one.
func (r *Request) base(ctx context.Context, dir string, tree rootfs.Tree) (*plan.Base, func() error, error) {
	if len(r.Base) == 0 {
		return nil, func() error { return nil }, nil
	}
	image, err := held(r.Base, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("the base image: %w", err)
	}
	below, err := rootfs.Dir(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	base, err := plan.Above(ctx, image, withoutLabels(below), tree)
	if err != nil {
		return nil, nil, errors.Join(err, below.Close())
	}
	return base, below.Close, nil
}

// write stores the blobs of the layers that are made, and where that is all of them, a whole layout.
func write(ctx context.Context, img *encapsulate.Image, dir string) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	made := slices.DeleteFunc(slices.Clone(layers), func(l v1.Layer) bool { return img.Held(slices.Index(layers, l)) != nil })
	if len(made) < len(layers) {
		return layout.WriteLayers(ctx, made, dir)
	}
	_, err = layout.Write(ctx, img, dir, "")
	return err
}

// describe tells what the image is, whose layers all went through.
func describe(img *encapsulate.Image, req Request, prior *oci.Image, t *teller) (*Result, error) {
	config, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	annotations, err := img.Annotations()
	if err != nil {
		return nil, err
	}
	view, err := oci.FromDocument(config)
	if err != nil {
		return nil, err
	}
	result := &Result{Config: config, Annotations: annotations, Warnings: t.warnings, Commit: view.Config.Labels[oci.LabelCommit]}
	made, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for i, v := range view.Layers {
		l := Layer{Name: v.Title(), DiffID: v.DiffID, Origin: Made}
		switch h := img.Held(i); {
		case h == nil:
			if l.Descriptor, err = descriptor(made[i]); err != nil {
				return nil, err
			}
		case h.Image == prior:
			l.Origin, l.Index, l.Descriptor = FromPrior, h.Layer.Index, named(req.PriorLayers[h.Layer.Index])
		default:
			l.Origin, l.Index = FromBase, h.Layer.Index
		}
		result.Layers = append(result.Layers, l)
	}
	return result, nil
}

// named is what names a blob.
func named(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// descriptor names the blob of a layer that was made.
func descriptor(l v1.Layer) (d ocispec.Descriptor, err error) {
	mediaType, err := l.MediaType()
	if err != nil {
		return d, err
	}
	h, err := l.Digest()
	if err != nil {
		return d, err
	}
	size, err := l.Size()
	return ocispec.Descriptor{MediaType: string(mediaType), Digest: digest.Digest(h.String()), Size: size}, err
}
