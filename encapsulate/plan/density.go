package plan

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/sample"
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
		out, entries := make([]int, len(units)), tree.Entries()
		g, ctx := errgroup.WithContext(ctx)
		workers := runtime.GOMAXPROCS(0)
		for w := range workers {
			g.Go(func() error {
				s, err := sample.New(tree, sampleBytes)
				if err != nil {
					return err
				}
				for i := w; i < len(units); i += workers {
					if out[i], err = density(ctx, s, entries, &units[i]); err != nil {
						return fmt.Errorf("reading %s: %w", units[i].ID, err)
					}
				}
				return nil
			})
		}
		return out, g.Wait()
	}
}

// density returns the compressed size of a component in thousandths of its size, from 1 to 1000.
func density(ctx context.Context, s *sample.Sampler, entries *rootfs.List, u *chunking.Unit) (int, error) {
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
		n, err := s.Compressed(ctx, int(i), uint64(e.Size))
		if err != nil {
			return 0, err
		}
		if n > 0 {
			size += uint64(e.Size)
			left += n
		}
	}
	if size == 0 {
		return 1000, nil
	}
	return min(max(int(1000*left/size), 1), 1000), nil
}
