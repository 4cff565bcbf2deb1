// Package frontend is a BuildKit frontend. It builds a Containerfile as BuildKit's own frontend does, and returns an
// image whose layers follow the packages in it instead of the build steps.
//
// A build has these parts. First, BuildKit's frontend for Containerfiles runs inside ours and returns the root
// filesystem of the last stage. Then a build step, which runs our own image (package chunk), splits the filesystem into
// layers and writes them as an OCI layout. A container on the builder's network (package serve) offers the layout as a
// registry on loopback, and the builder fetches each layer from it as an image of its own. Layers of a prior or a base
// image are not copied. The result is the sequence of these layers, with exactly the bytes that the chunk step wrote.
package frontend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
)

// Caps is the value of the label moby.buildkit.frontend.caps of an image of the frontend.
const Caps = "moby.buildkit.frontend.inputs,moby.buildkit.frontend.subrequests,moby.buildkit.frontend.contexts," +
	"moby.buildkit.frontend.gitquerystring,moby.buildkit.frontend.contexts.zstd"

// guarded is a client that stops BuildKit's frontend from reading the syntax line, which would start our frontend
// again.
type guarded struct{ client.Client }

// BuildOpts implements [client.Client].
func (g guarded) BuildOpts() client.BuildOpts {
	o := g.Client.BuildOpts()
	o.Opts = maps.Clone(o.Opts)
	if o.Opts == nil {
		o.Opts = map[string]string{}
	}
	if _, ok := o.Opts[keyCmdline]; !ok {
		o.Opts[keyCmdline] = o.Opts["source"]
	}
	return o
}

// Build handles one request of a client. It is the function that a gateway runs.
func Build(ctx context.Context, c client.Client) (*client.Result, error) {
	g := guarded{c}
	opts := g.BuildOpts()
	options, err := ParseOptions(opts.Opts)
	if err != nil {
		return nil, err
	}
	if opts.Opts["requestid"] != "" {
		return builder.Build(ctx, g) // it only describes the Containerfile
	}
	if err := checkEpoch(opts.Opts); err != nil {
		return nil, err
	}
	b := &job{raw: c, client: g, options: options, opts: opts}
	if err := b.begin(ctx); err != nil {
		return nil, err
	}
	res, err := builder.Build(ctx, b.images)
	if err != nil {
		return nil, explainEpoch(err)
	}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	return b.convert(ctx, res)
}

// job is a build.
type job struct {
	// client is for our own steps. images is for what the user names: it is client or, with the option verify, an
	// [admission].
	client, images client.Client
	raw            client.Client // as the gateway gave it
	admission      *admission    // nil without the option verify
	options        request.Options
	opts           client.BuildOpts
	dc             *dockerui.Client

	// self is our own image, and program is the path of our program in it. They are there after loadSelf.
	self     llb.State
	selfRef  client.Reference
	program  string
	findSelf sync.Mutex
	// native is the platform of the builder, on which our program runs.
	native ocispec.Platform

	mapping, contentMeta []byte
}

// begin prepares building the Containerfile.
func (b *job) begin(ctx context.Context) (err error) {
	workers := b.opts.Workers
	if len(workers) == 0 || len(workers[0].Platforms) == 0 {
		return errors.New("the builder does not say which platform it has")
	}
	b.native = workers[0].Platforms[0]
	b.images = b.client
	if b.options.Verify != "" {
		b.admission = newAdmission(b)
		b.images = b.admission
	}
	if b.dc, err = dockerui.NewClient(b.images); err != nil || b.admission == nil {
		return err
	}
	return b.admission.load(ctx)
}

// loadSelf finds our own image.
func (b *job) loadSelf(ctx context.Context) error {
	b.findSelf.Lock()
	defer b.findSelf.Unlock()
	if b.selfRef != nil {
		return nil
	}
	current, ok := b.raw.(interface{ CurrentFrontend() (*llb.State, error) })
	if !ok {
		return errors.New("the builder does not give frontends access to their own image")
	}
	self, err := current.CurrentFrontend()
	if err != nil {
		return err
	}
	if self == nil {
		return errors.New("the builder is too old: BuildKit 0.12 or later is needed")
	}
	b.self = *self
	if b.program, err = os.Executable(); err != nil {
		return err
	}
	b.selfRef, err = b.solve(ctx, b.self)
	return err
}

// prepare loads what all platforms need, when the Containerfile has been built.
func (b *job) prepare(ctx context.Context) (err error) {
	if err := b.loadSelf(ctx); err != nil {
		return err
	}
	if b.mapping, err = b.contextFile(ctx, b.options.Mapping, maxMapping); err != nil {
		return fmt.Errorf("mapping: %w", err)
	}
	if b.contentMeta, err = b.contextFile(ctx, b.options.ContentMeta, maxContentMeta); err != nil {
		return fmt.Errorf("contentmeta: %w", err)
	}
	return nil
}

// solve builds a state and returns a reference to the result.
func (b *job) solve(ctx context.Context, st llb.State) (client.Reference, error) {
	return b.solveWith(ctx, b.client, st)
}

func (b *job) solveWith(ctx context.Context, c client.Client, st llb.State) (client.Reference, error) {
	def, err := st.Marshal(ctx, llb.Platform(b.native))
	if err != nil {
		return nil, err
	}
	// Every request needs the cache imports, because its definition includes the Containerfile's steps, which are looked
	// up again.
	res, err := c.Solve(ctx, client.SolveRequest{
		Definition: def.ToPB(), CacheImports: b.dc.CacheImports, Evaluate: true,
	})
	if err != nil {
		return nil, err
	}
	return res.SingleRef()
}

// convert replaces the images of a result by ours, all platforms at the same time.
func (b *job) convert(ctx context.Context, res *client.Result) (*client.Result, error) {
	ps, err := exptypes.ParsePlatforms(res.Metadata)
	if err != nil {
		return nil, err
	}
	out := client.NewResult()
	out.Metadata, out.Attestations = maps.Clone(res.Metadata), res.Attestations
	group, gctx := errgroup.WithContext(ctx)
	for _, p := range ps.Platforms {
		group.Go(func() error {
			suffix, platform := "", (*ocispec.Platform)(nil)
			if res.Refs != nil {
				suffix, platform = "/"+p.ID, &p.Platform
			}
			ref, ok := res.FindRef(p.ID)
			if !ok {
				return fmt.Errorf("the Containerfile gave no result for %s", p.ID)
			}
			made, err := b.platform(gctx, p, ref, res.Metadata, suffix)
			if err != nil {
				return err
			}
			if platform != nil {
				out.AddRef(p.ID, made.ref)
			} else {
				out.SetRef(made.ref)
			}
			out.AddMeta(exptypes.ExporterImageConfigKey+suffix, made.config)
			// Declare all layers as those of a base image. An exporter leaves these as they are even if it rewrites timestamps.
			out.AddMeta(exptypes.ExporterImageBaseConfigKey+suffix, made.config)
			for k, v := range made.annotations {
				out.AddMeta(exptypes.AnnotationManifestKey(platform, k), []byte(v))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}
