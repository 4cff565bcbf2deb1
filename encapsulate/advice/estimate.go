package advice

import (
	"context"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/sample"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// The compressed size of files is estimated from the beginnings of the largest ones.
const (
	sampleFiles = 16
	sampleBytes = 256 << 10
)

// Estimate sets the compressed sizes that are not known, from the beginnings of the largest files of each kind. The
// tree is the one that was judged.
func (r *Report) Estimate(ctx context.Context, tree rootfs.Tree) error {
	s, err := sample.New(tree, sampleBytes)
	if err != nil {
		return err
	}
	for i := range r.Advice {
		a := &r.Advice[i]
		if a.Download > 0 {
			continue
		}
		if a.Download, err = estimate(ctx, s, a.Files); err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
	}
	r.finish()
	return nil
}

// estimate returns about the compressed size of some files, of which the largest come first. It is 0 if none can be
// read, because they are not in the tree.
func estimate(ctx context.Context, s *sample.Sampler, files []File) (uint64, error) {
	var all, known, packed uint64
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
		size, err := s.Compressed(ctx, f.index, f.Bytes)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", f.Path, err)
		}
		if size > 0 {
			known += f.Bytes
			packed += size
		}
	}
	if known == 0 {
		return 0, nil
	}
	return min(max(sample.Scale(all, packed, known), 1), all), nil
}
