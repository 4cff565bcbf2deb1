package frontend

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/report"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// Directories of the chunk step and of the registry.
const (
	dirIn      = "/in"
	dirBase    = "/base"
	dirLayout  = "/layout"
	dirResult  = "/result"
	dirRequest = "/request"
	dirScratch = "/tmp"
)

// maxResult limits the result of a chunk step in bytes. Messages have at most 16 MiB.
const maxResult = 8 << 20

// image is an image that we made.
type image struct {
	ref         client.Reference
	config      []byte
	annotations map[string]string
}

// target is the image of one platform while it is built.
type target struct {
	*job
	platform ocispec.Platform
	label    string // prefix of the names of its steps
	request  chunk.Request
	base     *remoteImage
	prior    *remoteImage // the image whose layers may be reused, or nil
	// priorName is what people call the image to continue from.
	priorName string
	warnings  []string
	// output is the output of the last chunk step.
	output chunkOutput
	// registries run until all layers have been fetched.
	registries []*registry
}

// chunkOutput is the output of a chunk step.
type chunkOutput struct {
	keyed  bool // the cache key of the input follows from its definition, see isKeyed
	layout llb.State
	ref    client.Reference // the directory with the result
	result *chunk.Result
}

// platform builds the image of a platform.
func (b *job) platform(
	ctx context.Context, p exptypes.Platform, ref client.Reference, metadata map[string][]byte, suffix string,
) (*image, error) {
	t := &target{job: b, platform: p.Platform, label: "[chunk " + platforms.Format(p.Platform) + "] "}
	if err := t.findKeptBase(ctx, ref); err != nil {
		return nil, err
	}
	var err error
	if t.request, t.warnings, err = newRequest(b.options, p.Platform, metadata, suffix, t.base); err != nil {
		return nil, err
	}
	t.request.Mapping, t.request.ContentMeta = b.mapping, b.contentMeta
	in, err := t.input(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := t.findPrior(ctx); err != nil {
		return nil, err
	}
	if err := t.chunk(ctx, in); err != nil {
		return nil, err
	}
	if b.options.Output == request.OutputLayout {
		ref, err := b.solve(ctx, t.output.layout)
		return &image{ref: ref, config: metadata[exptypes.ExporterImageConfigKey+suffix]}, err
	}
	defer func() {
		for _, r := range t.registries {
			r.close()
		}
	}()
	img := &image{}
	img.ref, err = t.assemble(ctx)
	reused := len(t.output.result.From(chunk.FromPrior)) > 0
	if err != nil && ctx.Err() == nil && reused && !isFinal(err) {
		t.request.PriorLayers = nil
		// Keep the first registry: the builder may still fetch layers from it that both attempts have.
		t.warnings = []string{"layers of the prior image cannot be fetched and are made again: " + t.reason(err)}
		if err := t.chunk(ctx, in); err != nil {
			return nil, err
		}
		img.ref, err = t.assemble(ctx)
	}
	if err != nil {
		return nil, err
	}
	img.annotations = t.output.result.Annotations
	img.config, err = t.output.result.ExportConfig()
	return img, err
}

// input returns what the chunk step reads: the last stage, or the context with the repository.
func (t *target) input(ctx context.Context, ref client.Reference) (llb.State, error) {
	if t.options.Ref != "" {
		named, err := t.dc.NamedContext("repo", dockerui.ContextOpt{NoDockerignore: true, Platform: &t.platform})
		if err != nil {
			return llb.State{}, err
		}
		if named != nil {
			st, _, err := named.Load(ctx)
			if err != nil {
				return llb.State{}, err
			}
			return *st, t.admitState(ctx, *st)
		}
	}
	if ref == nil {
		return llb.State{}, errors.New("the last stage has no files to make an image of")
	}
	return ref.ToState()
}

// admitState checks the sources of a state that was not built yet, with the option verify.
func (t *target) admitState(ctx context.Context, st llb.State) error {
	if t.admission == nil {
		return nil
	}
	def, err := st.Marshal(ctx, llb.Platform(t.native))
	if err != nil {
		return err
	}
	return t.admission.check(ctx, def.ToPB())
}

// chunk runs the chunk step.
func (t *target) chunk(ctx context.Context, in llb.State) error {
	data, err := json.Marshal(t.request)
	if err != nil {
		return err
	}
	if t.output.keyed, err = isKeyed(ctx, in, t.native); err != nil {
		return err
	}
	run := t.self.Run(t.step(in, data)...)
	t.output.layout = run.AddMount(dirLayout, llb.Scratch())
	results := run.AddMount(dirResult, llb.Scratch())
	if t.output.ref, err = t.solve(ctx, results); err != nil {
		return err
	}
	if t.output.ref == nil {
		return errors.New("the chunk step left no result")
	}
	data, err = readBelow(ctx, t.output.ref, chunk.ResultFile, maxResult)
	if err != nil {
		return fmt.Errorf("the chunk step left no result: %w", err)
	}
	if t.output.result, err = chunk.ParseResult(data); err != nil {
		return err
	}
	if text := t.output.result.Error; text != "" {
		return errors.New(text)
	}
	return t.warn(ctx, results, append(t.warnings, t.output.result.Warnings...))
}

// step returns how to run the chunk step: our own program on the builder's platform, without a network.
func (t *target) step(in llb.State, request []byte) []llb.RunOption {
	args := []string{
		t.program, "chunk", "--in=" + dirIn, "--layout=" + dirLayout, "--result=" + dirResult,
		"--request=" + path.Join(dirRequest, chunk.RequestFile),
	}
	opts := []llb.RunOption{
		llb.ReadonlyRootFS(), llb.Network(pb.NetMode_NONE), llb.Platform(t.native),
		llb.AddMount(dirIn, in, t.readsInput()...), llb.AddMount(dirRequest, t.requests(request), llb.Readonly),
		llb.AddMount(dirScratch, llb.Scratch(), llb.ForceNoOutput),
		llb.WithCustomName(t.label + "splitting into layers"),
	}
	if t.base != nil {
		args = append(args, "--base="+dirBase)
		opts = append(opts, llb.AddMount(dirBase, t.base.image, llb.Readonly))
	}
	if t.dc.IsNoCache("") {
		opts = append(opts, llb.IgnoreCache)
	}
	return append(opts, llb.Args(args))
}

// readsInput returns the options of the mount with the input. If the cache key follows from the steps that made the
// input, the builder does not need to compute one from its content, for which it would read all of it.
func (t *target) readsInput() []llb.MountOption {
	opts := []llb.MountOption{llb.Readonly}
	if t.output.keyed && t.opts.LLBCaps.Supports(pb.CapExecMountContentCache) == nil {
		opts = append(opts, llb.ContentCache(llb.MountContentCacheOff))
	}
	return opts
}

// requests returns a directory with the request.
func (t *target) requests(data []byte) llb.State {
	return llb.Scratch().File(llb.Mkfile("/"+chunk.RequestFile, 0o644, data), llb.WithCustomName(t.label+"options"))
}

// warn shows warnings to the user, attached to a step.
func (t *target) warn(ctx context.Context, step llb.State, texts []string) error {
	if len(texts) == 0 {
		return nil
	}
	def, err := step.Marshal(ctx, llb.Platform(t.native))
	if err != nil {
		return err
	}
	vertex, err := def.Head()
	if err != nil {
		return err
	}
	for _, text := range texts {
		if err := t.client.Warn(ctx, vertex, printable.Line(text), client.WarnOpts{Level: 1}); err != nil {
			return err
		}
	}
	return nil
}

// attempt lets the builder fetch the layers from a new registry, and returns a reference to the image of all layers in
// order. See [registry.images] for the salt.
func (t *target) attempt(ctx context.Context, salt string) (client.Reference, error) {
	r, err := t.serve(ctx, salt)
	if err != nil {
		return nil, err
	}
	t.registries = append(t.registries, r)
	current := t.output
	for _, each := range t.registries {
		// Update the earlier ones, too: the builder keeps asking the registry from which it first learned of a layer.
		each.output.Store(&current)
	}
	fetched, all, err := t.sequence(r, t.output.result)
	if err != nil {
		return nil, err
	}
	if len(fetched) > 0 {
		if err := t.announce(ctx); err != nil {
			return nil, err
		}
	}
	if t.base != nil && len(fetched) > 0 {
		// This layer may have whiteouts. BuildKit cannot copy from an image if nothing is below them.
		if err := t.touch(ctx, fetched[0]); err != nil {
			return nil, err
		}
		fetched = fetched[1:]
	}
	if err := t.fetch(ctx, fetched); err != nil {
		return nil, err
	}
	// The name of the last step says what there is to upload, even if everything is cached.
	summary := t.label + t.outcome().String()
	passes := t.opts.LLBCaps.Supports(pb.CapPassthroughOp) == nil
	st := all[0]
	if len(all) > 1 {
		name := summary
		if passes {
			name = t.label + "joining layers"
		}
		st = llb.Merge(all, llb.WithCustomName(name))
	}
	if passes {
		// Without it, caches and provenance do not see that the image comes from the Containerfile.
		st = llb.NewPassthrough("ostree-ext", []llb.PassthroughInput{{State: st, Output: true}, {State: t.output.layout}},
			llb.WithCustomName(summary))
	} else if len(t.dc.CacheImports) > 0 {
		text := "this builder cannot keep the Containerfile's steps in an exported cache: that needs BuildKit 0.31"
		if err := t.warn(ctx, t.output.layout, []string{text}); err != nil {
			return nil, err
		}
	}
	return t.solve(ctx, st)
}

// announce shows people that layers are fetched now. A builder shows a step when it has all that the step needs, so
// this one needs nothing and does nothing. Its random name makes it a step of this attempt alone.
func (t *target) announce(ctx context.Context) error {
	_, err := t.solve(ctx, llb.Scratch().File(llb.Mkdir("/"+rand.Text(), 0o755), llb.IgnoreCache,
		llb.WithCustomName(t.importing())))
	return err
}

// fetch lets the builder fetch images now; otherwise it would do so after the registry has ended. The step copies a
// file that none of them has.
func (t *target) fetch(ctx context.Context, images []llb.State) error {
	if len(images) == 0 {
		return nil
	}
	// A second attempt needs another name. Otherwise BuildKit would return the error of the first.
	absent := fmt.Sprintf("/.ostree-ext-absent-%d*", len(t.registries))
	var copies *llb.FileAction
	for _, st := range images {
		info := &llb.CopyInfo{AllowWildcard: true, AllowEmptyWildcard: true}
		if copies == nil {
			copies = llb.Copy(st, absent, "/", info)
		} else {
			copies = copies.Copy(st, absent, "/", info)
		}
	}
	_, err := t.solve(ctx,
		llb.Scratch().File(copies, llb.IgnoreCache, t.unseen(t.importing()), llb.WithCustomName(t.importing())))
	return err
}

// touch lets the builder fetch one image, by running a step that mounts it and does nothing. Reading a file of it
// through the gateway would block other reads, including those that the registry waits for.
func (t *target) touch(ctx context.Context, image llb.State) error {
	if t.opts.LLBCaps.Supports(pb.CapExecMountContentCache) != nil {
		// This builder would read all files to compute a cache key. One this old has no layers that the registry asks for.
		ref, err := t.solve(ctx, image)
		if err != nil {
			return err
		}
		_, err = ref.StatFile(ctx, client.StatRequest{Path: "/"})
		return err
	}
	run := t.self.Run(
		llb.Args([]string{t.program, "nothing"}), llb.ReadonlyRootFS(), llb.Network(pb.NetMode_NONE), llb.Platform(t.native),
		llb.AddMount(dirBase, image, llb.Readonly, llb.ContentCache(llb.MountContentCacheOff)), llb.IgnoreCache,
		t.unseen(t.importing()), llb.WithCustomName(t.importing()),
	)
	_, err := t.solve(ctx, run.AddMount(dirScratch, llb.Scratch()))
	return err
}

// importing is the name of the steps that fetch layers.
func (t *target) importing() string {
	name := t.label + "importing layers"
	if n := len(t.registries); n > 1 {
		name += fmt.Sprintf(", attempt %d", n)
	}
	return name
}

// unseen keeps steps out of the progress that people see: a builder writes several lines for each layer of an image. A
// group of which all members are weak is not shown unless one fails. Progress as JSON has them all.
func (t *target) unseen(name string) llb.ConstraintsOpt {
	return llb.ProgressGroup("ostree-ext unseen "+name, name, true)
}

// outcome says what the chunk step made, and names the prior image.
func (t *target) outcome() report.Outcome {
	o := t.output.result.Outcome
	if o.Prior != "" {
		o.Prior = t.priorName
	}
	return o
}

// sequence returns all images whose layers make up the result, in order, and the images that the builder must fetch.
//
// A layer of the prior image is fetched like a new one. Layers are never split off an image with a difference of
// states: once BuildKit has computed a difference, it may use it in place of the image, and write other layers.
func (t *target) sequence(r *registry, result *chunk.Result) (fetched, all []llb.State, err error) {
	if r.whole {
		st, err := r.image(t, result, false, result.From(chunk.Made)...)
		return []llb.State{st}, []llb.State{st}, err
	}
	if t.base != nil {
		all = append(all, t.base.image)
	}
	for i, l := range result.Layers {
		switch l.Origin {
		case chunk.Made, chunk.FromPrior:
			st, err := r.image(t, result, false, i)
			if err != nil {
				return nil, nil, err
			}
			all = append(all, st)
		case chunk.FromBase:
			if t.base == nil || i >= len(t.base.diffIDs) || l.Index != i {
				return nil, nil, errors.New("the chunk step's result names a layer that the base does not have")
			}
		default:
			return nil, nil, fmt.Errorf("the chunk step's result names a layer from %q", l.Origin)
		}
	}
	for _, group := range chunk.Groups(result.From(chunk.Made, chunk.FromPrior)) {
		st, err := r.image(t, result, true, group...)
		if err != nil {
			return nil, nil, err
		}
		fetched = append(fetched, st)
	}
	return fetched, all, nil
}

// image returns the image of some layers from the registry.
func (r *registry) image(t *target, result *chunk.Result, marked bool, layers ...int) (llb.State, error) {
	images := r.images
	images.Marked = marked
	single, err := images.Image(result, layers...)
	if err != nil {
		return llb.State{}, err
	}
	title := fmt.Sprintf("%slayer %d/%d: %s", t.label, layers[0]+1, len(result.Layers), result.Layers[layers[0]].Name)
	name := fmt.Sprintf("%s/%s@%s", r.process.first, r.repository, single.Digest())
	return llb.Image(name, llb.Platform(t.platform), t.unseen(t.importing()), llb.WithCustomName(title)), nil
}
