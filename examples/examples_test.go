// Package examples holds programs that show how to use the packages. This test builds and runs each of them.
package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

func TestEachProgramDoesWhatItSays(t *testing.T) {
	dir := t.TempDir()
	must(t, "go", "build", "-o", dir, "./...")
	program := func(name string) string { return filepath.Join(dir, name) }
	layout, host := filepath.Join(dir, "image"), filepath.Join(dir, "host")
	path, commit := newRepo(t)

	if got := must(t, program("encapsulate"), path, "os/stable", layout); !strings.HasPrefix(got, "sha256:") {
		t.Errorf("encapsulate printed %q", got)
	}
	if got := must(t, program("unencapsulate"), "ostree-unverified-image:oci:"+layout, host, "os/stable"); got != commit {
		t.Errorf("unencapsulate printed %q, want %s", got, commit)
	}
	got := must(t, program("list"), host)
	if !strings.HasPrefix(got, "os/stable "+commit) || !strings.HasSuffix(got, " /hello") {
		t.Errorf("list printed %q", got)
	}
	got = must(t, program("split"), newTree(t), filepath.Join(dir, "chunked"))
	if !strings.Contains(got, "bytes, changed by") {
		t.Errorf("split printed %q", got)
	}
}

// must runs a program and returns what it printed.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", filepath.Base(name), err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// newTree returns a directory with a file.
func newTree(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "hello"), []byte("hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return tree
}

// newRepo returns a repository with a commit, and the ref os/stable to it.
func newRepo(t *testing.T) (path, commit string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "repo")
	r, err := repo.Init(path, repo.ModeArchive)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort() // does nothing after Commit
	root := repo.NewMutableTree()
	if err := txn.AddDirectory(t.Context(), root, newTree(t), repo.TreeOptions{CanonicalPermissions: true}); err != nil {
		t.Fatal(err)
	}
	tree, meta, err := root.WriteTo(t.Context(), txn)
	if err != nil {
		t.Fatal(err)
	}
	c, err := txn.WriteCommit(t.Context(), &object.Commit{Subject: "hello", Tree: tree, Meta: meta})
	if err != nil {
		t.Fatal(err)
	}
	if err := txn.SetRef("os/stable", c); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return path, c.String()
}
