package repo_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

func TestRefNames(t *testing.T) {
	t.Parallel()
	valid := []string{"a", "a/b", "_und", "a..b", "0/1", "exampleos/x86_64/stable", "ünïcode", "日本", "a-b.c_d",
		strings.Repeat("x", 255)}
	invalid := []string{"", "/", "a/", "/a", "a//b", ".a", "-a", "a/.b", "a/-b", "..", "a/../b", "a b", "a@b", "a+b",
		"a~b", "a\n", "a:b", "a\x00", "\xff", strings.Repeat("x", 256), strings.Repeat("x/", 2000) + "x"}
	for _, name := range valid {
		if err := repo.ValidateRef(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range invalid {
		if err := repo.ValidateRef(name); !errors.Is(err, repo.ErrInvalidRef) {
			t.Errorf("%q: got %v, want ErrInvalidRef", name, err)
		}
	}
}

func TestRefspecs(t *testing.T) {
	t.Parallel()
	for s, want := range map[string][2]string{
		"a/b": {"", "a/b"}, "origin:a/b": {"origin", "a/b"}, "o.r-g:x": {"o.r-g", "x"},
	} {
		remote, ref, err := repo.ParseRefspec(s)
		if got := [2]string{remote, ref}; got != want || err != nil {
			t.Errorf("%q: got %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", ":", ":a", "a:", "a/b:c", "a:b:c", ".a:b"} {
		if _, _, err := repo.ParseRefspec(s); !errors.Is(err, repo.ErrInvalidRef) {
			t.Errorf("%q: got %v, want ErrInvalidRef", s, err)
		}
	}
}

// padded returns a checksum that begins with the given digits.
func padded(t testing.TB, digits string) object.Checksum {
	t.Helper()
	c, err := object.ParseChecksum(digits + strings.Repeat("0", 64-len(digits)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func setRef(t *testing.T, r *repo.Repo, ref, digits string) {
	t.Helper()
	if err := r.SetRef(t.Context(), ref, padded(t, digits)); err != nil {
		t.Fatalf("%s: %v", ref, err)
	}
}

func TestRefsAreWrittenListedAndResolved(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	for ref, digits := range map[string]string{
		"os/stable": "1", "os/testing": "2", "os-other": "3", "origin:os/stable": "4", "origin:main": "5", "b.x:z": "6",
	} {
		setRef(t, r, ref, digits)
	}
	if err := r.SetAlias(t.Context(), "alias/of/stable", "os/stable"); err != nil {
		t.Fatal(err)
	}
	mirror := filepath.Join(r.Path(), "refs/mirrors/org.example.Os/mirrored")
	if err := os.MkdirAll(mirror, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mirror, "ref"), []byte(padded(t, "7").String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	lists := map[string][]string{
		"": {"alias/of/stable", "b.x:z", "mirrored/ref", "origin:main", "origin:os/stable", "os-other", "os/stable",
			"os/testing"},
		"os":        {"os/stable", "os/testing"},
		"os/stable": {"os/stable"},
		"origin:":   {"origin:main", "origin:os/stable"},
		"origin:os": {"origin:os/stable"},
		"nothing":   nil,
		"no:thing":  nil,
	}
	for prefix, want := range lists {
		refs, err := r.Refs(prefix)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, ref := range refs {
			got = append(got, ref.Name)
			if ref.Name == "alias/of/stable" && ref.Alias != "os/stable" {
				t.Errorf("got alias of %q", ref.Alias)
			}
			if (ref.Name == "mirrored/ref") != (ref.Collection == "org.example.Os") {
				t.Errorf("%s: got collection %q", ref.Name, ref.Collection)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("refs of %q differ (-want +got):\n%s", prefix, diff)
		}
	}
	for rev, want := range map[string]string{
		"os/stable": "1", "alias/of/stable": "1", "origin:os/stable": "4", "origin/os/stable": "4", "main": "5", "z": "6",
	} {
		if got, err := r.ResolveRef(rev); got != padded(t, want) || err != nil {
			t.Errorf("%s: got %v, %v, want %s…", rev, got, err, want)
		}
	}
	for _, rev := range []string{"os", "nothing", "origin:nothing", "mirrored/ref", "os/stable/below"} {
		if got, err := r.ResolveRef(rev); !errors.Is(err, repo.ErrRefNotFound) {
			t.Errorf("%s: got %v, %v, want ErrRefNotFound", rev, got, err)
		}
	}
}

func TestRefConflicts(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	setRef(t, r, "x/y", "1")
	for _, ref := range []string{"x", "x/y/z", strings.Repeat("a", 64)} {
		if err := r.SetRef(t.Context(), ref, padded(t, "2")); err == nil {
			t.Errorf("%s: want an error", ref)
		}
	}
	if err := r.DeleteRef(t.Context(), "x/y"); err != nil {
		t.Fatal(err)
	}
	setRef(t, r, "x", "3") // the empty directory is replaced
	if got, err := r.ResolveRef("x"); got != padded(t, "3") || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	for range 2 { // the second time there is nothing to delete
		if err := r.DeleteRef(t.Context(), "x"); err != nil {
			t.Error(err)
		}
	}
}

func TestAliases(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	if err := r.SetAlias(t.Context(), "alias", "target"); !errors.Is(err, repo.ErrRefNotFound) {
		t.Errorf("got %v, want ErrRefNotFound", err)
	}
	setRef(t, r, "target", "1")
	if err := r.SetAlias(t.Context(), "a/b/alias", "target"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.Readlink(filepath.Join(r.Path(), "refs/heads/a/b/alias")); got != "../../target" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	setRef(t, r, "target", "2")
	if got, err := r.ResolveRef("a/b/alias"); got != padded(t, "2") || err != nil {
		t.Errorf("got %v, %v, want what the target is now", got, err)
	}
	if err := r.DeleteRef(t.Context(), "target"); err == nil || !strings.Contains(err.Error(), "a/b/alias") {
		t.Errorf("got %v, want an error that names the alias", err)
	}
	for _, ref := range []string{"a/b/alias", "target"} {
		if err := r.DeleteRef(t.Context(), ref); err != nil {
			t.Error(err)
		}
	}
	if refs, err := r.Refs(""); len(refs) != 0 || err != nil {
		t.Errorf("got %v, %v", refs, err)
	}
}

func TestRevisions(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	repotest.CommitRelease(t, r, 1)
	repotest.CommitRelease(t, r, 2)
	first, second := repotest.ReleaseCommit(1), repotest.ReleaseCommit(2)
	digits := second.String()[:6]
	setRef(t, r, first.String()[:5], "abc") // a ref that looks like the beginning of a commit
	for rev, want := range map[string]object.Checksum{
		"exampleos/x86_64/stable":  second,
		"exampleos/x86_64/stable^": first,
		second.String():            second,
		second.String() + "^":      first,
		digits:                     second,
		digits + "^":               first,
		first.String()[:5]:         padded(t, "abc"),
		first.String()[:6]:         first,
		padded(t, "def").String():  padded(t, "def"),
	} {
		if got, err := r.ResolveRev(rev); got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", rev, got, err, want)
		}
	}
	for _, rev := range []string{"", "^", "nothing", second.String()[:3], "0000", "exampleos/x86_64/stable^^", "a b"} {
		if got, err := r.ResolveRev(rev); err == nil {
			t.Errorf("%q: got %v, want an error", rev, got)
		}
	}
}

func TestAmbiguousRevision(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	dir := filepath.Join(r.Path(), "objects/ab")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, digits := range []string{"abcd1", "abcd2"} {
		if err := os.WriteFile(filepath.Join(dir, padded(t, digits).String()[2:]+".commit"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := r.ResolveRev("abcd"); !errors.Is(err, repo.ErrNotUnique) {
		t.Errorf("got %v, %v, want ErrNotUnique", got, err)
	}
	if got, err := r.ResolveRev("abcd2"); got != padded(t, "abcd2") || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestParentRepository(t *testing.T) {
	t.Parallel()
	parent, child := repotest.Init(t, repo.ModeArchive), repotest.Init(t, repo.ModeBareUser)
	c := repotest.CommitRelease(t, parent, 1)
	if err := child.SetConfig("core", "parent", parent.Path()); err != nil {
		t.Fatal(err)
	}
	child = open(t, child.Path())
	if got, err := child.ResolveRev("exampleos/x86_64/stable"); got != c || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	commit, err := repo.LoadCommit(t.Context(), child, c)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := repo.LoadDirTree(t.Context(), child, commit.Tree)
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := child.OpenFile(t.Context(), tree.Files[0].Checksum)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	// The written ref is a file of its own.
	txn, err := child.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name := object.Name{Checksum: c, Type: object.TypeCommit}
	if ok, err := txn.HasObject(name); ok || err != nil {
		t.Errorf("got %v, %v, want false", ok, err)
	}
	if ok, err := child.Has(name); !ok || err != nil {
		t.Errorf("got %v, %v, want true", ok, err)
	}
	if err := txn.Abort(); err != nil {
		t.Error(err)
	}
}

func FuzzParseRefspec(f *testing.F) {
	for _, s := range []string{"a/b", "origin:a/b", "ünïcode", "a..b", "a:b:c", "../x", "a\n"} {
		f.Add(s)
	}
	// These refs occur on real systems: those of Fedora and GNOME, of applications, and those that ostree and upstream's
	// program write themselves.
	for _, s := range []string{
		"fedora/x86_64/coreos/stable", "fedora:fedora/41/x86_64/silverblue", "fedora-iot:fedora/stable/aarch64/iot",
		"eos:os/eos/amd64/latest1",
		"gnome-os/master/x86_64-user", "flathub:app/org.gnome.Maps/x86_64/stable",
		"runtime/org.freedesktop.Platform.GL.default/x86_64/23.08-extra",
		"ostree/0/1/0", "ostree/1/0/0", "ostree-metadata", "rpmostree/base/0", "rpmostree/pkg/bash/5.2.26-3.fc40.x86__64",
		"ostree/container/image/docker_3A__2F__2F_quay_2E_io/fedora/fedora-coreos_3A_stable",
		"ostree/container/blob/sha256_3A_02fdfe0819d2096fc528b2337969cb769070733ddb52e09d8f2e9595264e853c",
		"ostree/container/image/oci_3A__2F_var/tmp/x_3A_tag", "ostree/container/baseimage/0",
	} {
		if _, _, err := repo.ParseRefspec(s); err != nil {
			f.Errorf("%s: %v", s, err)
		}
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		remote, ref, err := repo.ParseRefspec(s)
		if err != nil {
			return
		}
		again := ref
		if remote != "" {
			again = remote + ":" + ref
		}
		if again != s {
			t.Errorf("%q was taken for %q", s, again)
		}
		if clean := filepath.Clean(filepath.Join("refs", remote, ref)); clean != filepath.Join("refs", remote)+"/"+ref {
			t.Errorf("%q is the file %q", s, clean)
		}
	})
}
