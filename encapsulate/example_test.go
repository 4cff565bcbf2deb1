package encapsulate_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// This example writes the image of a commit to an OCI layout.
func ExampleBuild() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	r, err := repo.Init(filepath.Join(dir, "repo"), repo.ModeArchive)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	commit, err := writeHello(ctx, r)
	if err != nil {
		log.Fatal(err)
	}

	img, err := encapsulate.Build(ctx, r, commit, encapsulate.Options{
		Labels: map[string]string{"vendor": "Example"}, Platform: &ocispec.Platform{OS: "linux", Architecture: "riscv64"},
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = img.Digest() // no layer was read yet
	fmt.Println(errors.Is(err, stream.ErrNotComputed))
	out, err := layout.Write(filepath.Join(dir, "image"), empty.Index)
	if err != nil {
		log.Fatal(err)
	}
	if err := out.AppendImage(img); err != nil {
		log.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(config.Architecture, config.Created.UTC(), config.Config.Labels["vendor"])
	fmt.Println(config.History[0].CreatedBy)
	// Output:
	// true
	// riscv64 2026-01-02 03:04:05 +0000 UTC Example
	// A greeting
}

// writeHello stores a commit with one file.
func writeHello(ctx context.Context, r *repo.Repo) (object.Checksum, error) {
	txn, err := r.Begin(ctx)
	if err != nil {
		return object.Checksum{}, err
	}
	defer txn.Abort() // does nothing after Commit

	const hello = "hello world\n"
	file, err := txn.WriteFile(ctx, &object.FileHeader{Mode: object.ModeRegular | 0o644},
		int64(len(hello)), strings.NewReader(hello))
	if err != nil {
		return object.Checksum{}, err
	}
	data, err := object.EncodeDirTree(&object.DirTree{Files: []object.FileEntry{{Name: "hello", Checksum: file}}})
	if err != nil {
		return object.Checksum{}, err
	}
	tree, err := txn.WriteMetadata(ctx, object.TypeDirTree, data)
	if err != nil {
		return object.Checksum{}, err
	}
	if data, err = object.EncodeDirMeta(&object.DirMeta{Mode: object.ModeDir | 0o755}); err != nil {
		return object.Checksum{}, err
	}
	meta, err := txn.WriteMetadata(ctx, object.TypeDirMeta, data)
	if err != nil {
		return object.Checksum{}, err
	}
	commit, err := txn.WriteCommit(ctx, &object.Commit{Subject: "A greeting", Timestamp: 1767323045,
		Tree: tree, Meta: meta})
	if err != nil {
		return object.Checksum{}, err
	}
	_, err = txn.Commit(ctx)
	return commit, err
}
