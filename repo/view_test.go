package repo_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// viewOf commits files and returns the view of the commit. A value that begins with "->" is a symlink.
func viewOf(t *testing.T, files map[string]string) *repo.TreeView {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		at := filepath.Join(dir, "tree", name)
		target, link := strings.CutPrefix(text, "->")
		if !link {
			write(t, at, text)
			continue
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.Symlink(target, at)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := repo.Init(filepath.Join(dir, "repo"), repo.ModeArchive)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	v, err := repo.ViewCommit(t.Context(), r, commitDir(t, r, filepath.Join(dir, "tree"), "", object.Checksum{}, asRoot()))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPathsOfACommitAreResolvedInsideIt(t *testing.T) {
	t.Parallel()
	v := viewOf(t, map[string]string{
		"usr/lib/os-release": "ID=x\n", "etc/os-release": "->../usr/lib/os-release", "out": "->../../../usr",
		"lib": "->/usr/lib", "loop": "->loop", "nowhere": "->nothing", "chain": "->out/lib/../lib",
	})
	for p, want := range map[string]string{
		"/": "/", "": "/", "usr": "/usr", "/usr/lib/": "/usr/lib", "/etc/os-release": "/usr/lib/os-release",
		"/lib/os-release": "/usr/lib/os-release", "/out/lib": "/usr/lib", "/../etc/./../usr": "/usr",
		"/chain/os-release": "/usr/lib/os-release",
	} {
		if got, err := v.Resolve(t.Context(), p); err != nil || got.Path != want {
			t.Errorf("%s leads to %s, %v, want %s", p, got.Path, err, want)
		}
	}
	for p, want := range map[string]error{
		"/loop": repo.ErrTooManySymlinks, "/loop/x": repo.ErrTooManySymlinks, "/nowhere": fs.ErrNotExist,
		"/no/where": fs.ErrNotExist, "/usr/lib/os-release/x": fs.ErrNotExist, "/usr/lib/os-release/..": fs.ErrNotExist,
	} {
		if got, err := v.Resolve(t.Context(), p); !errors.Is(err, want) {
			t.Errorf("%s leads to %s, %v, want %v", p, got.Path, err, want)
		}
		if ok, err := v.Exists(t.Context(), p); ok || err != nil {
			t.Errorf("%s exists: %t, %v", p, ok, err)
		}
	}
	if item, err := v.Lookup(t.Context(), "/lib"); err != nil || item.IsDir() || item.Path != "/lib" {
		t.Errorf("Lookup follows a symlink: %+v, %v", item, err)
	}
	if _, err := v.Lookup(t.Context(), "/lib/os-release"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lookup follows the symlink of a directory: %v", err)
	}
}

func TestFilesOfACommitAreReadByPath(t *testing.T) {
	t.Parallel()
	v := viewOf(t, map[string]string{
		"usr/lib/os-release": "ID=x\n", "etc/os-release": "->../usr/lib/os-release", "etc/b/c": "",
	})
	if data, err := v.ReadFile(t.Context(), "/etc/os-release", 5); err != nil || string(data) != "ID=x\n" {
		t.Errorf("got %q, %v", data, err)
	}
	if _, err := v.ReadFile(t.Context(), "/etc/os-release", 4); !errors.Is(err, repo.ErrTooLarge) {
		t.Errorf("a file above the limit: %v, want ErrTooLarge", err)
	}
	for _, p := range []string{"/etc", "/etc/passwd"} {
		if _, err := v.ReadFile(t.Context(), p, 5); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want ErrNotExist", p, err)
		}
	}
	d, err := v.ReadDir(t.Context(), "/etc")
	if err != nil || len(d.Files) != 1 || len(d.Dirs) != 1 || d.Dirs[0].Name != "b" {
		t.Errorf("/etc has %+v, %v", d, err)
	}
	if _, err := v.ReadDir(t.Context(), "/etc/os-release"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file is listed: %v", err)
	}
}

func TestACommitIsAFileSystem(t *testing.T) {
	t.Parallel()
	v := viewOf(t, map[string]string{
		"usr/lib/os-release": "ID=x\n", "etc/os-release": "->../usr/lib/os-release", "lib": "->/usr/lib",
		"etc/b/c": "", "etc/a": "1",
	})
	fsys := v.FS(t.Context())
	if err := fstest.TestFS(fsys, "usr/lib/os-release", "etc/os-release", "etc/b/c", "etc/a"); err != nil {
		t.Error(err)
	}
	if data, err := fs.ReadFile(fsys, "lib/os-release"); err != nil || string(data) != "ID=x\n" {
		t.Errorf("got %q, %v", data, err)
	}
	if target, err := fs.ReadLink(fsys, "lib"); err != nil || target != "/usr/lib" {
		t.Errorf("got %q, %v", target, err)
	}
	if _, err := fs.ReadLink(fsys, "etc/a"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("the target of a regular file: %v", err)
	}
	info, err := fs.Stat(fsys, "etc/a")
	if err != nil || info.Sys().(*object.FileInfo).Size != 1 {
		t.Errorf("got %v, %v", info, err)
	}
}
