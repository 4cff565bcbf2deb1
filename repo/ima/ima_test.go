package ima_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/internal/hosttool"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/ima"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// TestMain is evmctl if the program has that name: it signs with a hash, and writes what it has signed to a file.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "evmctl" {
		os.Exit(m.Run())
	}
	if err := evmctl(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func evmctl(args []string) error {
	file := args[len(args)-1]
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	want := []string{"ima_sign", "--xattr-user", "--key", "key.pem", "--hashalgo", "sha256", file}
	if diff := cmp.Diff(want, args); diff != "" {
		return fmt.Errorf("unexpected arguments: %q", args)
	}
	log, err := os.OpenFile(os.Getenv("EVMCTL_CALLS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(log, "%s\n", data)
	return errors.Join(err, log.Close(), unix.Setxattr(file, "user.ima", []byte(signature(data)), 0))
}

func signature(data []byte) string { return fmt.Sprintf("signed %x", sha256.Sum256(data)) }

// install puts the fake evmctl into the path, and returns a function with the contents that it has signed.
func install(t *testing.T) func() []string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "evmctl")); err != nil {
		t.Fatal(err)
	}
	calls := filepath.Join(dir, "calls")
	t.Setenv("PATH", dir)
	t.Setenv("EVMCTL_CALLS", calls)
	return func() []string {
		data, err := os.ReadFile(calls)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.Fields(string(data))
	}
}

var options = ima.Options{Algorithm: "sha256", Key: "key.pem"}

// tree has a file with a signature, two names of one object, and a symlink.
func tree() []repotest.Entry {
	const dir, file = object.ModeDir, object.ModeRegular
	user := object.Xattr{Name: "user.first", Value: []byte("1")}
	return []repotest.Entry{
		{Mode: dir | 0o755}, {Path: "usr", Mode: dir | 0o700},
		{Path: "usr/a", Mode: file | 0o644, Content: []byte("same")},
		{Path: "usr/b", Mode: file | 0o644, Content: []byte("same")},
		{Path: "usr/c", Mode: file | 0o755, UID: 7, Content: []byte("other"), Xattrs: object.Xattrs{user}},
		{Path: "usr/link", Mode: object.ModeSymlink | 0o777, Target: "a"},
		{Path: "usr/signed", Mode: file | 0o644, Content: []byte("signed"),
			Xattrs: object.Xattrs{{Name: ima.Xattr, Value: []byte("before")}}},
	}
}

