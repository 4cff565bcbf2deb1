package repotest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Write stores a tree as returned by [Release] and returns the ids of its root.
func Write(ctx context.Context, txn *repo.Txn, tree []Entry) (root, meta object.Checksum, err error) {
	// Going backwards, the content of a directory precedes it.
	dirs := map[string]*object.DirTree{}
	at := func(p string) *object.DirTree {
		if dirs[p] == nil {
			dirs[p] = &object.DirTree{}
		}
		return dirs[p]
	}
	for i := len(tree) - 1; i >= 0; i-- {
		e := &tree[i]
		if e.IsDir() {
			if root, meta, err = writeDir(ctx, txn, e, at(e.Path)); err != nil {
				return root, meta, err
			}
			if e.Path != "" {
				up := at(parent(e.Path))
				up.Dirs = append([]object.DirEntry{{Name: path.Base(e.Path), Tree: root, Meta: meta}}, up.Dirs...)
			}
			continue
		}
		c, err := txn.WriteFile(ctx, e.Header(), int64(len(e.Content)), bytes.NewReader(e.Content))
		if err != nil {
			return root, meta, fmt.Errorf("%s: %w", e.Path, err)
		}
		up := at(parent(e.Path))
		up.Files = append([]object.FileEntry{{Name: path.Base(e.Path), Checksum: c}}, up.Files...)
	}
	return root, meta, nil
}

func parent(p string) string {
	if p = path.Dir(p); p == "." {
		return ""
	}
	return p
}

func writeDir(ctx context.Context, txn *repo.Txn, e *Entry, d *object.DirTree) (tree, meta object.Checksum, err error) {
	data, err := object.EncodeDirTree(d)
	if err != nil {
		return tree, meta, err
	}
	if tree, err = txn.WriteMetadata(ctx, object.TypeDirTree, data); err != nil {
		return tree, meta, err
	}
	m := &object.DirMeta{UID: e.UID, GID: e.GID, Mode: e.Mode, Xattrs: e.Xattrs}
	if data, err = object.EncodeDirMeta(m); err != nil {
		return tree, meta, err
	}
	meta, err = txn.WriteMetadata(ctx, object.TypeDirMeta, data)
	return tree, meta, err
}

// Commit stores a tree and a commit of it without metadata, sets the ref if it is not empty, and returns the commit.
func Commit(t testing.TB, r *repo.Repo, tree []Entry, ref string) object.Checksum {
	t.Helper()
	return commit(t, r, tree, ref, &object.Commit{Subject: "test", Timestamp: 1700000000}, nil)
}

// releaseFacts are the fields of upstream's commits.
var releaseFacts = map[int]struct{ version, date string }{
	1: {"41.202601.0", "2026-01-10T11:12:13Z"},
	2: {"42.202602.0", "2026-02-10T11:12:13Z"},
}

// CommitRelease stores the tree and the commit of upstream's fixtures with its detached metadata, sets their ref
// exampleos/x86_64/stable, and returns the commit, which is [ReleaseCommit] except in mode bare-user-only. The parent
// of the second release is the first, which is not stored with it.
func CommitRelease(t testing.TB, r *repo.Repo, n int) object.Checksum {
	t.Helper()
	const ref = "exampleos/x86_64/stable"
	facts := releaseFacts[n]
	date, err := time.Parse(time.RFC3339, facts.date)
	if err != nil {
		t.Fatal(err)
	}
	c := &object.Commit{
		Subject: fmt.Sprintf("Release %d", n), Body: fmt.Sprintf("Body of release %d", n),
		Timestamp: uint64(date.Unix()),
		Metadata: gvariant.Dict{
			{Key: "buildsys.checksum", Value: gvariant.String(buildsysChecksum)},
			{Key: "version", Value: gvariant.String(facts.version)},
			{Key: "ostree.bootable", Value: gvariant.Bool(true)},
			{Key: "ostree.linux", Value: gvariant.String("6.12.3-100.x86_64")},
			{Key: "ostree.ref-binding", Value: gvariant.Strings([]string{ref})},
		},
	}
	if n > 1 {
		c.Parent = ReleaseCommit(n - 1)
	}
	note := gvariant.Dict{{Key: "detached.note", Value: gvariant.String(fmt.Sprintf("hello-%d", n))}}
	id := commit(t, r, Release(n), ref, c, note.Encode())
	if r.Mode() != repo.ModeBareUserOnly && id != ReleaseCommit(n) {
		t.Fatalf("release %d was committed as %s, want %s", n, id, ReleaseCommit(n))
	}
	return id
}

