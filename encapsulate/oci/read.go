package oci

import (
	"bufio"
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
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// ErrLayerMismatch is wrapped by errors about layers that do not match the manifest or the configuration.
var ErrLayerMismatch = errors.New("layer does not match the image")

// CommitMismatchError is the error for an image whose commit is not the one that its label ostree.commit names. It
// wraps [ErrLayerMismatch].
type CommitMismatchError struct {
	// Label is what the image says, and Actual is the checksum of the commit that its layers hold.
	Label, Actual string
}

// Error implements error.
func (e *CommitMismatchError) Error() string {
	return fmt.Sprintf("the image holds commit %s, but its label %s is %.80q", e.Actual, LabelCommit, e.Label)
}

// Unwrap returns [ErrLayerMismatch].
func (e *CommitMismatchError) Unwrap() error { return ErrLayerMismatch }

// CheckCommit returns a [*CommitMismatchError] if the label of the image names another commit than the one with this
// checksum, which its layers hold. An image without the label may hold any commit.
func (i *Image) CheckCommit(id string) error {
	if label, ok := i.Config.Labels[LabelCommit]; ok && label != id {
		return &CommitMismatchError{Label: label, Actual: id}
	}
	return nil
}

// DiffIDError is the error for a layer whose decompressed bytes do not have the diff-id in the configuration. It
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

// ErrStop is returned by the function that [Image.ReadLayer] calls, to stop reading. What was read until then is not
// checked.
var ErrStop = errors.New("the rest of the layer is not wanted")

// defaultRest is how many bytes may follow the archive in a layer. Programs pad the archive to a record of some
// hundred KiB.
const defaultRest = 1 << 20

// ReadOptions are options of [Image.ReadLayer]. The zero value is what most callers need.
type ReadOptions struct {
	// Rest is how many bytes may follow what use reads of the stream. 0 means [defaultRest].
	Rest int64
	// Strict refuses a layer that is not compressed as its media type says. Other programs write such layers. The error
	// wraps [ErrLayerMismatch]. Layers with objects of a commit are always read strictly.
	Strict bool
	// Progress receives events about the bytes that are fetched, unless it is nil. Calls do not overlap.
	Progress func(progress.Event)
}

// ReadLayer calls use with the tar stream of a layer. use reads to the end of the archive. ReadLayer then checks
// size, digest and diff-id. Callers must not trust what use read before ReadLayer has returned nil. For layers with
// objects only the first member of a gzip stream is read, as upstream does; for others, all members.
//
// If the blob does not match its descriptor, that is the error, even if use failed: its error is only a consequence.
// If use returns [ErrStop], nothing more is read or checked, and ReadLayer returns ErrStop.
func (i *Image) ReadLayer(ctx context.Context, l *Layer, opts ReadOptions, use func(io.Reader) error) (err error) {
	if opts.Rest == 0 {
		opts.Rest = defaultRest
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

// stream opens a layer that does not come from a blob. It returns nil for all others.
func (i *Image) stream(ctx context.Context, l *Layer) (io.ReadCloser, error) {
	s, ok := i.content.(Streams)
	if !ok {
		return nil, nil
	}
	return s.Stream(ctx, l)
}

func (i *Image) readBlob(
	ctx context.Context, l *Layer, opts ReadOptions,
	event progress.Event, emit func(progress.Event), use func(io.Reader) error,
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
	used := decompressed(l, raw, opts.Strict, func(r io.Reader) error { return useStream(l, r, opts, use) })
	if err := ctx.Err(); err != nil {
		return err
	}
	if Local(used) || errors.Is(used, ErrStop) {
		return used
	}
	// The rest is read even after an error, to find out whether the blob matches its descriptor, which bounds its size.
	if _, err := io.Copy(io.Discard, raw); err != nil && (used == nil || errors.Is(err, ErrMismatch)) {
		return err
	}
	return used
}

// Local reports whether an error comes from this machine and not from the content: an error of the system, or the end
// of a context.
func Local(err error) bool {
	_, system := errors.AsType[syscall.Errno](err)
	return system || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// decompressed calls use with the decompressed stream of a blob.
func decompressed(l *Layer, raw io.Reader, strict bool, use func(io.Reader) error) (err error) {
	mediaType, objects := l.Descriptor.MediaType, l.Kind == Commit || l.Kind == Chunk
	if !objects {
		buffered := bufio.NewReader(raw)
		if err := checkSupported(buffered); err != nil {
			return err
		}
		actual := sniff(buffered)
		if strict && actual != mediaType {
			return fmt.Errorf("%w: it is of the media type %s, but the manifest says %s: push the image again with another "+
				"program", ErrLayerMismatch, actual, mediaType)
		}
		raw, mediaType = buffered, actual
	}
	z, err := decompress(mediaType, raw, !objects)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	ahead := readAhead(z)
	defer ahead.Close()
	return use(ahead)
}

// Labelled reports whether the blob of a layer is there and compressed as its media type says. Only blobs on this
// machine are looked at, since others would cost a request each.
func (i *Image) Labelled(ctx context.Context, l *Layer) bool {
	if n, ok := i.content.(Near); !ok || !n.Near() {
		return true
	}
	blob, err := i.content.Blob(ctx, l.Descriptor)
	if err != nil {
		return false
	}
	defer blob.Close()
	return sniff(bufio.NewReaderSize(blob, 16)) == l.Descriptor.MediaType
}

// useStream calls use, and then checks what follows the archive, and the diff-id.
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
		return fmt.Errorf("%w: more than %s follow the end of the archive", ErrLayerMismatch, sizes.Format(opts.Rest))
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