// xattrs returns the xattrs of each file of a commit, as text.
func xattrs(t *testing.T, r *repo.Repo, commit object.Checksum) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := repo.EachFile(t.Context(), r, commit, func(f repo.ObjectPath) error {
		info, err := r.FileInfo(t.Context(), f.Checksum)
		if err != nil {
			return err
		}
		var list []string
		for _, x := range info.Xattrs {
			list = append(list, x.Name+"="+string(x.Value))
		}
		out[strings.TrimPrefix(f.Path, "/")] = strings.Join(list, " ")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEachFileIsSignedOnce(t *testing.T) {
	for _, mode := range []repo.Mode{repo.ModeArchive, repo.ModeBareUser} {
		t.Run(mode.String(), func(t *testing.T) {
			signed := install(t)
			r := repotest.Init(t, mode)
			from := repotest.Commit(t, r, tree(), "os")
			id, err := ima.Sign(t.Context(), r, from, "signed", options)
			if err != nil {
				t.Fatal(err)
			}
			if got := signed(); len(got) != 2 {
				t.Errorf("signed: %q, want each object once", got)
			}
			want := map[string]string{
				"usr/a": "security.ima=" + signature([]byte("same")), "usr/b": "security.ima=" + signature([]byte("same")),
				"usr/c": "security.ima=" + signature([]byte("other")) + " user.first=1", "usr/link": "",
				"usr/signed": "security.ima=before",
			}
			if diff := cmp.Diff(want, xattrs(t, r, id)); diff != "" {
				t.Errorf("xattrs (-want +got):\n%s", diff)
			}
			if got, err := r.ResolveRef("signed"); err != nil || got != id {
				t.Errorf("the ref is %s, %v, want %s", got, err, id)
			}
			a, b := load(t, r, from), load(t, r, id)
			b.Tree = a.Tree
			if diff := cmp.Diff(a, b, cmp.AllowUnexported()); diff != "" {
				t.Errorf("the commit (-before +after):\n%s", diff)
			}
			// Everything is signed now.
			again, err := ima.Sign(t.Context(), r, id, "again", options)
			if err != nil || again != id || len(signed()) != 2 {
				t.Errorf("again: %s, %v, signed %q, want %s", again, err, signed(), id)
			}
			all := options
			all.Overwrite = true
			if id, err = ima.Sign(t.Context(), r, id, "again", all); err != nil {
				t.Fatal(err)
			}
			if got := xattrs(t, r, id)["usr/signed"]; got != "security.ima="+signature([]byte("signed")) {
				t.Errorf("overwritten: %q", got)
			}
			if report, err := r.Fsck(t.Context(), repo.FsckOptions{All: true}); err != nil {
				t.Errorf("fsck: %v, %v", err, report.Problems)
			}
			if left, err := filepath.Glob(filepath.Join(r.Path(), "tmp", "ima-*")); err != nil || len(left) > 0 {
				t.Errorf("temporary files are left: %q, %v", left, err)
			}
		})
	}
}

func load(t *testing.T, r *repo.Repo, id object.Checksum) *object.Commit {
	t.Helper()
	c, err := repo.LoadCommit(t.Context(), r, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// New versions of libostree refuse names of xattrs without a NUL.
func TestTheNameOfTheSignatureEndsWithNUL(t *testing.T) {
	install(t)
	r := repotest.Init(t, repo.ModeBareUser)
	id, err := ima.Sign(t.Context(), r, repotest.Commit(t, r, tree(), "os"), "signed", options)
	if err != nil {
		t.Fatal(err)
	}
	view, err := repo.ViewCommit(t.Context(), r, id)
	if err != nil {
		t.Fatal(err)
	}
	item, err := view.Lookup(t.Context(), "/usr/a")
	if err != nil {
		t.Fatal(err)
	}
	name := item.File.String()
	value := make([]byte, 4096)
	n, err := unix.Getxattr(filepath.Join(r.Path(), "objects", name[:2], name[2:]+".file"), "user.ostreemeta", value)
	if err != nil || !strings.Contains(string(value[:n]), "security.ima\x00signed ") {
		t.Errorf("the stored metadata are %q, %v", value[:n], err)
	}
}

func TestAFailureLeavesNoRef(t *testing.T) {
	install(t)
	r := repotest.Init(t, repo.ModeArchive)
	from := repotest.Commit(t, r, tree(), "os")
	_, err := ima.Sign(t.Context(), r, from, "signed", ima.Options{Algorithm: "sha256", Key: "another.pem"})
	if err == nil || !strings.Contains(err.Error(), "evmctl ima_sign: unexpected arguments") {
		t.Errorf("got %v", err)
	}
	if _, err := r.ResolveRef("signed"); !errors.Is(err, repo.ErrRefNotFound) {
		t.Errorf("the ref: %v", err)
	}
	only := repotest.Init(t, repo.ModeBareUserOnly)
	from = repotest.Commit(t, only, tree(), "os")
	if _, err := ima.Sign(t.Context(), only, from, "signed", options); !errors.Is(err, ima.ErrNoXattrs) {
		t.Errorf("a repository without xattrs: %v", err)
	}
}

func TestWithoutTheProgramTheErrorNamesItsPackage(t *testing.T) {
	r := repotest.Init(t, repo.ModeArchive)
	from := repotest.Commit(t, r, tree(), "os")
	t.Setenv("PATH", t.TempDir())
	_, err := ima.Sign(t.Context(), r, from, "signed", options)
	const want = "Spawning evmctl: evmctl is not installed: install the package ima-evm-utils"
	if missing := (*hosttool.MissingError)(nil); !errors.As(err, &missing) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
