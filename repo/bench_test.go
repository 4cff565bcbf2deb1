package repo_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// BenchmarkWriteFile writes new files, and then the same ones once more, by as many writers as there are processors.
func BenchmarkWriteFile(b *testing.B) {
	for _, mode := range []repo.Mode{repo.ModeBareUser, repo.ModeArchive} {
		for _, size := range []int{2 << 10, 50 << 10, 1 << 20} {
			r := repotest.Init(b, mode)
			content := make([]byte, size)
			source := rand.NewChaCha8([32]byte{})
			if _, err := source.Read(content); err != nil {
				b.Fatal(err)
			}
			seed := uint64(0)
			for _, name := range []string{"new", "known"} {
				b.Run(fmt.Sprintf("%s/%d/%s", mode, size, name), func(b *testing.B) {
					b.SetBytes(int64(size))
					if name == "new" {
						seed++
					}
					writeMany(b, r, content, seed)
				})
			}
		}
	}
}

func writeMany(b *testing.B, r *repo.Repo, content []byte, seed uint64) {
	txn, err := r.Begin(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer txn.Abort()
	g, ctx := errgroup.WithContext(b.Context())
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		g.Go(func() error {
			own := bytes.Clone(content)
			for i := w; i < b.N; i += workers {
				binary.LittleEndian.PutUint64(own, seed)
				binary.LittleEndian.PutUint64(own[8:], uint64(i))
				h := &object.FileHeader{Mode: object.ModeRegular | 0o644}
				if _, err := txn.WriteFile(ctx, h, int64(len(own)), bytes.NewReader(own)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	if _, err := txn.Commit(b.Context()); err != nil {
		b.Fatal(err)
	}
}
