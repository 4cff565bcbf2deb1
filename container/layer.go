package container

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/internal/progress"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// maxPadding bounds what may follow the end of an archive in its stream. Programs fill up a record of at most
// some hundred KiB.
const maxPadding = 1 << 20

// errPadding says that a stream goes on after the archive in it has ended.
var errPadding = fmt.Errorf("%w: more than %d bytes follow the end of the archive", ErrLayerMismatch, maxPadding)

func handled(mediaType string) bool { return encapsulate.CanDecompress(types.MediaType(mediaType)) }

func unhandled(mediaType string) error {
	return notEncapsulated("Unhandled layer type: %.100s", mediaType)
}

// readLayer gives the decompressed stream of a layer to use, which reads to the end of the archive, and then checks
// everything that is said about it. Where the bytes that came are not those of the descriptor, that is the error, since
// what use stumbled on is but a consequence.
func readLayer(ctx context.Context, src source.Source, l layer, emit func(progress.Event), use func(io.Reader) error) (err error) {
	if !handled(l.descriptor.MediaType) {
		return unhandled(l.descriptor.MediaType)
	}
	blob, err := src.Blob(ctx, l.descriptor)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	event := progress.Event{Kind: progress.Started, Layer: l.index, Name: l.name, Total: l.descriptor.Size}
	emit(event)
	raw := progress.Reader(contextReader{ctx, blob}, event, emit)
	used := useStream(l, raw, use)
	if err := ctx.Err(); err != nil {
		return err
	}
	if ours(used) {
		return used
	}
	// The rest is read even after an error, to know whether the bytes are at fault. It is bounded by the descriptor.
	if _, err := io.Copy(io.Discard, raw); err != nil && (used == nil || errors.Is(err, source.ErrMismatch)) {
		return err
	}
	if used != nil {
		return used
	}
	event.Kind, event.Done = progress.Finished, event.Total
	emit(event)
	return nil
}

// ours reports whether an error is that of the machine, so that no bytes can be at fault.
func ours(err error) bool {
	_, system := errors.AsType[syscall.Errno](err)
	return system || errors.Is(err, repo.ErrNoSpace) || errors.Is(err, context.Canceled)
}

func useStream(l layer, raw io.Reader, use func(io.Reader) error) (err error) {
	open := encapsulate.Decompress
	if l.foreign {
		open = encapsulate.DecompressAll
	}
	z, err := open(types.MediaType(l.descriptor.MediaType), raw)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	ahead := readAhead(z)
	defer ahead.Close()
	plain := &hashingReader{r: ahead, h: sha256.New()}
	if err := use(plain); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, io.LimitReader(plain, maxPadding+1))
	if err != nil {
		return err
	}
	if n > maxPadding {
		return errPadding
	}
	if got := digest.NewDigestFromBytes(digest.SHA256, plain.h.Sum(nil)); got != l.diffID {
		return &DiffIDError{Want: l.diffID, Got: got}
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

// contextReader ends reading when the context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
