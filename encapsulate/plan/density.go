package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/internal/deflate"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// A component's compression ratio is estimated from the beginnings of its largest files, which are most of its
// content.
const (
	sampleFiles = 4
	sampleBytes = 64 << 10
)

// densities returns a function that estimates how well components compress, or nil if layers are not compressed. The
// estimate depends on the content only: the fastest level of gzip stands for all compressors.
func densities(ctx context.Context, tree rootfs.Tree, c encapsulate.Compression) func([]chunking.Unit) ([]int, error) {
	if c == encapsulate.Uncompressed {
		return nil
	}
	return func(units []chunking.Unit) ([]int, error) {
		out := make([]int, len(units))
		g, ctx := errgroup.WithContext(ctx)
		workers := runtime.GOMAXPROCS(0)
		for w := range workers {
			g.Go(func() error {
				s, err := newSampler(tree)
				if err != nil {
					return err
				}
				for i := w; i < len(units); i += workers {
					if out[i], err = s.density(ctx, &units[i]); err != nil {
						return fmt.Errorf("reading %s: %w", units[i].ID, err)
					}
				}
				return nil
			})
		}
		return out, g.Wait()
	}
}

// sampler estimates components, one after the other.
type sampler struct {
	tree         rootfs.Tree
	encoder      *deflate.Encoder
	sample, blob []byte
}

func newSampler(tree rootfs.Tree) (*sampler, error) {
	e, err := deflate.NewEncoder(deflate.MinLevel)
	return &sampler{tree: tree, encoder: e, sample: make([]byte, sampleBytes)}, err
}

// density returns the compressed size of a component in thousandths of its size, from 1 to 1000.
func (s *sampler) density(ctx context.Context, u *chunking.Unit) (int, error) {
	entries := s.tree.Entries()
	var files []uint32
	for _, i := range u.Entries {
		if e := entries.At(int(i)); e.IsRegular() && e.Size > 0 {
			files = append(files, i)
		}
	}
	slices.SortFunc(files, func(i, j uint32) int {
		return cmp.Or(cmp.Compare(entries.At(int(j)).Size, entries.At(int(i)).Size), cmp.Compare(i, j))
	})
	seen := map[object.Checksum]bool{}
	var size, left uint64 // integers, so that every machine gets the same result
	for _, i := range files {
		e := entries.At(int(i))
		if len(seen) == sampleFiles {
			break
		}
		if seen[e.Object] {
			continue
		}
		seen[e.Object] = true
		n, packed, err := s.pack(ctx, int(i))
		if err != nil {
			return 0, err
		}
		if n > 0 {
			size += uint64(e.Size)
			left += uint64(e.Size) * uint64(packed) / uint64(n)
		}
	}
	if size == 0 {
		return 1000, nil
	}
	return min(max(int(1000*left/size), 1), 1000), nil
}

// pack compresses the beginning of a file and returns both sizes.
func (s *sampler) pack(ctx context.Context, i int) (n, packed int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	r, err := s.tree.Open(ctx, i)
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
