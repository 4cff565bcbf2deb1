//go:build interop

package repo_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// oddTree makes the second release and adds what is known to be difficult.
func oddTree(t *testing.T, entries int) string {
	t.Helper()
	dir := t.TempDir()
	if err := repotest.MakeDir(dir, repotest.Release(2), false); err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(dir, "odd")
	long := strings.Repeat("n", 255)
	for name, content := range map[string]string{
		"empty": "", long: "long", "ünïcode": "u", "suid": "s", "cap": "c", "xattr": "x", "hard1": "h", "dir/sticky/f": "f",
	} {
		write(t, filepath.Join(odd, name), content)
	}
	write(t, filepath.Join(odd, "sparse"), "")
	many := filepath.Join(odd, "many")
	if err := os.Mkdir(many, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		// Most files are empty: libostree takes minutes to find out that the others are equal.
		if err := os.WriteFile(filepath.Join(many, fmt.Sprint(i)), make([]byte, max(0, 10-i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	capability := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := errors.Join(
		os.Link(filepath.Join(odd, "hard1"), filepath.Join(odd, "hard2")),
		os.Symlink("a//b", filepath.Join(odd, "slashes")),
		os.Symlink(strings.Repeat("t/", 600), filepath.Join(odd, "longtarget")),
		os.Truncate(filepath.Join(odd, "sparse"), 10<<20),
		os.Chown(filepath.Join(odd, "suid"), 12, 34), os.Lchown(filepath.Join(odd, "slashes"), 56, 78),
		unix.Chmod(filepath.Join(odd, "suid"), 0o6755), unix.Chmod(filepath.Join(odd, "dir/sticky"), 0o3777),
		unix.Setxattr(filepath.Join(odd, "cap"), "security.capability", capability, 0),
		unix.Setxattr(filepath.Join(odd, "xattr"), "user.z", []byte("z"), 0),
		unix.Setxattr(filepath.Join(odd, "xattr"), "user.a", []byte("a"), 0),
		unix.Setxattr(filepath.Join(odd, "dir"), "user.d", []byte("d"), 0),
		unix.Setxattr(filepath.Join(odd, "xattr"), "trusted.t", []byte("t"), 0),
	); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ostreeCommit is commitDir with ostree.
func ostreeCommit(t *testing.T, r *repo.Repo, dir, ref string, more ...string) object.Checksum {
	t.Helper()
	args := append([]string{"commit", "-b", ref, "--no-bindings", "-s", "test", "--timestamp=@1700000000", dir}, more...)
	c, err := object.ParseChecksum(strings.TrimSpace(ostree(t, r.Path(), args...)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// facts lists everything below a directory, with what a checkout restores.
func facts(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", `cd "$1" && find . -printf '%P %y %m %U %G %l\n' | sort &&
		find . -type f -print0 | sort -z | xargs -0 sha256sum && getfattr -Rhd -m- . 2>/dev/null | sort`, "sh", dir)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestTreesEqualLibostrees(t *testing.T) {
	dir := oddTree(t, 500)
	for _, mode := range writableModes {
		t.Run(mode.String(), func(t *testing.T) {
			theirs, ours := repotest.Init(t, mode), repotest.Init(t, mode)
			want := ostreeCommit(t, theirs, dir, "main")
			c := commitDir(t, ours, dir, "main", object.Checksum{}, repo.TreeOptions{})
			if c != want {
				t.Fatalf("got %s, want %s", c, want)
			}
			ostree(t, ours.Path(), "fsck")
			if report, err := theirs.Fsck(t.Context(), repo.FsckOptions{}); err != nil {
				t.Errorf("got %+v, %v", report, err)
			}
			if diff := cmp.Diff(ostree(t, theirs.Path(), "ls", "-RXC", "main"), listing(t, ours, c)); diff != "" {
				t.Errorf("listing: %s", diff)
			}
			for _, user := range []bool{false, true} {
				a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
				args := []string{"checkout", "main", a}
				if user {
					args = append(args, "-U")
				}
				ostree(t, theirs.Path(), args...)
				if err := theirs.Checkout(t.Context(), c, b, repo.CheckoutOptions{User: user}); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(facts(t, a), facts(t, b)); diff != "" {
					t.Errorf("checkout, user %v: %s", user, diff)
				}
			}
		})
	}
}

func TestVectorsFromADirectory(t *testing.T) {
	dir := t.TempDir()
	if err := repotest.MakeDir(dir, repotest.Vectors(), false); err != nil {
		t.Fatal(err)
	}
	r := repotest.Init(t, repo.ModeBare)
	commit, err := repo.LoadCommit(t.Context(), r, commitDir(t, r, dir, "", object.Checksum{}, repo.TreeOptions{}))
	if err != nil || commit.Tree.String() != repotest.VectorTree || commit.Meta.String() != repotest.VectorMeta {
		t.Errorf("got %+v, %v", commit, err)
	}
}

// Mode bare-user-only accepts only canonical trees. The others keep owners, setuid bits and xattrs too.
func TestPullLocalBothWays(t *testing.T) {
	t.Parallel()
	full, canonical, readable := oddTree(t, 50), t.TempDir(), t.TempDir()
	tree := repotest.Canonical(repotest.Release(1))
	if err := errors.Join(repotest.MakeDir(canonical, tree, false),
		repotest.MakeDir(readable, ownerReads(tree), false)); err != nil {
		t.Fatal(err)
	}
	for _, from := range writableModes {
		for _, to := range writableModes {
			dir := full
			switch {
			case from == repo.ModeBareUserOnly && to == repo.ModeBareUser:
				// Pulling back, ostree links the files as they are, and those are readable.
				dir = readable
			case from == repo.ModeBareUserOnly || to == repo.ModeBareUserOnly:
				dir = canonical
			}
			t.Run(from.String()+" and "+to.String(), func(t *testing.T) {
				t.Parallel()
				src, ours, back := repotest.Init(t, from), repotest.Init(t, to), repotest.Init(t, from)
				c := ostreeCommit(t, src, dir, "main")
				if _, err := ours.PullLocal(t.Context(), src, []string{"main"}, repo.PullOptions{}); err != nil {
					t.Fatal(err)
				}
				ostree(t, ours.Path(), "fsck")
				ostree(t, back.Path(), "pull-local", ours.Path(), "main")
				if got, err := back.ResolveRef("main"); got != c || err != nil {
					t.Errorf("got %s, %v, want %s", got, err, c)
				}
				if _, err := back.Fsck(t.Context(), repo.FsckOptions{}); err != nil {
					t.Error(err)
				}
				want := ostree(t, src.Path(), "ls", "-RXC", "main")
				if diff := cmp.Diff(want, ostree(t, ours.Path(), "ls", "-RXC", "main")); diff != "" {
					t.Errorf("what we pulled: %s", diff)
				}
				if diff := cmp.Diff(want, listing(t, back, c)); diff != "" {
					t.Errorf("what ostree pulled from us: %s", diff)
				}
			})
		}
	}
}

// ownerReads returns the tree with every file readable by its owner.
func ownerReads(tree []repotest.Entry) []repotest.Entry {
	tree = slices.Clone(tree)
	for i := range tree {
		tree[i].Mode |= 0o400
	}
	return tree
}

func TestPruneAndDiffEqualLibostrees(t *testing.T) {
	dir := t.TempDir()
	src := repotest.Init(t, repo.ModeArchive)
	var parent object.Checksum
	var chain []object.Checksum
	for i := range 4 {
		write(t, filepath.Join(dir, "f"), fmt.Sprint(i))
		write(t, filepath.Join(dir, fmt.Sprintf("d%d/e/f", i)), "x")
		if err := errors.Join(os.RemoveAll(filepath.Join(dir, fmt.Sprintf("d%d", i-1))),
			os.Chmod(filepath.Join(dir, fmt.Sprintf("d%d", i)), os.FileMode(0o700+i))); err != nil {
			t.Fatal(err)
		}
		parent = commitDir(t, src, dir, "main", parent, repo.TreeOptions{})
		chain = append(chain, parent)
	}
	changes, err := repo.DiffChanges(t.Context(), src, chain[0], chain[3])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ostree(t, src.Path(), "diff", chain[0].String(), chain[3].String()),
		strings.Join(changes.Lines(), "\n")+"\n"); diff != "" {
		t.Errorf("diff: %s", diff)
	}
	one := 1
	for _, test := range []struct {
		args []string
		opts repo.PruneOptions
	}{
		{[]string{"--refs-only"}, repo.PruneOptions{RefsOnly: true}},
		{[]string{"--refs-only", "--depth=1"}, repo.PruneOptions{RefsOnly: true, Depth: &one}},
		{[]string{"--refs-only", "--depth=1", "--commit-only"},
			repo.PruneOptions{RefsOnly: true, Depth: &one, CommitOnly: true}},
		{[]string{"--retain-branch-depth=main=1"}, repo.PruneOptions{RetainBranchDepth: map[string]int{"main": 1}}},
		{[]string{"--delete-commit=" + chain[1].String()}, repo.PruneOptions{DeleteCommits: chain[1:2]}},
	} {
		ours, theirs := repotest.Init(t, repo.ModeBareUser), repotest.Init(t, repo.ModeBareUser)
		for _, r := range []*repo.Repo{ours, theirs} {
			if _, err := r.PullLocal(t.Context(), src, nil, repo.PullOptions{Depth: repo.AllHistory}); err != nil {
				t.Fatal(err)
			}
		}
		said := ostree(t, theirs.Path(), append([]string{"prune"}, test.args...)...)
		stats, err := ours.Prune(t.Context(), test.opts)
		if err != nil {
			t.Fatal(err)
		}
		deleted := "No unreachable objects"
		if stats.Deleted > 0 {
			deleted = fmt.Sprintf("Deleted %d objects", stats.Deleted)
		}
		if !strings.Contains(said, fmt.Sprintf("objects: %d\n", stats.Total)) || !strings.Contains(said, deleted) {
			t.Errorf("%v: got %+v, ostree said %s", test.args, stats, said)
		}
		if diff := cmp.Diff(objectNames(t, theirs), objectNames(t, ours)); diff != "" {
			t.Errorf("%v: %s", test.args, diff)
		}
	}
}

func objectNames(t *testing.T, r *repo.Repo) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for n, err := range r.Objects(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		names[n.String()] = true
	}
	return names
}
