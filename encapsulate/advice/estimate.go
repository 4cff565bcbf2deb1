package advice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/ostree-ext/ostree-ext-go/internal/deflate"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// The compressed size of files is estimated from the beginnings of the largest ones.
const (
	sampleFiles = 16
	sampleBytes = 256 << 10
)

// estimate sets the compressed sizes that are not known. The estimate depends on the content only: the fastest level of
// gzip stands for all compressors.
func (r *Report) estimate(ctx context.Context, tree rootfs.Tree) error {
	encoder, err := deflate.NewEncoder(deflate.MinLevel)
	if err != nil {
		return err
	}
	s := &sampler{ctx: ctx, tree: tree, encoder: encoder, sample: make([]byte, sampleBytes)}
	for i := range r.Advice {
		a := &r.Advice[i]
		if a.Download > 0 {
			continue
		}
		if a.Download, err = s.estimate(a.Files); err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
	}
	r.finish()
	return nil
}

type sampler struct {
	ctx          context.Context
	tree         rootfs.Tree
	encoder      *deflate.Encoder
	sample, blob []byte
}

// estimate returns about the compressed size of some files, of which the largest come first. It is 0 if none can be
// read, because they are not in the tree.
func (s *sampler) estimate(files []File) (uint64, error) {
	var all, sampled, known, packed uint64
	seen := 0
	for _, f := range files {
		all += f.Bytes
		if f.download > 0 {
			known += f.Bytes
			packed += f.download
			continue
		}
		if f.index < 0 || seen == sampleFiles {
			continue
		}
		seen++
		n, size, err := s.pack(f.index)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", f.Path, err)
		}
		if n > 0 {
			sampled += f.Bytes
			packed += scale(f.Bytes, uint64(size), uint64(n))
		}
	}
	if known+sampled == 0 {
		return 0, nil
	}
	return min(max(scale(all, packed, known+sampled), 1), all), nil
}

// scale returns n*part/whole, rounded down, for a part that is not much larger than the whole. It uses integers, so
// that every machine gets the same result.
func scale(n, part, whole uint64) uint64 {
	hi, lo := bits.Mul64(n, part)
	if hi >= whole {
		return n
	}
	q, _ := bits.Div64(hi, lo, whole)
	return q
}

// pack compresses the beginning of a file and returns both sizes.
func (s *sampler) pack(i int) (n, packed int, err error) {
	r, err := s.tree.Open(s.ctx, i)
	if err != nil {
		return 0, 0, err
	}
	n, err = io.ReadFull(r, s.sample)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return 0, 0, err
	}
	s.blob = s.encoder.AppendBlock(s.blob[:0], nil, s.sample[:n], true)
	return n, len(s.blob), nil
}
