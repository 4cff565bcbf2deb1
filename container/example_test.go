package container_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// A host imports the commit of an image that was made elsewhere.
func ExampleUnencapsulate() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ref, err := imgref.ParseOstreeImageReference("ostree-unverified-image:oci:" + filepath.Join(dir, "image"))
	if err != nil {
		log.Fatal(err)
	}
	commit, err := publish(ctx, filepath.Join(dir, "build"), ref.Image)
	if err != nil {
		log.Fatal(err)
	}

	host, err := repo.Init(filepath.Join(dir, "host"), repo.ModeBareUser)
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	res, err := container.Unencapsulate(ctx, host, ref, source.Options{}, container.ImportOptions{WriteRef: "os/stable"})
	if err != nil {
		log.Fatal(err)
	}
	got, err := host.ResolveRef("os/stable")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Commit == commit, got == commit)
	// Output: true true
}

// publish commits a directory with one file and writes an image of the commit.
func publish(ctx context.Context, dir string, to imgref.ImageReference) (c object.Checksum, err error) {
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return c, err
	}
	if err := os.WriteFile(filepath.Join(tree, "hello"), []byte("hello\n"), 0o644); err != nil {
		return c, err
	}
	r, err := repo.Init(filepath.Join(dir, "repo"), repo.ModeArchive)
	if err != nil {
		return c, err
	}
	defer r.Close()
	txn, err := r.Begin(ctx)
	if err != nil {
		return c, err
	}
	defer txn.Abort() // does nothing after Commit
	mt := repo.NewMutableTree()
	if err := txn.AddDirectory(ctx, mt, tree, repo.TreeOptions{CanonicalPermissions: true}); err != nil {
		return c, err
	}
	root, meta, err := mt.WriteTo(ctx, txn)
	if err != nil {
		return c, err
	}
	if c, err = txn.WriteCommit(ctx, &object.Commit{Subject: "hello", Tree: root, Meta: meta}); err != nil {
		return c, err
	}
	if _, err := txn.Commit(ctx); err != nil {
		return c, err
	}
	img, err := encapsulate.Build(ctx, r, c, encapsulate.Options{})
	if err != nil {
		return c, err
	}
	_, err = dest.Write(ctx, img, to, dest.Options{})
	return c, err
}
