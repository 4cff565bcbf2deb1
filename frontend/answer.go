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

// fetching is the name of the steps that fetch layers of the prior image.
const fetching = "fetching layers of the prior image"

// maxFetchesSeen is of how many layers of the prior image the progress is shown, if they must be fetched: the largest.
const maxFetchesSeen = 3

// readRange is how many bytes of a blob to read at once. Messages have at most 16 MiB.
const readRange = 4 << 20

// answerRequests answers a registry that asks for layers of the prior image, because the builder turned out not to have
// them. The builder fetches each blob as a file from where the prior image is, with the client's credentials. The
// content is then sent to the registry's standard input, since a running container cannot be given files. The caller
// stops the registry and then calls end, which waits for the goroutines.
func (t *target) answerRequests(ctx context.Context, r *registry, p *process) (end func()) {
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
				l, err := t.findBlob(ctx, r, d)
				if ctx.Err() != nil {
					// The registry ends with this build. Its answer to another build must not be that there is no such layer.
					return
				}
				if err != nil {
					r.noteMissing(err)
					p.sendUnavailable(d)
					return
				}
				p.sendBlob(ctx, d, l, r.noteMissing)
			})
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// blobFile is a file with the content of a blob.
type blobFile struct {
	ref  client.Reference
	name string
	size int64
}

// findBlob fetches a layer of the prior image, or returns one that was made and has the same blob.
func (t *target) findBlob(ctx context.Context, r *registry, d digest.Digest) (*blobFile, error) {
	m := r.output.Load()
	if m == nil {
		return nil, errors.New("the registry of layers asks for a layer before there are any")
	}
	for _, l := range m.result.Layers {
		if l.Descriptor.Digest != d {
			continue
		}
		size := l.Descriptor.Size
		if l.Origin == chunk.Made {
			ref, err := t.solve(ctx, m.layout)
			return &blobFile{ref, path.Join("blobs", "sha256", d.Encoded()), size}, err
		}
		if l.Origin == chunk.FromPrior && t.prior != nil {
			group := llb.ProgressGroup("ostree-ext prior "+t.label, t.label+fetching, false)
			if size < m.result.SizeOfLargest(maxFetchesSeen, chunk.FromPrior) {
				group = t.unseen(t.label + fetching)
			}
			ref, err := t.solve(ctx, t.prior.blob(d, group, llb.WithCustomName(t.label+fetching+": "+l.Name)))
			return &blobFile{ref, d.Encoded(), size}, err
		}
	}
	return nil, fmt.Errorf("the registry of layers asks for %q, which is not a layer of the prior image", d)
}

// sendUnavailable tells the registry that it cannot have a blob.
func (p *process) sendUnavailable(d digest.Digest) {
	p.writing.Lock()
	defer p.writing.Unlock()
	// The error does not matter: it means that the registry has ended.
	_, _ = fmt.Fprintf(p.answers, "%s %d\n", d, serve.Unavailable)
}

// sendBlob sends a blob to the registry. After an error, which it notes, no other blobs can be sent.
func (p *process) sendBlob(ctx context.Context, d digest.Digest, l *blobFile, note func(error)) {
	p.writing.Lock()
	defer p.writing.Unlock()
	if err := p.copyBlob(ctx, d, l); err != nil {
		note(err)
		_ = p.answers.Close() // the error does not matter: it means that the registry has ended
	}
}

// copyBlob writes an answer with a blob.
func (p *process) copyBlob(ctx context.Context, d digest.Digest, l *blobFile) error {
	if _, err := fmt.Fprintf(p.answers, "%s %d\n", d, l.size); err != nil {
		return err
	}
	for at := int64(0); at < l.size; {
		data, err := l.ref.ReadFile(ctx, client.ReadRequest{
			Filename: l.name, Range: &client.FileRange{Offset: int(at), Length: int(min(readRange, l.size-at))},
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

// noteMissing records why a layer of the prior image could not be fetched. The first error is kept.
func (r *registry) noteMissing(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missing == nil {
		r.missing = err
	}
}

// refused reports whether a layer of the prior image could not be fetched.
func (r *registry) refused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missing != nil
}

// reason returns the text of the recorded error about a missing layer, or else that of err.
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
