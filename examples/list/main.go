// Command list prints the refs of a repository and the files in each ref's commit.
//
//	go run ./examples/list REPO
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: list REPO")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path string) error {
	r, err := repo.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	refs, err := r.Refs("")
	if err != nil {
		return err
	}
	for _, ref := range refs {
		fmt.Println(ref.Name, ref.Commit)
		err := repo.List(ctx, r, ref.Commit, "/", repo.ListOptions{Recursive: true}, func(e *repo.ListEntry) error {
			_, err := fmt.Println("  " + e.Line(false, false))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
