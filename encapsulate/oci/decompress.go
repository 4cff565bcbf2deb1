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

// maxWindow is the largest window that a zstd stream may ask for. The highest level of the zstd tool needs that much.
const maxWindow = 128 << 20

// ErrLayerType is wrapped by errors about layers whose media type or compression is not supported.
var ErrLayerType = errors.New("unhandled layer type")

// ErrInvalidStream is wrapped by errors about layers that are not compressed as their media type says.
var ErrInvalidStream = errors.New("invalid stream")

// streamError is the error for an invalid compressed stream.
type streamError struct {
	format string
	err    error
}

// Error implements error.
func (e *streamError) Error() string { return fmt.Sprintf("invalid %s stream: %v", e.format, e.err) }

// Unwrap returns [ErrInvalidStream] and the cause.
func (e *streamError) Unwrap() []error { return []error{ErrInvalidStream, e.err} }

// TypeError is the error for a layer whose media type is not supported. It wraps [ErrLayerType], and also
// [ErrNotEncapsulated], because no commit can be read from such an image.
type TypeError struct{ MediaType string }

// Error implements error. The text is upstream's.
func (e *TypeError) Error() string { return fmt.Sprintf("Unhandled layer type: %.100s", e.MediaType) }

// Unwrap returns [ErrLayerType] and [ErrNotEncapsulated].
func (e *TypeError) Unwrap() []error { return []error{ErrLayerType, ErrNotEncapsulated} }

// canDecompress reports whether layers of a media type are supported.
func canDecompress(t string) bool {
	return t == ocispec.MediaTypeImageLayer || t == ocispec.MediaTypeImageLayerGzip || t == ocispec.MediaTypeImageLayerZstd
}

// decompress returns a reader of the decompressed layer. It reads all members of a gzip stream, or only the first. If
// canDecompress returns false, the error is a [*TypeError].
func decompress(t string, r io.Reader, allMembers bool) (io.ReadCloser, error) {
	switch t {
	case ocispec.MediaTypeImageLayer:
		return io.NopCloser(r), nil
	case ocispec.MediaTypeImageLayerGzip:
		in := &input{r: r}
		z, err := inflate.NewReader(in)
		if err != nil {
			return nil, in.blame("gzip", err)
		}
		z.Multistream(allMembers)
		return &decompressor{io.NopCloser(z), in, "gzip"}, nil
	case ocispec.MediaTypeImageLayerZstd:
		in := &input{r: r}
		z, err := zstd.NewReader(in,
			zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, in.blame("zstd", err)
		}
		return &decompressor{z.IOReadCloser(), in, "zstd"}, nil
	}
	return nil, &TypeError{MediaType: t}
}

// unsupported are compressions that other programs read in layers, by the first bytes.
var unsupported = map[string]string{
	"\xfd7zXZ\x00": "xz", "BZh\x001AY&SY": "bzip2", "\x04\x22\x4d\x18": "lz4", "LZIP\x01": "lzip",
}

// checkSupported returns an error that wraps [ErrLayerType] if a layer begins like one of an unsupported compression.
func checkSupported(r *bufio.Reader) error {
	start, _ := r.Peek(10) // an error comes back when the stream is read
	if len(start) == 10 && start[0] == 'B' {
		start = bytes.Clone(start)
		start[3] = 0 // the level of bzip2
	}
	for magic, name := range unsupported {
		if bytes.HasPrefix(start, []byte(magic)) {
			return fmt.Errorf("%w: it is compressed with %s: 'skopeo copy --dest-decompress IMAGE dir:DIR' makes an image "+
				"of it that can be read, dir:DIR", ErrLayerType, name)
		}
	}
	return nil
}

// sniff returns the media type of a layer by its first bytes: what is not compressed is a tar stream.
func sniff(r *bufio.Reader) string {
	// An error comes back when the stream is read.
	magic, _ := r.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return ocispec.MediaTypeImageLayerGzip
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		len(magic) == 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], []byte{0x2a, 0x4d, 0x18}):
		// A frame of zstd, or one to be skipped.
		return ocispec.MediaTypeImageLayerZstd
	}
	return ocispec.MediaTypeImageLayer
}

// decompressor adds to its errors the format that it was reading.
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

// input is a compressed stream. It remembers the error of reading it, except io.EOF.
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

// blame returns the error of decompression. It adds the format if the stream is invalid, and not if reading it
// failed.
func (i *input) blame(format string, err error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		return err
	}
	return &streamError{format, err}
}
