package tarfmt_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// workloads are trees that resemble parts of an operating system.
var workloads = []struct {
	name  string
	files int
	size  int
}{
	{"small", 5000, 4 << 10},
	{"medium", 1000, 100 << 10},
	{"large", 8, 16 << 20},
}

// workload stores a tree of files of one size. It returns the commit and the size of the content in bytes.
func workload(b *testing.B, r *repo.Repo, files, size int) (object.Checksum, int64) {
	b.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	tree := []repotest.Entry{{Mode: object.ModeDir | 0o755}}
	for i := range files {
		if i%100 == 0 {
			tree = append(tree, repotest.Entry{Path: fmt.Sprintf("d%03d", i/100), Mode: object.ModeDir | 0o755})
		}
		data := make([]byte, size)
		for j := range data {
			data[j] = byte(rnd.Uint32() & 15)
		}
		tree = append(tree, repotest.Entry{Path: fmt.Sprintf("d%03d/f%06d", i/100, i), Mode: object.ModeRegular | 0o644,
			Content: data})
	}
	return repotest.Commit(b, r, tree, ""), int64(files) * int64(size)
}

func BenchmarkExport(b *testing.B) {
	for _, mode := range []repo.Mode{repo.ModeBareUser, repo.ModeArchive} {
		for _, w := range workloads {
			b.Run(mode.String()+"/"+w.name, func(b *testing.B) {
				r := repotest.Init(b, mode)
				commit, size := workload(b, r, w.files, w.size)
				all := content(b, r, commit)
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					if err := tarfmt.ExportChunk(b.Context(), io.Discard, r, commit, all, tarfmt.ExportOptions{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkEncode measures the encoder without a repository.
func BenchmarkEncode(b *testing.B) {
	src := newMemSource()
	var nodes []node
	for i := range 5000 {
		data := make([]byte, 4<<10)
		copy(data, fmt.Sprint(i))
		nodes = append(nodes, node{path: fmt.Sprintf("d%d/f%d", i/100, i), mode: 0o644, data: string(data)})
	}
	commit := src.addCommit(b, object.Commit{}, object.DirMeta{Mode: object.ModeDir | 0o755}, nodes)
	b.SetBytes(5000 * 4 << 10)
	b.ReportAllocs()
	for b.Loop() {
		if err := tarfmt.ExportCommit(b.Context(), io.Discard, src, commit); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkImport(b *testing.B) {
	for _, mode := range []repo.Mode{repo.ModeBareUser, repo.ModeArchive} {
		for _, w := range workloads {
			b.Run(mode.String()+"/"+w.name, func(b *testing.B) {
				src := repotest.Init(b, repo.ModeBareUser)
				commit, size := workload(b, src, w.files, w.size)
				var stream bytes.Buffer
				if err := tarfmt.ExportCommit(b.Context(), &stream, src, commit); err != nil {
					b.Fatal(err)
				}
				r := repotest.Init(b, mode)
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					txn, err := r.Begin(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					if _, err := tarfmt.ImportCommit(b.Context(), txn, bytes.NewReader(stream.Bytes()),
						tarfmt.ImportOptions{}); err != nil {
						b.Fatal(err)
					}
					if err := txn.Abort(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
