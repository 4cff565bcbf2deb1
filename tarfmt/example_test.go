package tarfmt_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// A chunk of a layered image goes into a repository; a synthetic commit of its objects keeps them from being pruned.
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
	if err := tarfmt.ExportChunk(ctx, &layer, r, repo.Checksum{}, nil, tarfmt.ExportOptions{}); err != nil {
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
	fmt.Println(len(objects), "objects, held by", repo.HashMetadata(commit))
	// Output: 0 objects, held by 6109d33e99f48e9b90cdf8ad037b8e5d20ef899697cfd3eb492cf78800aed498
}
