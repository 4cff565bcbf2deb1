package encapsulate

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
)

// compressor is how the layers of an image are compressed. Everything that decides about compressed bytes is in this file.
type compressor struct {
	mediaType types.MediaType
	open      func(io.Writer) (io.WriteCloser, error)
}

const (
	// gzipBlock is the input that is compressed as one piece, in bytes. It is fixed, so that the output does not
	// depend on the number of processors.
	gzipBlock = 1 << 20
	// gzipLevel is the default.
	gzipLevel = 6
	// zstdWorkers is fixed for the same reason.
	zstdWorkers = 2
)

func newCompressor(c Compression, level int) (compressor, error) {
	switch c {
	case Gzip:
		if level == 0 {
			level = gzipLevel
		}
		if level < 1 || level > 9 {
			return compressor{}, fmt.Errorf("gzip has the levels 1 to 9, not %d", level)
		}
		return compressor{types.OCILayer, func(w io.Writer) (io.WriteCloser, error) { return newGzip(w, level) }}, nil
	case Zstd:
		if level < 0 || level > 22 {
			return compressor{}, fmt.Errorf("zstd has the levels 1 to 22, not %d", level)
		}
		speed := zstd.SpeedDefault
		if level > 0 {
			speed = zstd.EncoderLevelFromZstd(level)
		}
		return compressor{types.OCILayerZStd, func(w io.Writer) (io.WriteCloser, error) {
			return zstd.NewWriter(w, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(zstdWorkers), zstd.WithLowerEncoderMem(true))
		}}, nil
	case Uncompressed:
		if level != 0 {
			return compressor{}, fmt.Errorf("uncompressed layers have no level")
		}
		return compressor{types.OCIUncompressedLayer, func(w io.Writer) (io.WriteCloser, error) { return plain{w}, nil }}, nil
	}
	return compressor{}, fmt.Errorf("unknown compression %d", c)
}

func newGzip(w io.Writer, level int) (io.WriteCloser, error) {
	z, err := pgzip.NewWriterLevel(w, level)
	if err != nil {
		return nil, err
	}
	z.ModTime = time.Unix(0, 0) // the zero time would be written as a number
	return z, z.SetConcurrency(gzipBlock, runtime.GOMAXPROCS(0))
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }
