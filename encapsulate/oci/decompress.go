package oci

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/internal/inflate"
)

// maxWindow is the most memory that a zstd stream may ask for; the strongest level of the format's own tool does.
const maxWindow = 128 << 20

// ErrLayerType is wrapped by errors about layers of a media type that cannot be read.
var ErrLayerType = errors.New("unhandled layer type")

// ErrInvalidStream is wrapped by errors about layers that are not compressed as their media type says.
var ErrInvalidStream = errors.New("invalid stream")

// streamError is the error about a stream that is not of its format.
type streamError struct {
	format string
	err    error
}

// Error implements error.
func (e *streamError) Error() string { return fmt.Sprintf("invalid %s stream: %v", e.format, e.err) }

// Unwrap returns [ErrInvalidStream] and what was found.
func (e *streamError) Unwrap() []error { return []error{ErrInvalidStream, e.err} }

// TypeError is the error about a layer of a media type that cannot be read. It wraps [ErrLayerType] and, as no commit can be
// read from such an image, [ErrNotEncapsulated].
type TypeError struct{ MediaType string }

// Error implements error in words that users of upstream know.
func (e *TypeError) Error() string { return fmt.Sprintf("Unhandled layer type: %.100s", e.MediaType) }

// Unwrap returns both sentinels.
func (e *TypeError) Unwrap() []error { return []error{ErrLayerType, ErrNotEncapsulated} }

// CanDecompress reports whether layers of a media type can be read.
func CanDecompress(t string) bool {
	return t == ocispec.MediaTypeImageLayer || t == ocispec.MediaTypeImageLayerGzip || t == ocispec.MediaTypeImageLayerZstd
}

// Decompress opens the compressed stream of a layer. Of gzip only the first member is read. The error is a [*TypeError] where
// [CanDecompress] says no.
func Decompress(t string, r io.Reader) (io.ReadCloser, error) {
	switch t {
	case ocispec.MediaTypeImageLayer:
		return io.NopCloser(r), nil
	case ocispec.MediaTypeImageLayerGzip:
		in := &input{r: r}
		z, err := inflate.NewReader(in)
		if err != nil {
			return nil, in.blame("gzip", err)
		}
		z.Multistream(false)
		return &decompressor{io.NopCloser(z), in, "gzip"}, nil
	case ocispec.MediaTypeImageLayerZstd:
		in := &input{r: r}
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, in.blame("zstd", err)
		}
		return &decompressor{z.IOReadCloser(), in, "zstd"}, nil
	}
	return nil, &TypeError{MediaType: t}
}

// DecompressAll is [Decompress] for the layers of ordinary images, whose gzip streams may have several members.
func DecompressAll(t string, r io.Reader) (io.ReadCloser, error) {
	if t != ocispec.MediaTypeImageLayerGzip {
		return Decompress(t, r)
	}
	in := &input{r: r}
	z, err := inflate.NewReader(in)
	if err != nil {
		return nil, in.blame("gzip", err)
	}
	return &decompressor{io.NopCloser(z), in, "gzip"}, nil
}

// sniff returns the media type of a layer by its first bytes: what is not compressed is a tar stream.
func sniff(r *bufio.Reader) string {
	// An error comes back when the stream is read.
	magic, _ := r.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return ocispec.MediaTypeImageLayerGzip
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}), len(magic) == 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], []byte{0x2a, 0x4d, 0x18}):
		// A frame of zstd, or one to be skipped.
		return ocispec.MediaTypeImageLayerZstd
	}
	return ocispec.MediaTypeImageLayer
}

// decompressor says of its errors what it was reading.
type decompressor struct {
	io.ReadCloser
	in     *input
	format string
}

func (d *decompressor) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = d.in.blame(d.format, err)
	}
	return n, err
}

// input is a compressed stream. It remembers how reading it failed, if that was not its end.
type input struct {
	r   io.Reader
	mu  sync.Mutex
	err error
}

func (i *input) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	if err != nil && err != io.EOF {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.err = err
	}
	return n, err
}

// blame returns the error of decompression, with the format if the stream itself is at fault.
func (i *input) blame(format string, err error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		return err
	}
	return &streamError{format, err}
}
