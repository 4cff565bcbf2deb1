package encapsulate

import (
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/internal/deflate"
)

// compressor is how the layers of an image are compressed. Everything that decides about compressed bytes is in this file.
type compressor struct {
	mediaType string
	// open begins a layer, which has to be closed.
	open func(w io.Writer) (io.WriteCloser, error)
}

const (
	// gzipLevel is the default.
	gzipLevel = deflate.DefaultLevel
	// zstdWorkers is fixed, so that the output does not depend on the number of processors.
	zstdWorkers = 2
	// maxWorkers and fewWorkers bound the memory that compressing takes: that of a single layer, and that of all layers which are
	// written side by side, each of which needs memory besides.
	maxWorkers, fewWorkers = 16, 8
)

// newCompressor returns what compresses the layers of an image of so many. The number of processors decides about memory and
// time, never about bytes.
func newCompressor(c Compression, level, layers int) (compressor, error) {
	switch c {
	case Gzip:
		if level == 0 {
			level = gzipLevel
		}
		workers := fewWorkers
		if layers == 1 {
			workers = maxWorkers
		}
		pool, err := deflate.NewPool(level, min(runtime.GOMAXPROCS(0), workers))
		if err != nil {
			return compressor{}, err
		}
		return compressor{ocispec.MediaTypeImageLayerGzip, func(w io.Writer) (io.WriteCloser, error) { return pool.NewWriter(w), nil }}, nil
	case Zstd:
		if level < 0 || level > 22 {
			return compressor{}, fmt.Errorf("zstd has the levels 1 to 22, not %d", level)
		}
		speed := zstd.SpeedDefault
		if level > 0 {
			speed = zstd.EncoderLevelFromZstd(level)
		}
		return compressor{ocispec.MediaTypeImageLayerZstd, func(w io.Writer) (io.WriteCloser, error) {
			return zstd.NewWriter(w, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(zstdWorkers), zstd.WithLowerEncoderMem(true))
		}}, nil
	case Uncompressed:
		if level != 0 {
			return compressor{}, fmt.Errorf("uncompressed layers have no level")
		}
		return compressor{ocispec.MediaTypeImageLayer, func(w io.Writer) (io.WriteCloser, error) { return plain{w}, nil }}, nil
	}
	return compressor{}, fmt.Errorf("unknown compression %d", c)
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }
