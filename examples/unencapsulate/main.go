// Command unencapsulate stores the commit in an image in a new repository.
//
//	go run ./examples/unencapsulate ostree-unverified-registry:registry.example/os:latest REPO REF
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: unencapsulate OSTREEIMGREF REPO REF")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, image, path, ref string) error {
	from, err := imgref.ParseOstreeImageReference(image)
	if err != nil {
		return err
	}
	r, err := repo.Init(path, repo.ModeBareUser)
	if err != nil {
		return err
	}
	defer r.Close()
	// The ref is written only after every digest was checked and the commit is complete.
	result, err := container.Unencapsulate(ctx, r, from, source.Options{}, container.ImportOptions{WriteRef: ref})
	if err != nil {
		return err
	}
	fmt.Println(result.Commit)
	return nil
}
