// Command encapsulate writes the commit of a ref to an OCI layout, as an image with one layer.
//
//	go run ./examples/encapsulate REPO REF LAYOUT
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: encapsulate REPO REF LAYOUT")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path, ref, layout string) error {
	r, err := repo.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	commit, err := r.ResolveRev(ref)
	if err != nil {
		return err
	}
	// The layers are generated while they are written.
	opts := encapsulate.Options{Labels: map[string]string{"made-by": "an example"}}
	image, err := encapsulate.Build(ctx, r, commit, opts)
	if err != nil {
		return err
	}
	digest, err := dest.Write(ctx, image, imgref.ImageReference{Transport: imgref.OCIDir, Name: layout}, dest.Options{})
	if err != nil {
		return err
	}
	fmt.Println(digest)
	return nil
}
