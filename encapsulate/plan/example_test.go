package plan_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// This example plans an ordinary image of a directory. The directory is read, not copied. No packages are found, so
// there is one layer with the directories and one with the file.
func ExampleTree() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "hello"), []byte("hello\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	tree, err := rootfs.Dir(ctx, dir)
	if err != nil {
		log.Fatal(err)
	}
	defer tree.Close()

	created := time.Unix(1700000000, 0)
	opts := plan.Options{MaxLayers: 10}
	opts.Image.Created = &created
	plan, err := plan.Tree(ctx, tree, nil, opts)
	if err != nil {
		log.Fatal(err)
	}
	img, err := plan.Image(ctx)
	if err != nil {
		log.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(layers), "layers")
	// Output: 2 layers
}
