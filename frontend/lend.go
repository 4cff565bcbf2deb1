package frontend

import (
	"context"
	"fmt"
	"sync"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
	"github.com/ostree-ext/ostree-ext-go/frontend/serve"
)

// dirBlob is where a container has a blob of the prior image.
const dirBlob = "/blob"

// fetching is what the steps are called that fetch layers which the builder lacks.
const fetching = "fetching layers of the prior image"

// lend answers a registry that asks for layers of the prior image, which the builder turned out not to have. The builder
// fetches each blob from where the prior image is, with the client's credentials, as a file, and a container serves that: which
// it is to be is known only when the registry runs, and no files can be given to a container that runs. The function that it
// returns ends all of it, after the registry.
func (t *target) lend(ctx context.Context, r *registry, p *process, network pb.NetMode) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			line, err := p.line()
			if err != nil {
				return
			}
			if line == serve.Sync {
				select {
				case p.synced <- struct{}{}:
				case <-ctx.Done():
				}
				continue
			}
			running.Go(func() {
				address, stop, err := t.blob(ctx, r, digest.Digest(line), network)
				if err != nil {
					r.cannotHave(err)
				}
				p.tell(digest.Digest(line), address)
				if err != nil {
					return
				}
				defer stop()
				<-ctx.Done()
			})
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// blob starts a container that serves the blob of a layer of the prior image.
func (t *target) blob(ctx context.Context, r *registry, d digest.Digest, network pb.NetMode) (address string, stop func(), err error) {
	name := ""
	for _, i := range t.made.result.From(chunk.FromPrior) {
		if l := t.made.result.Layers[i]; l.Descriptor.Digest == d {
			name = l.Name
		}
	}
	if name == "" || t.prior == nil {
		return "", nil, fmt.Errorf("the registry of layers asks for %q, which is not of the prior image", d)
	}
	ref, err := t.solve(ctx, t.prior.blob(d,
		llb.ProgressGroup("ostree-ext prior "+t.label, t.label+fetching, false), llb.WithCustomName(t.label+fetching+": "+name)))
	if err != nil {
		return "", nil, err
	}
	p, err := t.start(ctx, []client.Mount{readonly(dirBlob, ref)}, network,
		[]string{"blob", "--dir=" + dirBlob, "--digest=" + d.String(), "--repository=" + r.repository})
	if err != nil {
		return "", nil, err
	}
	return "http://" + p.address + "/" + r.repository, p.stop, nil
}

// refer tells a registry that another has layers which it could not get. The builder goes on to ask the one that it first was
// told of a layer by.
func (r *registry) refer(ctx context.Context, to *registry, result *chunk.Result) {
	for _, i := range result.From(chunk.Made) {
		d := result.Layers[i].Descriptor.Digest
		r.process.tell(d, fmt.Sprintf("http://%s/v2/%s/blobs/%s", to.address, to.repository, d))
	}
	r.process.tell(serve.Sync, "")
	select {
	case <-r.process.synced:
	case <-r.process.ended:
	case <-ctx.Done():
	}
}

// cannotHave remembers why a layer of the prior image cannot be had.
func (r *registry) cannotHave(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missing == nil {
		r.missing = err
	}
}

// reason says why an error of fetching came about, if that is known here, or that error.
func (t *target) reason(err error) string {
	for _, r := range t.registries {
		r.mu.Lock()
		if r.missing != nil {
			err = r.missing
		}
		r.mu.Unlock()
	}
	return firstLine(err.Error())
}