const buildsysChecksum = "41af286dc0b172ed2f1ca934fd2278de4a1192302ffa07087cea2682e7d372e3"

func commit(t testing.TB, r *repo.Repo, tree []Entry, ref string, c *object.Commit, detached []byte) object.Checksum {
	t.Helper()
	ctx := t.Context()
	txn, err := r.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := txn.Abort(); err != nil {
			t.Error(err)
		}
	}()
	if c.Tree, c.Meta, err = Write(ctx, txn, For(r.Mode(), tree)); err != nil {
		t.Fatal(err)
	}
	id, err := txn.WriteCommit(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if detached != nil {
		if err := txn.WriteDetachedMetadata(ctx, id, detached); err != nil {
			t.Fatal(err)
		}
	}
	if ref != "" {
		if err := txn.SetRef(ref, id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := txn.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	return id
}

// Init makes a repository in a temporary directory and closes it when the test ends. The repository neither syncs to
// disk nor keeps space free.
func Init(t testing.TB, mode repo.Mode) *repo.Repo {
	t.Helper()
	r, err := repo.Init(filepath.Join(t.TempDir(), "repo"), mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	for key, value := range map[string]string{"fsync": "false", "min-free-space-percent": "0"} {
		if err := r.SetConfig("core", key, value); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// MakeDir makes the tree on disk, in an existing directory. Times are those of upstream's fixtures. Owners, special
// modes and xattrs other than user.* require root. If own is set, files belong to the caller instead and such xattrs
// are left out.
func MakeDir(dir string, tree []Entry, own bool) error {
	// Make hard links last: their targets may be sorted after them.
	for _, links := range []bool{false, true} {
		for i := range tree {
			e := &tree[i]
			if (e.HardLink != "") != links {
				continue
			}
			if err := makeEntry(dir, e, own); err != nil {
				return fmt.Errorf("%s: %w", e.Path, err)
			}
		}
	}
	// Go backwards, since making an entry changes the time of its directory and may need its permissions.
	for i := len(tree) - 1; i >= 0; i-- {
		if err := finishEntry(filepath.Join(dir, tree[i].Path), &tree[i]); err != nil {
			return fmt.Errorf("%s: %w", tree[i].Path, err)
		}
	}
	return nil
}

func makeEntry(dir string, e *Entry, own bool) error {
	file := filepath.Join(dir, e.Path)
	switch {
	case e.HardLink != "":
		return os.Link(filepath.Join(dir, e.HardLink), file)
	case e.Target != "":
		if err := os.Symlink(e.Target, file); err != nil {
			return err
		}
	case !e.IsDir():
		if err := os.WriteFile(file, e.Content, 0o600); err != nil {
			return err
		}
	case e.Path != "":
		if err := os.Mkdir(file, 0o700); err != nil {
			return err
		}
	}
	if !own {
		if err := os.Lchown(file, int(e.UID), int(e.GID)); err != nil {
			return err
		}
	}
	for _, x := range e.Xattrs {
		if own && !strings.HasPrefix(x.Name, "user.") {
			continue
		}
		if err := unix.Lsetxattr(file, x.Name, x.Value, 0); err != nil {
			return fmt.Errorf("xattr %s: %w", x.Name, err)
		}
	}
	return nil
}

func finishEntry(file string, e *Entry) error {
	if e.Target == "" {
		if err := unix.Chmod(file, e.Mode&0o7777); err != nil {
			return err
		}
	}
	const when = 1600000000
	times := []unix.Timespec{{Sec: when}, {Sec: when}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, file, times, unix.AT_SYMLINK_NOFOLLOW)
}
