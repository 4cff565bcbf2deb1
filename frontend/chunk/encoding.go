package chunk

import (
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
)

const (
	// sampleSize is more than compressors have in a block.
	sampleSize = 2 << 20
	// sampleWindow is how far back the sample repeats itself.
	sampleWindow = 40 << 10
)

// encoding is the digest of what the options' compressor makes of a sample.
func encoding(ctx context.Context, opts encapsulate.Options) (digest.Digest, error) {
	opts.Prior, opts.Plan, opts.Progress = nil, nil, nil
	img, err := encapsulate.BuildPlain(ctx, []encapsulate.PlainLayer{{Name: "sample", Write: writeSample}}, opts)
	if err != nil {
		return "", err
	}
	layers, err := img.Layers()
	if err != nil {
		return "", err
	}
	blob, err := layers[0].Compressed()
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.Discard, blob)
	if err := errors.Join(err, blob.Close()); err != nil {
		return "", err
	}
	sum, err := layers[0].Digest()
	return digest.Digest(sum.String()), err
}

// writeSample writes what makes a compressor decide much: new bytes, and repetitions of many lengths and distances.
func writeSample(w io.Writer) error {
	data := make([]byte, 0, sampleSize+512)
	state := uint64(1)
	next := func(n int) int {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		return int(state % uint64(n))
	}
	for len(data) < sampleSize {
		if have := min(len(data), sampleWindow); have > 256 && next(4) > 0 {
			from := len(data) - 1 - next(have-1)
			for range 3 + next(250) {
				data = append(data, data[from])
				from++
			}
			continue
		}
		data = binary.LittleEndian.AppendUint64(data, uint64(next(1<<40)))
		for range next(40) {
			data = append(data, byte('a'+next(12)))
		}
	}
	_, err := w.Write(data[:sampleSize])
	return err
}
