package encapsulate

import (
	"errors"
	"fmt"
	"io"

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
		z, err := inflate.NewReader(r)
		if err != nil {
			return nil, err
		}
		z.Multistream(false)
		return io.NopCloser(z), nil
	case types.OCILayerZStd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("%w: %.100s", ErrLayerType, string(t))
}

// DecompressAll is [Decompress] for the layers of ordinary images, whose gzip streams may have several members.
func DecompressAll(t types.MediaType, r io.Reader) (io.ReadCloser, error) {
	if t != types.OCILayer {
		return Decompress(t, r)
	}
	z, err := inflate.NewReader(r)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(z), nil
}
