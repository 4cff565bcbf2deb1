package repo_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

// This example copies a commit from a server's repository to a host's, which has another mode.
func ExampleRepo_PullLocal() {
	ctx := context.Background()
	server, dir, done := exampleRepo()
	defer done()
	commit, err := commitExample(ctx, server, "hello\n")
	if err != nil {
		log.Fatal(err)
	}

	host, err := repo.Init(filepath.Join(dir, "host"), repo.ModeBareUser)
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	stats, err := host.PullLocal(ctx, server, []string{"os/stable"}, repo.PullOptions{Remote: "origin"})
	if err != nil {
		log.Fatal(err)
	}
	got, err := host.ResolveRev("origin:os/stable")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(got == commit, stats.MetadataWritten, "objects of metadata,", stats.ContentWritten, "of content")
	// Output: true 3 objects of metadata, 1 of content
}

// This example counts the objects that no ref needs any more, and then deletes them.
func ExampleRepo_Prune() {
	ctx := context.Background()
	r, _, done := exampleRepo()
	defer done()
	for _, content := range []string{"hello\n", "good bye\n"} {
		if _, err := commitExample(ctx, r, content); err != nil {
			log.Fatal(err)
		}
	}

	for _, dry := range []bool{true, false, false} {
		stats, err := r.Prune(ctx, repo.PruneOptions{RefsOnly: true, NoPrune: dry})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(stats.Deleted, "of", stats.Total, "objects")
	}
	// Output:
	// 3 of 7 objects
	// 3 of 7 objects
	// 0 of 4 objects
}

// This example damages a file object, which Fsck finds.
func ExampleRepo_Fsck() {
	ctx := context.Background()
	r, dir, done := exampleRepo()
	defer done()
	if _, err := commitExample(ctx, r, "hello\n"); err != nil {
		log.Fatal(err)
	}
	objects, err := filepath.Glob(filepath.Join(dir, "repo/objects/*/*.filez"))
	if err != nil {
		log.Fatal(err)
	}
	if err := os.Truncate(objects[0], 20); err != nil {
		log.Fatal(err)
	}

	report, err := r.Fsck(ctx, repo.FsckOptions{})
	fmt.Println(errors.Is(err, repo.ErrRepositoryCorrupt), report.Objects, "objects")
	for _, p := range report.Problems {
		fmt.Println(p.Object.Type, "damaged")
	}
	// Output:
	// true 4 objects
	// file damaged
}
