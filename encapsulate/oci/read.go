package oci

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
)

// ErrLayerMismatch is wrapped by errors about layers that are not what manifest or configuration say.
var ErrLayerMismatch = errors.New("layer is not what the image says")

// DiffIDError is the error about a layer whose decompressed bytes are not those that the configuration promises. It
// wraps [ErrLayerMismatch].
type DiffIDError struct {
	Want, Got digest.Digest
}

// Error implements error.
func (e *DiffIDError) Error() string {
	return fmt.Sprintf("the diff-id is %s, but the image configuration says %s", e.Got, e.Want)
}

// Unwrap returns [ErrLayerMismatch].
func (e *DiffIDError) Unwrap() error { return ErrLayerMismatch }

// ErrStop is what the reader of a layer returns that has seen enough. What it read so far nobody has checked.
var ErrStop = errors.New("the rest of the layer is not wanted")

// DefaultRest is how many bytes may follow the archive in a layer: programs fill up a record of some hundred KiB.
const DefaultRest = 1 << 20

// ReadOptions says how to read a layer. The zero value is what most callers need.
type ReadOptions struct {
	// Rest bounds what may follow in the stream what was read of it, in bytes; 0 means [DefaultRest].
	Rest int64
	// Progress is told of the bytes that are fetched, unless nil. It is called by one goroutine at a time.
	Progress func(progress.Event)
}

// ReadLayer gives the tar stream of a layer to use, which reads to the end of the archive, and then checks everything that
// is said about the layer: nothing may be believed before ReadLayer has returned nil. Of gzip streams, layers with objects
// have one member, as upstream reads no more; others may have several.
//
// Where the bytes that came are not those of the descriptor, that is the error, since what use stumbled on is but a
// consequence. Where use returns [ErrStop], nothing more is read or checked, and that is the error.
func (i *Image) ReadLayer(ctx context.Context, l *Layer, opts ReadOptions, use func(io.Reader) error) (err error) {
	if opts.Rest == 0 {
		opts.Rest = DefaultRest
	}
	emit := opts.Progress
	if emit == nil {
		emit = func(progress.Event) {}
	}
	event := progress.Event{
		Kind: progress.Started, Image: i.Name, Layer: l.Index, Name: l.Title(), Total: l.Descriptor.Size,
	}
	if stream, err := i.stream(ctx, l); stream != nil || err != nil {
		if err != nil {
			return err
		}
		emit(event)
		raw := progress.Reader(ctxio.Reader(ctx, stream), event, emit)
		if err := errors.Join(useStream(l, raw, opts, use), stream.Close()); err != nil {
			return err
		}
	} else if err := i.readBlob(ctx, l, opts, event, emit, use); err != nil {
		return err
	}
	event.Kind, event.Done = progress.Finished, event.Total
	emit(event)
	return nil
}

// stream opens a layer that does not come from a blob, or returns nil.
func (i *Image) stream(ctx context.Context, l *Layer) (io.ReadCloser, error) {
	s, ok := i.content.(Streams)
	if !ok {
		return nil, nil
	}
	return s.Stream(ctx, l)
}

func (i *Image) readBlob(
	ctx context.Context, l *Layer, opts ReadOptions, event progress.Event, emit func(progress.Event), use func(io.Reader) error,
) (err error) {
	if l.Kind == Unknown {
		return &TypeError{MediaType: l.Descriptor.MediaType}
	}
	blob, err := i.Blob(ctx, l.Descriptor)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	emit(event)
	raw := progress.Reader(ctxio.Reader(ctx, blob), event, emit)
	used := decompressed(l, raw, func(r io.Reader) error { return useStream(l, r, opts, use) })
	if err := ctx.Err(); err != nil {
		return err
	}
	if Local(used) || errors.Is(used, ErrStop) {
		return used
	}
	// The rest is read even after an error, to know whether the bytes are at fault. It is bounded by the descriptor.
	if _, err := io.Copy(io.Discard, raw); err != nil && (used == nil || errors.Is(err, ErrMismatch)) {
		return err
	}
	return used
}

// Local reports whether an error is that of this machine, so that no bytes can be at fault: of the system, or the end of a
// context.
func Local(err error) bool {
	_, system := errors.AsType[syscall.Errno](err)
	return system || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// decompressed gives the stream in a blob to use.
func decompressed(l *Layer, raw io.Reader, use func(io.Reader) error) (err error) {
	open := DecompressAll
	if l.Kind == Commit || l.Kind == Chunk {
		open = Decompress
	}
	z, err := open(l.Descriptor.MediaType, raw)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	ahead := readAhead(z)
	defer ahead.Close()
	return use(ahead)
}

// useStream checks what follows the archive, and the diff-id.
func useStream(l *Layer, stream io.Reader, opts ReadOptions, use func(io.Reader) error) error {
	plain := &hashingReader{r: stream, h: sha256.New()}
	if err := use(plain); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, io.LimitReader(plain, opts.Rest+1))
	if err != nil {
		return err
	}
	if n > opts.Rest {
		return fmt.Errorf("%w: more than %d bytes follow the end of the archive", ErrLayerMismatch, opts.Rest)
	}
	if got := digest.NewDigestFromBytes(digest.SHA256, plain.h.Sum(nil)); got != l.DiffID {
		return &DiffIDError{Want: l.DiffID, Got: got}
	}
	return nil
}

type hashingReader struct {
	r io.Reader
	h hash.Hash
}

func (h *hashingReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.h.Write(p[:n])
	return n, err
}
