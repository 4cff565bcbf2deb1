package encapsulate

import (
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/internal/deflate"
)

// compressor compresses the layers of an image. Everything that decides the compressed bytes is in this file.
type compressor struct {
	mediaType string
	// open begins a layer, which has to be closed.
	open func(w io.Writer) (io.WriteCloser, error)
}

const (
	// gzipLevel is the level that is used if none is given.
	gzipLevel = deflate.DefaultLevel
	// zstdWorkers is constant, so that the output does not depend on the number of processors.
	zstdWorkers = 2
	// maxWorkers and fewWorkers bound the number of goroutines that compress, and so the memory they take. maxWorkers is
	// for an image of one layer. fewWorkers is for all layers of a larger image together, since each layer that is
	// written at the same time needs memory of its own.
	maxWorkers, fewWorkers = 16, 8
)

// newCompressor returns the compressor for an image with the given number of layers. The number of processors affects
// memory and time, never the output.
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
		open := func(w io.Writer) (io.WriteCloser, error) { return pool.NewWriter(w), nil }
		return compressor{ocispec.MediaTypeImageLayerGzip, open}, nil
	case Zstd:
		if level < 0 || level > 22 {
			return compressor{}, fmt.Errorf("zstd has the levels 1 to 22, not %d", level)
		}
		speed := zstd.SpeedDefault
		if level > 0 {
			speed = zstd.EncoderLevelFromZstd(level)
		}
		return compressor{ocispec.MediaTypeImageLayerZstd, func(w io.Writer) (io.WriteCloser, error) {
			return zstd.NewWriter(w, zstd.WithEncoderLevel(speed),
				zstd.WithEncoderConcurrency(zstdWorkers), zstd.WithLowerEncoderMem(true))
		}}, nil
	case Uncompressed:
		if level != 0 {
			return compressor{}, fmt.Errorf("uncompressed layers have no level")
		}
		open := func(w io.Writer) (io.WriteCloser, error) { return plain{w}, nil }
		return compressor{ocispec.MediaTypeImageLayer, open}, nil
	}
	return compressor{}, fmt.Errorf("unknown compression %d", c)
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }
