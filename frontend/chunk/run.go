package chunk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/dest/layout"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Names of files.
const (
	// ResultFile is the name of the file with the result, in its directory.
	ResultFile = "result.json"
	// RequestFile is the name of the file with the request.
	RequestFile = "request.json"
)

// Dirs are the directories that the step reads and writes.
type Dirs struct {
	// In is a root filesystem, or contains a repository.
	In string
	// Base is the root filesystem of the base image; empty if no layers are kept.
	Base string
	// Layout receives the image. It must be empty.
	Layout string
	// Result receives the result.
	Result string
}

// ofInput are the errors of system calls that come from what is in the input, and not from the machine.
var ofInput = []syscall.Errno{
	syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.ENXIO, syscall.EXDEV,
}

// Run carries out a request. It writes messages for people to log. Errors in the request or the input are in the
// result. Run returns an error if the builder failed, so that the same step could succeed another time.
func Run(ctx context.Context, req Request, dirs Dirs, log io.Writer) error {
	t := newReporter(log, time.Now)
	result, err := run(ctx, req, dirs, t)
	var system syscall.Errno
	switch {
	case err == nil:
	case ctx.Err() != nil, errors.As(err, &system) && !slices.Contains(ofInput, system):
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

func run(ctx context.Context, req Request, dirs Dirs, t *reporter) (*Result, error) {
	o := &req.Options
	kind := request.Tree
	switch {
	case o.Ref != "":
		kind = request.Commit
	case req.Commit != "":
		if err := findCommit(dirs.In, req.Commit); err == nil {
			kind = request.ImageOfCommit
		} else {
			t.warnings = append(t.warnings, fmt.Sprintf("labels of the base image say that it holds commit %.64s, but its "+
				"files do not have it (%v): the image is a plain one, unless format=ostree is given", req.Commit, err))
		}
	}
	if err := o.Resolve(request.Frontend, kind); err != nil {
		return nil, err
	}
	in, closeInput, err := req.open(ctx, dirs, t)
	if err != nil {
		return nil, err
	}
	defer closeInput()
	opts := plan.Options{Image: encapsulate.Options{
		Config: req.Config, Created: req.Created, Platform: &req.Platform, Progress: t.event,
	}}
	if len(req.Prior) > 0 {
		if opts.Prior, err = held("the prior image", req.Prior, req.PriorLayers); err != nil {
			text := "the prior image is not understood, and layers are planned afresh: %v"
			t.warnings = append(t.warnings, fmt.Sprintf(text, err))
		}
		// Without the layers of its manifest, the plan continues from the prior image, but no layer is reused.
		opts.KeepUnreadable = len(req.PriorLayers) > 0
	}
	p, err := o.Plan(ctx, opts, request.Files{Mapping: req.Mapping, ContentMeta: req.ContentMeta}, in)
	if err != nil {
		return nil, err
	}
	t.edits(p.Edits)
	if p.Made != nil {
		t.dropped(p.Made.Dropped)
	}
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
	t.outcome(result, opts.Prior)
	advice, err := p.Advice(ctx)
	if err != nil {
		return nil, err
	}
	for _, line := range advice.Lines("IMGREF") {
		t.line("%s", line)
	}
	return result, nil
}

// held returns an image whose layers the builder has and this step does not. The name is for messages: that of the
// reference would be part of the cache key.
func held(name string, config []byte, layers []ocispec.Descriptor) (*oci.Image, error) {
	img, err := oci.New(oci.Document{}, ocispec.Manifest{Layers: layers}, config, nil)
	if err != nil {
		return nil, err
	}
	img.Name = name
	if len(img.Layers) == 0 {
		return nil, errors.New("it has no layers")
	}
	return img, img.CheckLayers()
}

// open opens the input. It must be closed after the image has been written.
func (r *Request) open(
	ctx context.Context, dirs Dirs, t *reporter,
) (in request.Opened, closeInput func() error, err error) {
	if r.Options.Ref != "" {
		return r.openCommit(dirs.In)
	}
	in.Created = time.Unix(0, 0)
	if r.Created != nil {
		in.Created = *r.Created
	}
	dir, err := rootfs.Dir(ctx, dirs.In)
	if err != nil {
		return in, nil, err
	}
	var warnings []string
	in.Tree, warnings = r.Options.Pruned(withoutLabels(dir))
	t.warnings = append(t.warnings, warnings...)
	if in.Base, err = r.base(ctx, dirs.Base, in.Tree); err != nil {
		return in, nil, errors.Join(err, dir.Close())
	}
	return in, dir.Close, nil
}

// openCommit opens the repository and finds the commit that the option ref names.
func (r *Request) openCommit(dir string) (in request.Opened, closeInput func() error, err error) {
	name, err := findRepo(dir, r.Options.Repo)
	if err != nil {
		return in, nil, err
	}
	src, err := repo.Open(name)
	if err != nil {
		return in, nil, err
	}
	in.Source = src
	if in.Commit, err = src.ResolveRev(r.Options.Ref); err != nil {
		return in, nil, errors.Join(err, src.Close())
	}
	return in, src.Close, nil
}

// base compares the root filesystem with that of the base image. It returns nil if there is none.
func (r *Request) base(ctx context.Context, dir string, tree rootfs.Tree) (*plan.Base, error) {
	if len(r.Base) == 0 {
		return nil, nil
	}
	image, err := held("the base image", r.Base, nil)
	if err != nil {
		return nil, fmt.Errorf("the base image: %w", err)
	}
	below, err := rootfs.Dir(ctx, dir)
	if err != nil {
		return nil, err
	}
	base, err := plan.NewBase(ctx, image, withoutLabels(below), tree)
	return base, errors.Join(err, below.Close())
}

// write stores the blobs of the layers that were made. If these are all layers, it writes a complete layout.
func write(ctx context.Context, img *encapsulate.Image, dir string) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	made := slices.DeleteFunc(slices.Clone(layers),
		func(l v1.Layer) bool { return img.Held(slices.Index(layers, l)) != nil })
	if len(made) < len(layers) {
		return layout.WriteLayers(ctx, made, dir)
	}
	_, err = layout.Write(ctx, img, dir, "")
	return err
}

// describe returns the result for an image. All its layers must have been read.
func describe(img *encapsulate.Image, req Request, prior *oci.Image, t *reporter) (*Result, error) {
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
	result := &Result{Config: config, Annotations: annotations, Warnings: t.warnings,
		Commit: view.Config.Labels[oci.LabelCommit]}
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

// named returns the fields of a descriptor that identify a blob.
func named(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// descriptor returns the descriptor of a layer that was made.
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
