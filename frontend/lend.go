package frontend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
	"github.com/ostree-ext/ostree-ext-go/frontend/serve"
)

// fetching is what the steps are called that fetch layers which the builder lacks.
const fetching = "fetching layers of the prior image"

// lendRange is how much of a blob is read at once, in bytes: messages have 16 MiB at most.
const lendRange = 4 << 20

// lend answers a registry that asks for layers of the prior image, which the builder turned out not to have. The builder
// fetches each blob from where the prior image is, with the client's credentials, as a file, and the content goes to the
// registry through its standard input: no files can be given to a container that runs. The function that it returns waits for
// the end, after that of the registry.
func (t *target) lend(ctx context.Context, r *registry, p *process) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			line, err := p.line()
			if err != nil {
				return
			}
			running.Go(func() {
				d := digest.Digest(line)
				l, err := t.find(ctx, r, d)
				if err == nil {
					err = p.give(ctx, d, l)
				} else {
					p.refuse(d)
				}
				if err != nil {
					r.cannotHave(err)
				}
			})
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// loan is a blob in a file.
type loan struct {
	ref  client.Reference
	name string
	size int64
}

// find makes the builder have a layer of the prior image, or one like it that was made.
func (t *target) find(ctx context.Context, r *registry, d digest.Digest) (*loan, error) {
	m := r.made.Load()
	if m == nil {
		return nil, errors.New("the registry of layers asks for one without need")
	}
	for _, l := range m.result.Layers {
		if l.Descriptor.Digest != d {
			continue
		}
		size := l.Descriptor.Size
		if l.Origin == chunk.Made {
			ref, err := t.solve(ctx, m.layout)
			return &loan{ref, path.Join("blobs", "sha256", d.Encoded()), size}, err
		}
		if l.Origin == chunk.FromPrior && t.prior != nil {
			ref, err := t.solve(ctx, t.prior.blob(d,
				llb.ProgressGroup("ostree-ext prior "+t.label, t.label+fetching, false), llb.WithCustomName(t.label+fetching+": "+l.Name)))
			return &loan{ref, d.Encoded(), size}, err
		}
	}
	return nil, fmt.Errorf("the registry of layers asks for %q, which is not of the prior image", d)
}

// refuse tells the registry that it cannot have a blob.
func (p *process) refuse(d digest.Digest) {
	p.told.Lock()
	defer p.told.Unlock()
	// A registry that ended needs no answer.
	_, _ = fmt.Fprintf(p.answers, "%s %d\n", d, serve.NotNow)
}

// give sends a blob to the registry. After an error the registry gets no others.
func (p *process) give(ctx context.Context, d digest.Digest, l *loan) (err error) {
	p.told.Lock()
	defer p.told.Unlock()
	defer func() {
		if err != nil {
			err = errors.Join(err, p.answers.Close())
		}
	}()
	if _, err := fmt.Fprintf(p.answers, "%s %d\n", d, l.size); err != nil {
		return err
	}
	for at := int64(0); at < l.size; {
		data, err := l.ref.ReadFile(ctx, client.ReadRequest{
			Filename: l.name, Range: &client.FileRange{Offset: int(at), Length: int(min(lendRange, l.size-at))},
		})
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return fmt.Errorf("layer %s of the prior image: %w", d, io.ErrUnexpectedEOF)
		}
		if _, err := p.answers.Write(data); err != nil {
			return err
		}
		at += int64(len(data))
	}
	return nil
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
