package encapsulate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
)

// layer is a layer that is generated while it is read. It implements [v1.Layer].
type layer struct {
	ctx         context.Context
	image       string // the image's name in events
	index       int
	name        string
	size        int64 // approximate size of the tar stream in bytes, or 0
	annotations map[string]string
	compressor  compressor
	write       func(io.Writer) error // the tar stream, the same each time
	emit        func(progress.Event)
	history     *ocispec.History // replaces the name unless nil
	// held is the existing layer that is taken over, or nil.
	held *Held

	mu   sync.Mutex
	sums *sums
	// known before the sums if the layer was read uncompressed only, and without them if it has no blob
	diffID digest.Digest
}

// sums is what is known about the blob of a layer after it was compressed once.
type sums struct {
	digest digest.Digest
	size   int64 // compressed, in bytes
}

func (l *layer) computed() *sums {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sums
}

func (l *layer) mediaType() string {
	if l.held != nil {
		return l.held.Layer.Descriptor.MediaType
	}
	return l.compressor.mediaType
}

// MediaType implements [v1.Layer].
func (l *layer) MediaType() (types.MediaType, error) { return types.MediaType(l.mediaType()), nil }

// Digest implements [v1.Layer].
func (l *layer) Digest() (v1.Hash, error) {
	if s := l.computed(); s != nil {
		return v1.NewHash(s.digest.String())
	}
	return v1.Hash{}, stream.ErrNotComputed
}

// DiffID implements [v1.Layer].
func (l *layer) DiffID() (v1.Hash, error) {
	if d := l.knownDiffID(); d != "" {
		return v1.NewHash(d.String())
	}
	return v1.Hash{}, stream.ErrNotComputed
}

func (l *layer) knownDiffID() digest.Digest {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.diffID
}

// Size implements [v1.Layer].
func (l *layer) Size() (int64, error) {
	if s := l.computed(); s != nil {
		return s.size, nil
	}
	return 0, stream.ErrNotComputed
}

// Uncompressed implements [v1.Layer]. It generates the tar stream while it is read. After it was read to its end the
// diff-id is known, without the cost of compressing.
func (l *layer) Uncompressed() (io.ReadCloser, error) { return pipe(l.ctx, l.hash), nil }

// hash writes the tar stream and stores its diff-id.
func (l *layer) hash(w io.Writer) error {
	raw := &meter{w: w, h: sha256.New()}
	if err := l.write(raw); err != nil {
		return fmt.Errorf("layer %q: %w", l.name, err)
	}
	l.mu.Lock()
	l.diffID = digestOf(raw.h)
	l.mu.Unlock()
	return nil
}

// Compressed implements [v1.Layer]. After it was read to its end the digests and the size are known. The error wraps
// [oci.ErrNoContent] if the layer is taken over from an image whose layers cannot be read.
func (l *layer) Compressed() (io.ReadCloser, error) {
	if l.held != nil {
		blob, err := l.held.Image.Blob(l.ctx, l.held.Layer.Descriptor)
		if err != nil && !errors.Is(err, oci.ErrNoContent) {
			err = fmt.Errorf("the layer is kept from %s, which does not give it: continue from another prior image, or "+
				"from none: %w", l.held.Image.Name, err)
		}
		return blob, err
	}
	return pipe(l.ctx, l.compress), nil
}

// compress writes the compressed layer and stores its sums.
func (l *layer) compress(w io.Writer) error {
	event := progress.Event{Kind: progress.Started, Image: l.image, Layer: l.index, Name: l.name, Total: l.size}
	l.emit(event)
	blob, diffID := &meter{w: w, h: sha256.New()}, sha256.New()
	z, err := l.compressor.open(blob)
	if err != nil {
		return err
	}
	raw := &meter{w: z, h: diffID, event: event, emit: l.emit}
	if err := l.write(raw); err != nil {
		_ = z.Close()
		return fmt.Errorf("layer %q: %w", l.name, err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("compressing layer %q: %w", l.name, err)
	}
	l.mu.Lock()
	l.sums, l.diffID = &sums{digest: digestOf(blob.h), size: blob.n}, digestOf(diffID)
	l.mu.Unlock()
	event.Kind, event.Done, event.Total = progress.Finished, raw.n, raw.n
	l.emit(event)
	return nil
}

func digestOf(h hash.Hash) digest.Digest { return digest.NewDigestFromBytes(digest.SHA256, h.Sum(nil)) }

// meter hashes and counts the bytes that are written to it, and reports the count now and then if emit is set.
type meter struct {
	w     io.Writer
	h     hash.Hash
	n     int64
	event progress.Event
	emit  func(progress.Event)
}

// reportEvery is the number of bytes between two events.
const reportEvery = 4 << 20

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.h.Write(p[:n])
	if m.emit != nil && m.n/reportEvery != (m.n+int64(n))/reportEvery {
		e := m.event
		e.Kind, e.Done = progress.Advanced, m.n+int64(n)
		m.emit(e)
	}
	m.n += int64(n)
	return n, err
}

// pipe returns a reader of what write writes. It runs write in a goroutine, which ends with the stream, or soon after
// the reader is closed or the context is done. Close waits for the goroutine.
func pipe(ctx context.Context, write func(io.Writer) error) io.ReadCloser {
	r, w := io.Pipe()
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer close(done)
		w.CloseWithError(write(w))
	}()
	return &pipeReader{PipeReader: r, done: done, stop: stop}
}

type pipeReader struct {
	*io.PipeReader
	done chan struct{}
	stop func() bool
}

func (p *pipeReader) Close() error {
	err := p.PipeReader.Close()
	<-p.done
	p.stop()
	return err
}
