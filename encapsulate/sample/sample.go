// Package sample estimates from their beginnings how far files compress, without compressing them. Plans estimate
// components with it, and advice the files that it is about.
//
// An estimate depends on the content only: the fastest level of gzip stands for all compressors, and the arithmetic is
// that of integers, so that every machine gets the same result.
package sample

import (
	"context"
	"errors"
	"io"
	"math/bits"

	"github.com/ostree-ext/ostree-ext-go/internal/deflate"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Sampler estimates files, one after the other.
type Sampler struct {
	tree         rootfs.Tree
	encoder      *deflate.Encoder
	sample, blob []byte
}

// New returns a Sampler that reads the first bytes of files of a tree, as many as are given.
func New(tree rootfs.Tree, bytes int) (*Sampler, error) {
	e, err := deflate.NewEncoder(deflate.MinLevel)
	return &Sampler{tree: tree, encoder: e, sample: make([]byte, bytes)}, err
}

// Compressed estimates the compressed size of a file that has size bytes. It is 0 only if the file is empty.
func (s *Sampler) Compressed(ctx context.Context, index int, size uint64) (_ uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	r, err := s.tree.Open(ctx, index)
	if err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r, s.sample)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, r.Close()); err != nil || n == 0 {
		return 0, err
	}
	s.blob = s.encoder.AppendBlock(s.blob[:0], nil, s.sample[:n], true)
	return max(Scale(size, uint64(len(s.blob)), uint64(n)), 1), nil
}

// Scale returns n*part/whole, rounded down, or n if that is out of range. The whole must not be 0.
func Scale(n, part, whole uint64) uint64 {
	hi, lo := bits.Mul64(n, part)
	if hi >= whole {
		return n
	}
	q, _ := bits.Div64(hi, lo, whole)
	return q
}
