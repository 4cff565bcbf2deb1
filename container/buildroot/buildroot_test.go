package buildroot_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/container/buildroot"
)

// makeRoot makes a directory from lines: "d PATH", "f PATH", "l PATH TARGET" (symlink), "p PATH" (FIFO).
func makeRoot(t *testing.T, lines ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, line := range lines {
		f := append(strings.Fields(line), "")
		name := filepath.Join(root, f[1])
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err != nil {
			t.Fatal(err)
		}
		switch f[0] {
		case "d":
			err = os.MkdirAll(name, 0o755)
		case "f":
			err = os.WriteFile(name, []byte("content"), 0o644)
		case "l":
			err = os.Symlink(f[2], name)
		case "p":
			err = unix.Mkfifo(name, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// list returns the paths in a root, sorted.
func list(t *testing.T, root string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(root, p); rel != "." {
			paths = append(paths, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	return paths
}

func TestUpstream_ContainerCommit(t *testing.T) {
	for _, c := range []struct {
		name string
		root []string
		want []string
	}{
		{"an empty root", nil, nil},
		{"temporary files go, their directories and other content of /var stay",
			[]string{"d run", "f run/a", "f var/tmp/foo", "d var/tmp/dir", "f var/tmp/dir/b", "f var/lib/foo"},
			[]string{"run", "var", "var/lib", "var/lib/foo", "var/tmp"}},
		{"a missing /var/tmp is not made", []string{"d var"}, []string{"var"}},
		{"all four directories", []string{"f run/a/b/c", "f tmp/x", "p tmp/fifo", "f var/cache/dnf/x", "f var/tmp/y"},
			[]string{"run", "tmp", "var", "var/cache", "var/tmp"}},
		{"other directories of these names", []string{"f usr/run/a", "f usr/tmp/b", "f srv/var/tmp/c"},
			[]string{"srv", "srv/var", "srv/var/tmp", "srv/var/tmp/c", "usr", "usr/run", "usr/run/a", "usr/tmp", "usr/tmp/b"}},
		{"a file in place of a directory", []string{"f run", "f var/tmp"}, []string{"run", "var", "var/tmp"}},
		{"symlinks go, and what they lead to stays",
			[]string{"f etc/keep", "l tmp/a ../etc", "l tmp/b ../etc/keep", "l run/dangling /nowhere", "l tmp/c ."},
			[]string{"etc", "etc/keep", "run", "tmp"}},
		{"a symlink in place of a directory is not followed",
			[]string{"f etc/keep", "l run etc", "l var/tmp ../etc", "l tmp /etc"},
			[]string{"etc", "etc/keep", "run", "tmp", "var", "var/tmp"}},
		{"a symlink above a directory is not followed", []string{"f etc/tmp/keep", "f etc/cache/keep", "l var etc"},
			[]string{"etc", "etc/cache", "etc/cache/keep", "etc/tmp", "etc/tmp/keep", "var"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := makeRoot(t, c.root...)
			if err := buildroot.Clean(t.Context(), root); err != nil {
				t.Fatal(err)
			}
			if got := list(t, root); !slices.Equal(got, c.want) {
				t.Errorf("left: %q, want %q", got, c.want)
			}
		})
	}
}

func TestManyAndDeepFilesAreRemoved(t *testing.T) {
	root := makeRoot(t, "d tmp", "d var/cache")
	for i := range 2500 {
		name := strings.Repeat("n", 1+i%200) + "-" + string(rune('a'+i/200))
		if err := os.WriteFile(filepath.Join(root, "tmp", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Paths of this depth are longer than a program may open at once.
	at, err := os.Open(filepath.Join(root, "var/cache"))
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if err := unix.Mkdirat(int(at.Fd()), strings.Repeat("d", 200), 0o755); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Openat(int(at.Fd()), strings.Repeat("d", 200), unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err := errors.Join(err, at.Close()); err != nil {
			t.Fatal(err)
		}
		at = os.NewFile(uintptr(fd), "d")
	}
	if err := at.Close(); err != nil {
		t.Fatal(err)
	}
	if err := buildroot.Clean(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	if got := list(t, root); !slices.Equal(got, []string{"tmp", "var", "var/cache"}) {
		t.Errorf("left: %.1000q", got)
	}
}

func TestCleaningEndsWithItsContext(t *testing.T) {
	root := makeRoot(t, "f tmp/a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := buildroot.Clean(ctx, root)
	if !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "Cleaning tmp: ") {
		t.Errorf("got %v", err)
	}
}

func TestEnvironments(t *testing.T) {
	const split, other = "[core]\nmode=bare-split-xattrs\n", "[core]\nmode=bare\n"
	for _, c := range []struct {
		name   string
		files  map[string]string
		env    []string
		want   buildroot.Environment
		failed bool
	}{
		{"nothing", nil, nil, buildroot.None, false},
		{"a container", nil, []string{"container"}, buildroot.Container, false},
		{"podman's file", map[string]string{"run/.containerenv": ""}, nil, buildroot.Container, false},
		{"docker's file", map[string]string{".dockerenv": ""}, nil, buildroot.Container, false},
		{"a booted host", map[string]string{"run/ostree-booted": ""}, nil, buildroot.OSTree, false},
		{"a booted host in a container", map[string]string{"run/ostree-booted": ""}, []string{"container"},
			buildroot.OSTree, false},
		{"the image of a commit in a container", map[string]string{"sysroot/ostree/repo/config": split},
			[]string{"container"}, buildroot.OSTreeContainer, false},
		{"the image of a commit in a build that tells nothing", map[string]string{"sysroot/ostree/repo/config": split}, nil,
			buildroot.OSTreeContainer, false},
		{"the other place", map[string]string{"sysroot/config": split}, nil, buildroot.OSTreeContainer, false},
		{"the first place counts", map[string]string{"sysroot/ostree/repo/config": other, "sysroot/config": split}, nil,
			buildroot.None, false},
		{"another repository", map[string]string{"sysroot/ostree/repo/config": other}, []string{"container"},
			buildroot.Container, false},
		{"a unit of systemd", map[string]string{"sysroot/ostree/repo/config": split}, []string{"INVOCATION_ID"},
			buildroot.None, false},
		{"a unit of systemd in a container", map[string]string{"sysroot/ostree/repo/config": split},
			[]string{"INVOCATION_ID", "container"}, buildroot.OSTreeContainer, false},
		{"booted, with such a repository",
			map[string]string{"sysroot/ostree/repo/config": split, "run/ostree-booted": ""}, nil, buildroot.OSTree, false},
		{"a configuration that is none", map[string]string{"sysroot/ostree/repo/config": "core"}, nil, buildroot.None, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := makeRoot(t, "f tmp/x")
			for name, content := range c.files {
				name = filepath.Join(root, name)
				err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644))
				if err != nil {
					t.Fatal(err)
				}
			}
			getenv := func(name string) (string, bool) { return "", slices.Contains(c.env, name) }
			got, err := buildroot.Detect(root, getenv)
			if got != c.want || (err != nil) != c.failed {
				t.Errorf("got %s, %v, want %s", got, err, c.want)
			}
			// Only in a container of a commit's image is anything removed.
			err = buildroot.Commit(t.Context(), root, getenv)
			_, kept := os.Stat(filepath.Join(root, "tmp/x"))
			if here := c.want == buildroot.OSTreeContainer; here != (err == nil) || here == (kept == nil) {
				t.Errorf("committing: %v; the file: %v", err, kept)
			}
			if err != nil && !c.failed && !errors.Is(err, buildroot.ErrNotInContainer) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestAConfigurationThatIsAFIFOIsNotWaitedFor(t *testing.T) {
	root := makeRoot(t, "p sysroot/ostree/repo/config")
	if _, err := buildroot.Detect(root, os.LookupEnv); err == nil {
		t.Error("a FIFO was read")
	}
}
