package repo_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// This example stores a tree of one file and a commit of it in one transaction, and sets a ref.
func ExampleRepo_Begin() {
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
	commit, err := writeHello(context.Background(), r)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(commit)
	// Output: fe50d9f7a8c9e1b0c2cf61c42114c2e98bc62f4b6ad76914d2dea7dad7c28877
}

func writeHello(ctx context.Context, r *repo.Repo) (object.Checksum, error) {
	txn, err := r.Begin(ctx)
	if err != nil {
		return object.Checksum{}, err
	}
	defer txn.Abort() // does nothing after Commit

	const hello = "hello world\n"
	header := &object.FileHeader{Mode: object.ModeRegular | 0o644}
	file, err := txn.WriteFile(ctx, header, int64(len(hello)), strings.NewReader(hello))
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
	commit, err := txn.WriteCommit(ctx, &object.Commit{Subject: "first", Timestamp: 1700000000, Tree: tree, Meta: meta})
	if err != nil {
		return object.Checksum{}, err
	}
	if err := txn.SetRef("os/stable", commit); err != nil {
		return object.Checksum{}, err
	}
	_, err = txn.Commit(ctx)
	return commit, err
}

// This example finds a file through the commit that a ref names.
func ExampleRepo_OpenFile() {
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
	if _, err := writeHello(ctx, r); err != nil {
		log.Fatal(err)
	}

	id, err := r.ResolveRev("os/stable")
	if err != nil {
		log.Fatal(err)
	}
	commit, err := repo.LoadCommit(ctx, r, id)
	if err != nil {
		log.Fatal(err)
	}
	tree, err := repo.LoadDirTree(ctx, r, commit.Tree)
	if err != nil {
		log.Fatal(err)
	}
	file, info, err := r.OpenFile(ctx, tree.Files[0].Checksum)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	fmt.Printf("%s has %d bytes and mode %o\n", tree.Files[0].Name, info.Size, info.Mode)
	if _, err := io.Copy(os.Stdout, file); err != nil {
		log.Fatal(err)
	}
	// Output:
	// hello has 12 bytes and mode 100644
	// hello world
}
