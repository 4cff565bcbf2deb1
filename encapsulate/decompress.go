package encapsulate

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/ostree-ext/ostree-ext-go/internal/inflate"
)

// maxWindow is the most memory that a zstd stream may ask for; the strongest level of the format's own tool does.
const maxWindow = 128 << 20

// ErrLayerType says that a layer has a media type that cannot be read.
var ErrLayerType = errors.New("unhandled layer type")

// CanDecompress reports whether layers of a media type can be read.
func CanDecompress(t types.MediaType) bool {
	return t == types.OCIUncompressedLayer || t == types.OCILayer || t == types.OCILayerZStd
}

// Decompress opens the compressed stream of a layer. Of gzip only the first member is read. The error wraps [ErrLayerType]
// where [CanDecompress] says no.
func Decompress(t types.MediaType, r io.Reader) (io.ReadCloser, error) {
	switch t {
	case types.OCIUncompressedLayer:
		return io.NopCloser(r), nil
	case types.OCILayer:
		in := &input{r: r}
		z, err := inflate.NewReader(in)
		if err != nil {
			return nil, in.blame("gzip", err)
		}
		z.Multistream(false)
		return &decompressor{io.NopCloser(z), in, "gzip"}, nil
	case types.OCILayerZStd:
		in := &input{r: r}
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, in.blame("zstd", err)
		}
		return &decompressor{z.IOReadCloser(), in, "zstd"}, nil
	}
	return nil, fmt.Errorf("%w: %.100s", ErrLayerType, string(t))
}

// DecompressAll is [Decompress] for the layers of ordinary images, whose gzip streams may have several members.
func DecompressAll(t types.MediaType, r io.Reader) (io.ReadCloser, error) {
	if t != types.OCILayer {
		return Decompress(t, r)
	}
	in := &input{r: r}
	z, err := inflate.NewReader(in)
	if err != nil {
		return nil, in.blame("gzip", err)
	}
	return &decompressor{io.NopCloser(z), in, "gzip"}, nil
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
	return fmt.Errorf("invalid %s stream: %w", format, err)
}
