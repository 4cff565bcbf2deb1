package repo_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// commitExample makes a directory with one file and commits it.
func commitExample(ctx context.Context, r *repo.Repo, content string) (object.Checksum, error) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		return object.Checksum{}, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "hello"), []byte(content), 0o644); err != nil {
		return object.Checksum{}, err
	}
	txn, err := r.Begin(ctx)
	if err != nil {
		return object.Checksum{}, err
	}
	defer txn.Abort() // does nothing after Commit
	mt := repo.NewMutableTree()
	if err := txn.AddDirectory(ctx, mt, dir, repo.TreeOptions{CanonicalPermissions: true}); err != nil {
		return object.Checksum{}, err
	}
	tree, meta, err := mt.WriteTo(ctx, txn)
	if err != nil {
		return object.Checksum{}, err
	}
	c, err := txn.WriteCommit(ctx, &object.Commit{Subject: "hello", Timestamp: 1700000000, Tree: tree, Meta: meta})
	if err != nil {
		return c, err
	}
	if err := txn.SetRef("os/stable", c); err != nil {
		return c, err
	}
	_, err = txn.Commit(ctx)
	return c, err
}

func exampleRepo() (*repo.Repo, string, func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	r, err := repo.Init(filepath.Join(dir, "repo"), repo.ModeArchive)
	if err != nil {
		log.Fatal(err)
	}
	return r, dir, func() {
		defer os.RemoveAll(dir)
		defer r.Close()
	}
}

// This example commits a directory and sets a ref to the commit.
func ExampleTxn_AddDirectory() {
	ctx := context.Background()
	r, _, done := exampleRepo()
	defer done()
	c, err := commitExample(ctx, r, "hello\n")
	if err != nil {
		log.Fatal(err)
	}
	err = repo.List(ctx, r, c, "/hello", repo.ListOptions{}, func(e *repo.ListEntry) error {
		fmt.Println(e.Line(false, false))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: -00644 0 0      6 /hello
}

// This example checks out a commit as an ordinary user.
func ExampleRepo_Checkout() {
	ctx := context.Background()
	r, dir, done := exampleRepo()
	defer done()
	c, err := commitExample(ctx, r, "hello\n")
	if err != nil {
		log.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	if err := r.Checkout(ctx, c, out, repo.CheckoutOptions{User: true}); err != nil {
		log.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(out, "hello"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", data)
	// Output: hello
}

// This example compares two commits.
func ExampleDiff() {
	ctx := context.Background()
	r, _, done := exampleRepo()
	defer done()
	from, err := commitExample(ctx, r, "hello\n")
	if err != nil {
		log.Fatal(err)
	}
	to, err := commitExample(ctx, r, "good bye\n")
	if err != nil {
		log.Fatal(err)
	}
	diff, err := repo.Diff(ctx, r, from, to, "/")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(diff)
	fmt.Println(diff.ChangedFiles)
	// Output:
	// files(added:0 removed:0 changed:1) dirs(added:0 removed:0 changed:0)
	// [/hello]
}
