// Command split plans how to split a root filesystem into layers, prints the plan, and writes the image to an OCI
// layout.
//
//	go run ./examples/split ROOTFS LAYOUT
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: split ROOTFS LAYOUT")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root, layout string) error {
	tree, err := rootfs.Dir(ctx, root)
	if err != nil {
		return err
	}
	defer tree.Close()
	created := time.Unix(0, 0)
	opts := plan.Options{MaxLayers: 20}
	opts.Image.Created = &created
	p, err := plan.Tree(ctx, tree, nil, opts)
	if err != nil {
		return err
	}
	for _, layer := range p.Arrangement.Layers {
		fmt.Printf("%10d bytes, changed by %3.0f%% of updates: %v\n", layer.Size, 100*layer.Probability, layer.Components)
	}
	image, err := p.Image(ctx)
	if err != nil {
		return err
	}
	_, err = dest.Write(ctx, image, imgref.ImageReference{Transport: imgref.OCIDir, Name: layout}, dest.Options{})
	return err
}
