package encapsulate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ostree-ext/ostree-ext-go/internal/progress"
)

// layer is a layer that is made while it is read. It implements [v1.Layer].
type layer struct {
	ctx         context.Context
	index       int
	name        string
	size        int64 // about that of the tar stream, or 0
	annotations map[string]string
	compressor  compressor
	write       func(io.Writer) error // the tar stream, the same each time
	emit        func(progress.Event)
	history     *v1.History // unless nil, instead of the name
	// taken is the layer of the prior image that this one is, or nil.
	taken *PriorLayer
	open  func(context.Context, PriorLayer) (io.ReadCloser, error)

	mu     sync.Mutex
	sums   *sums
	diffID *v1.Hash // known before the sums if the layer was read uncompressed only
}

// sums are what is known of a layer that went through once.
type sums struct {
	diffID, digest v1.Hash
	size           int64 // compressed, in bytes
}

func (l *layer) computed() *sums {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sums
}

func (l *layer) mediaType() types.MediaType {
	if l.taken != nil {
		return l.taken.MediaType
	}
	return l.compressor.mediaType
}

// MediaType implements [v1.Layer].
func (l *layer) MediaType() (types.MediaType, error) { return l.mediaType(), nil }

// Digest implements [v1.Layer].
func (l *layer) Digest() (v1.Hash, error) {
	if s := l.computed(); s != nil {
		return s.digest, nil
	}
	return v1.Hash{}, stream.ErrNotComputed
}

// DiffID implements [v1.Layer].
func (l *layer) DiffID() (v1.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.diffID != nil {
		return *l.diffID, nil
	}
	return v1.Hash{}, stream.ErrNotComputed
}

// Size implements [v1.Layer].
func (l *layer) Size() (int64, error) {
	if s := l.computed(); s != nil {
		return s.size, nil
	}
	return 0, stream.ErrNotComputed
}

// Uncompressed implements [v1.Layer]: the tar stream, made while it is read. When all of it was read, the diff-id is known;
// that is how to learn it without the cost of compressing.
func (l *layer) Uncompressed() (io.ReadCloser, error) { return pipe(l.ctx, l.hash), nil }

// hash writes the tar stream and remembers its diff-id.
func (l *layer) hash(w io.Writer) error {
	raw := &meter{w: w, h: sha256.New()}
	if err := l.write(raw); err != nil {
		return fmt.Errorf("layer %q: %w", l.name, err)
	}
	diffID := v1Hash(raw.h)
	l.mu.Lock()
	l.diffID = &diffID
	l.mu.Unlock()
	return nil
}

// Compressed implements [v1.Layer]. When all of it was read, digests and size are known.
func (l *layer) Compressed() (io.ReadCloser, error) {
	if l.taken != nil {
		return l.open(l.ctx, *l.taken)
	}
	return pipe(l.ctx, l.compress), nil
}

// compress writes the compressed layer and remembers its sums.
func (l *layer) compress(w io.Writer) error {
	event := progress.Event{Kind: progress.Started, Layer: l.index, Name: l.name, Total: l.size}
	l.emit(event)
	digest, diffID := &meter{w: w, h: sha256.New()}, sha256.New()
	z, err := l.compressor.open(digest)
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
	s := &sums{diffID: v1Hash(diffID), digest: v1Hash(digest.h), size: digest.n}
	l.mu.Lock()
	l.sums, l.diffID = s, &s.diffID
	l.mu.Unlock()
	event.Kind, event.Done, event.Total = progress.Finished, raw.n, raw.n
	l.emit(event)
	return nil
}

func v1Hash(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// meter hashes and counts what goes through it, and reports it now and then if emit is set.
type meter struct {
	w     io.Writer
	h     hash.Hash
	n     int64
	event progress.Event
	emit  func(progress.Event)
}

// reportEvery is how many bytes go through between two events.
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

// pipe runs a writer in a goroutine of its own for the reader that it returns. The goroutine ends with the stream, or soon
// after the reader is closed or the context ends; closing waits for it.
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
