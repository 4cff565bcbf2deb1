package repo_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

func TestHostileRefs(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte(padded(t, "1").String()), 0o644); err != nil {
		t.Fatal(err)
	}
	heads := filepath.Join(r.Path(), "refs/heads")
	errs := []error{
		os.WriteFile(filepath.Join(heads, "garbage"), []byte("garbage"), 0o644),
		os.WriteFile(filepath.Join(heads, "empty"), nil, 0o644),
		os.WriteFile(filepath.Join(heads, "huge"), []byte(strings.Repeat("0", 1<<20)), 0o644),
		os.WriteFile(filepath.Join(heads, "upper"), []byte(strings.ToUpper(padded(t, "ab").String())), 0o644),
		os.Symlink(outside, filepath.Join(heads, "absolute")),
		os.Symlink("../../../../../../../../"+outside, filepath.Join(heads, "relative")),
		os.Symlink("loop", filepath.Join(heads, "loop")),
		os.Symlink("../../config", filepath.Join(heads, "config")),
		unix.Mkfifo(filepath.Join(heads, "fifo"), 0o644),
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"garbage", "empty", "huge", "upper", "absolute", "relative", "loop", "config", "fifo"} {
		if got, err := r.ResolveRef(ref); err == nil {
			t.Errorf("%s: got %v, want an error", ref, got)
		}
	}
}

func TestHostileLayout(t *testing.T) {
	t.Parallel()
	tests := map[string]func(dir string) error{
		"objects is a symlink": func(dir string) error {
			outside := dir + "-objects"
			return errors.Join(os.Rename(filepath.Join(dir, "objects"), outside),
				os.Symlink(outside, filepath.Join(dir, "objects")))
		},
		"objects is a file": func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, "objects")),
				os.WriteFile(filepath.Join(dir, "objects"), nil, 0o644))
		},
		"no objects": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "objects")) },
		"no config":  func(dir string) error { return os.Remove(filepath.Join(dir, "config")) },
		"huge config": func(dir string) error {
			return os.Truncate(filepath.Join(dir, "config"), 1<<30)
		},
		"config is a FIFO": func(dir string) error {
			config := filepath.Join(dir, "config")
			return errors.Join(os.Remove(config), unix.Mkfifo(config, 0o644))
		},
		"parents in a ring": func(dir string) error {
			text := "[core]\nrepo_version=1\nmode=archive\nparent=" + dir + "\n"
			return os.WriteFile(filepath.Join(dir, "config"), []byte(text), 0o644)
		},
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := repotest.Init(t, repo.ModeArchive).Path()
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			if r, err := repo.Open(dir); err == nil {
				t.Errorf("was opened as %v", r.Mode())
			}
		})
	}
}

func TestHostileObjects(t *testing.T) {
	t.Parallel()
	for _, mode := range []repo.Mode{repo.ModeArchive, repo.ModeBareUser, repo.ModeBareUserOnly} {
		tests := map[string]func(file string) error{
			"a FIFO":       func(file string) error { return unix.Mkfifo(file, 0o644) },
			"a directory":  func(file string) error { return os.Mkdir(file, 0o755) },
			"short header": func(file string) error { return os.WriteFile(file, []byte{0, 0, 0, 26}, 0o644) },
			"huge header": func(file string) error {
				return os.WriteFile(file, []byte("\xff\xff\xff\xff\x00\x00\x00\x00"), 0o644)
			},
		}
		if mode != repo.ModeBareUserOnly {
			tests["a symlink"] = func(file string) error { return os.Symlink("/etc/passwd", file) }
			tests["empty"] = func(file string) error { return os.WriteFile(file, nil, 0o644) }
		} else {
			delete(tests, "short header")
			delete(tests, "huge header")
		}
		for name, plant := range tests {
			t.Run(mode.String()+" "+name, func(t *testing.T) {
				t.Parallel()
				r := repotest.Init(t, mode)
				c := padded(t, "ab")
				if err := errors.Join(os.Mkdir(filepath.Dir(objectFile(r, c)), 0o755), plant(objectFile(r, c))); err != nil {
					t.Fatal(err)
				}
				if f, _, err := r.OpenFile(t.Context(), c); err == nil {
					if data, err := io.ReadAll(f); err == nil {
						t.Errorf("read %q", data)
					}
				}
				if info, err := r.FileInfo(t.Context(), c); err == nil {
					t.Errorf("got %v", info)
				}
			})
		}
	}
}

func objectFile(r *repo.Repo, c object.Checksum) string {
	suffix := ".file"
	if r.Mode() == repo.ModeArchive {
		suffix = ".filez"
	}
	return filepath.Join(r.Path(), "objects", c.String()[:2], c.String()[2:]+suffix)
}

// Objects behind a symlink do not belong to the repository.
func TestObjectsAreNotFollowedOut(t *testing.T) {
	t.Parallel()
	other, r := repotest.Init(t, repo.ModeArchive), repotest.Init(t, repo.ModeArchive)
	c := repotest.CommitRelease(t, other, 1)
	first := c.String()[:2]
	if err := os.Symlink(filepath.Join(other.Path(), "objects", first),
		filepath.Join(r.Path(), "objects", first)); err != nil {
		t.Fatal(err)
	}
	name := object.Name{Checksum: c, Type: object.TypeCommit}
	if data, err := r.Metadata(t.Context(), name); err == nil {
		t.Errorf("read %d bytes", len(data))
	}
	if ok, err := r.Has(name); ok {
		t.Errorf("got %v, %v", ok, err)
	}
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := txn.Abort(); err != nil {
			t.Error(err)
		}
	}()
	if ok, err := txn.HasObject(name); ok {
		t.Errorf("got %v, %v", ok, err)
	}
}

// Reading a truncated object returns an error, wherever it was cut, and never panics.
func TestTruncatedObjects(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	content := "hello world, hello world\n"
	h := &object.FileHeader{Mode: object.ModeRegular | 0o644, Xattrs: object.Xattrs{{Name: "user.a", Value: []byte("v")}}}
	c, err := txn.WriteFile(t.Context(), h, int64(len(content)), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(objectFile(r, c))
	if err != nil {
		t.Fatal(err)
	}
	for size := range whole {
		if err := os.WriteFile(objectFile(r, c), whole[:size], 0o644); err != nil {
			t.Fatal(err)
		}
		f, _, err := r.OpenFile(t.Context(), c)
		if err != nil {
			continue
		}
		if data, err := io.ReadAll(f); err == nil && string(data) != content {
			t.Errorf("%d of %d bytes: read %q", size, len(whole), data)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
