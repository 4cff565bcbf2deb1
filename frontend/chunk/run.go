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
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/container/dest/layout"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/build"
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
	var had []encapsulate.PriorLayer
	if opts.Prior != nil {
		had = opts.Prior.Layers
		switch len(req.PriorLayers) {
		case len(had):
		case 0:
			// The plan continues from it; no layer is to be taken from it.
			opts.Prior.Layers = nil
		default:
			return nil, errors.New("the prior image has another number of layers than its manifest says")
		}
	}
	img, err := p.Image(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := layout.Write(ctx, img, dirs.Layout, ""); err != nil {
		return nil, err
	}
	result, err := describe(img, req.PriorLayers, t)
	if err != nil {
		return nil, err
	}
	result.Author = req.Author
	t.summary(result, opts.Prior, had)
	return result, nil
}

// buildOptions are those of the shared build.
func (r *Request) buildOptions(t *teller) (opts build.Options, err error) {
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
		opts.Packing, errs[1] = build.ParsePacking(o.Packing)
	}
	if o.Rebalance != "" {
		opts.Rebalance, errs[2] = build.ParseRebalance(o.Rebalance)
	}
	if o.UpdateInterval != "" {
		opts.UpdateInterval, errs[3] = build.ParseInterval(o.UpdateInterval)
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
		if r.continues() {
			opts.Prior, err = elsewhere(r.Prior, FromPrior)
		} else {
			t.warnings = append(t.warnings, "the prior image has layers of another format: all of them change")
		}
	}
	return opts, err
}

// continues reports whether the prior image has layers of the format that is asked for. Only then its plan can be
// continued: layers of others would have to be looked into.
func (r *Request) continues() bool {
	var image ocispec.Image
	if json.Unmarshal(r.Prior, &image) != nil {
		return false
	}
	record, err := chunking.ParseRecord(image.Config.Labels[chunking.LabelPlan])
	want := FormatPlain
	if r.Options.Ref != "" || r.Options.Format == FormatOSTree {
		want = FormatOSTree
	}
	return err == nil && strings.HasPrefix(record.Format, want)
}

// elsewhere is an image whose layers the builder has and the step has not: known by their diff-ids, each has a stand-in
// for its blob, which says where the layer is.
func elsewhere(config []byte, origin Origin) (*encapsulate.Prior, error) {
	var image ocispec.Image
	if err := json.Unmarshal(config, &image); err != nil {
		return nil, fmt.Errorf("configuration of the %s image: %w", origin, err)
	}
	m := ocispec.Manifest{Config: ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config)),
	}}
	blobs := map[string]string{}
	for i := range image.RootFS.DiffIDs {
		blob := fmt.Sprintf("%s %d", origin, i)
		d := digest.FromString(blob)
		blobs[d.String()] = blob
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: d, Size: int64(len(blob))})
	}
	manifest, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	p, err := encapsulate.NewPrior(manifest, config, func(_ context.Context, l encapsulate.PriorLayer) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(blobs[l.Digest.String()])), nil
	})
	if err != nil {
		return nil, fmt.Errorf("the %s image: %w", origin, err)
	}
	return p, nil
}

// plan plans the image of what is in the input. The input must be closed when the image was written.
func (r *Request) plan(ctx context.Context, dirs Dirs, opts build.Options, t *teller) (p *build.Plan, closeInput func() error, err error) {
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
	p, err = build.Tree(ctx, d, base, opts)
	return p, func() error { return errors.Join(dir.Close(), closeBase()) }, err
}

// planCommit opens the repository and plans the image of the commit that the option ref names.
func (r *Request) planCommit(ctx context.Context, in string, opts build.Options) (*build.Plan, func() error, error) {
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
	p, err := build.Commit(ctx, src, commit, opts)
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
func (r *Request) planTree(ctx context.Context, tree rootfs.Tree, opts build.Options, t *teller) (*build.Plan, error) {
	var commit build.OSTreeOptions
	commit.Time = time.Unix(0, 0)
	if r.Created != nil {
		commit.Time = *r.Created
	}
	commit.Prepare.DropVar = r.Options.Var == "drop"
	if r.Options.SELinux != "off" {
		var err error
		if commit.Prepare.Label, err = build.PolicyOf(ctx, tree); err != nil {
			return nil, err
		}
	}
	c, err := build.CommitTree(ctx, tree, commit)
	if err != nil {
		return nil, err
	}
	t.dropped(c.Dropped)
	opts.Components.Origin = tree
	return build.Commit(ctx, c.Source, c.Commit, opts)
}

// base compares the root filesystem with that of the base image, if there is one.
func (r *Request) base(ctx context.Context, dir string, tree rootfs.Tree) (*build.Base, func() error, error) {
	if len(r.Base) == 0 {
		return nil, func() error { return nil }, nil
	}
	image, err := elsewhere(r.Base, FromBase)
	if err != nil {
		return nil, nil, err
	}
	below, err := rootfs.Dir(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	base, err := build.Above(ctx, image, withoutLabels(below), tree)
	if err != nil {
		return nil, nil, errors.Join(err, below.Close())
	}
	return base, below.Close, nil
}

// describe tells what the image is, whose layers all went through.
func describe(img *encapsulate.Image, prior []ocispec.Descriptor, t *teller) (*Result, error) {
	config, configErr := img.RawConfigFile()
	manifest, manifestErr := img.Manifest()
	file, fileErr := img.ConfigFile()
	if err := errors.Join(configErr, manifestErr, fileErr); err != nil {
		return nil, err
	}
	result := &Result{Config: config, Annotations: manifest.Annotations, Warnings: t.warnings, Commit: file.Config.Labels[encapsulate.LabelCommit]}
	for i, d := range manifest.Layers {
		l := Layer{
			Name: file.History[i].CreatedBy, DiffID: digest.Digest(file.RootFS.DiffIDs[i].String()), Origin: Made,
			Descriptor: ocispec.Descriptor{MediaType: string(d.MediaType), Digest: digest.Digest(d.Digest.String()), Size: d.Size},
		}
		if img.Reused(i) {
			l.Origin, l.Index = locate(d.Digest)
		}
		if l.Origin == FromPrior {
			d := prior[l.Index]
			l.Descriptor = ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
		}
		result.Layers = append(result.Layers, l)
	}
	return result, nil
}

// locate finds where a layer is whose blob is a stand-in.
func locate(h v1.Hash) (Origin, int) {
	for _, origin := range []Origin{FromPrior, FromBase} {
		for i := range maxLayers {
			if digest.FromString(fmt.Sprintf("%s %d", origin, i)).Encoded() == h.Hex {
				return origin, i
			}
		}
	}
	return Made, 0
}
