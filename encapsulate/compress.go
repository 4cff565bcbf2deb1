package encapsulate

import (
	"fmt"
	"io"
	"runtime"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/ostree-ext/ostree-ext-go/internal/deflate"
)

// compressor is how the layers of an image are compressed. Everything that decides about compressed bytes is in this file.
type compressor struct {
	mediaType types.MediaType
	// open begins a layer. The number of goroutines decides about memory and time, never about bytes.
	open func(w io.Writer, workers int) (io.WriteCloser, error)
}

const (
	// gzipLevel is the default.
	gzipLevel = deflate.DefaultLevel
	// zstdWorkers is fixed, so that the output does not depend on the number of processors.
	zstdWorkers = 2
	// maxWorkers bounds the memory of one layer, fewWorkers that of a layer which is written beside others.
	maxWorkers, fewWorkers = 16, 4
)

// workers is how many goroutines compress one of some layers.
func workers(layers int) int {
	if layers == 1 {
		return min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	return min(runtime.GOMAXPROCS(0), fewWorkers)
}

func newCompressor(c Compression, level int) (compressor, error) {
	switch c {
	case Gzip:
		if level == 0 {
			level = gzipLevel
		}
		if level < deflate.MinLevel || level > deflate.MaxLevel {
			return compressor{}, fmt.Errorf("gzip has the levels %d to %d, not %d", deflate.MinLevel, deflate.MaxLevel, level)
		}
		return compressor{types.OCILayer, func(w io.Writer, workers int) (io.WriteCloser, error) {
			return deflate.NewWriter(w, level, workers)
		}}, nil
	case Zstd:
		if level < 0 || level > 22 {
			return compressor{}, fmt.Errorf("zstd has the levels 1 to 22, not %d", level)
		}
		speed := zstd.SpeedDefault
		if level > 0 {
			speed = zstd.EncoderLevelFromZstd(level)
		}
		return compressor{types.OCILayerZStd, func(w io.Writer, _ int) (io.WriteCloser, error) {
			return zstd.NewWriter(w, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(zstdWorkers), zstd.WithLowerEncoderMem(true))
		}}, nil
	case Uncompressed:
		if level != 0 {
			return compressor{}, fmt.Errorf("uncompressed layers have no level")
		}
		return compressor{types.OCIUncompressedLayer, func(w io.Writer, _ int) (io.WriteCloser, error) { return plain{w}, nil }}, nil
	}
	return compressor{}, fmt.Errorf("unknown compression %d", c)
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }
