package tarfmt_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// This example copies a commit through a stream into another repository and checks that it is complete there.
func ExampleExportCommit() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var repos [2]*repo.Repo
	for i := range repos {
		if repos[i], err = repo.Init(filepath.Join(dir, fmt.Sprint(i)), repo.ModeArchive); err != nil {
			log.Fatal(err)
		}
		defer repos[i].Close()
	}
	commit, err := commitEmptyTree(ctx, repos[0])
	if err != nil {
		log.Fatal(err)
	}

	var stream bytes.Buffer
	if err := tarfmt.ExportCommit(ctx, &stream, repos[0], commit); err != nil {
		log.Fatal(err)
	}
	txn, err := repos[1].Begin(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer txn.Abort() // does nothing after Commit
	got, err := tarfmt.ImportCommit(ctx, txn, &stream, tarfmt.ImportOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if err := txn.VerifyComplete(ctx, got); err != nil {
		log.Fatal(err)
	}
	txn.UnmarkPartial(got)
	if err := txn.SetRef("os/stable", got); err != nil {
		log.Fatal(err)
	}
	if _, err := txn.Commit(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(got == commit)
	// Output: true
}

func commitEmptyTree(ctx context.Context, r *repo.Repo) (object.Checksum, error) {
	txn, err := r.Begin(ctx)
	if err != nil {
		return object.Checksum{}, err
	}
	defer txn.Abort()
	data, err := object.EncodeDirTree(&object.DirTree{})
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
	commit, err := txn.WriteCommit(ctx, &object.Commit{Subject: "empty", Tree: tree, Meta: meta})
	if err != nil {
		return object.Checksum{}, err
	}
	_, err = txn.Commit(ctx)
	return commit, err
}

// This example imports a chunk of a layered image into a repository. A synthetic commit of its objects keeps them from
// being pruned.
func ExampleImportObjectSet() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	r, err := repo.Init(filepath.Join(dir, "repo"), repo.ModeArchive)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	ctx := context.Background()
	var layer bytes.Buffer
	if err := tarfmt.ExportChunk(ctx, &layer, r, object.Checksum{}, nil, tarfmt.ExportOptions{}); err != nil {
		log.Fatal(err)
	}
	txn, err := r.Begin(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer txn.Abort()
	objects, err := tarfmt.ImportObjectSet(ctx, txn, &layer)
	if err != nil {
		log.Fatal(err)
	}
	commit, _, _ := tarfmt.SyntheticCommit(objects)
	fmt.Println(len(objects), "objects, held by", object.HashMetadata(commit))
	// Output: 0 objects, held by 6109d33e99f48e9b90cdf8ad037b8e5d20ef899697cfd3eb492cf78800aed498
}
