package repo_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// files maps the files below a directory to their content. Directories have a trailing slash and no content.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		name := strings.TrimPrefix(p, dir+"/")
		if e.IsDir() {
			found[name+"/"] = ""
			return nil
		}
		data, err := os.ReadFile(p)
		found[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestCheckoutInto(t *testing.T) {
	t.Parallel()
	type tree = map[string]string
	for _, test := range []struct {
		name          string
		commit, there tree
		opts          repo.CheckoutOptions
		want          tree // nil if an error is expected
	}{
		{"a filter sees every path below the subpath and leaves out what is below a directory",
			tree{"s/keep/f": "f", "s/keep/skip": "", "s/skip/f": "f", "other": ""}, nil,
			repo.CheckoutOptions{Subpath: "/s", Filter: func(p string) bool {
				if p != "/keep" && p != "/keep/f" && p != "/keep/skip" && p != "/skip" {
					t.Errorf("asked for %s", p)
				}
				return !strings.HasSuffix(p, "/skip")
			}},
			tree{"keep/": "", "keep/f": "f"}},
		{"a filter is asked about a file that is the subpath", tree{"s/f": "f"}, nil,
			repo.CheckoutOptions{Subpath: "/s/f", Filter: func(p string) bool { return p != "/f" }}, tree{}},
		{"union-identical takes equal files and adds others", tree{"d/f": "f", "d/g": "g", "e": ""},
			tree{"d/f": "f", "mine": "m", "e": ""},
			repo.CheckoutOptions{Overwrite: repo.OverwriteUnionIdentical, RequireHardlinks: true},
			tree{"d/": "", "d/f": "f", "d/g": "g", "mine": "m", "e": ""}},
		{"union-identical refuses others", tree{"f": "new"}, tree{"f": "old"},
			repo.CheckoutOptions{Overwrite: repo.OverwriteUnionIdentical, RequireHardlinks: true}, nil},
		{"union-identical requires links", tree{"f": ""}, tree{},
			repo.CheckoutOptions{Overwrite: repo.OverwriteUnionIdentical}, nil},
		{"links and copies exclude each other", tree{"f": ""}, tree{},
			repo.CheckoutOptions{ForceCopy: true, RequireHardlinks: true}, nil},
		{"union-add keeps files and goes into directories", tree{"d/f": "new", "d/g": "new"}, tree{"d/f": "old"},
			repo.CheckoutOptions{Overwrite: repo.OverwriteUnionAdd}, tree{"d/": "", "d/f": "old", "d/g": "new"}},
		{"union does not replace a file by a directory", tree{"x/f": "f"}, tree{"x": "file"},
			repo.CheckoutOptions{Overwrite: repo.OverwriteUnion}, nil},
		{"with whiteouts files and directories replace each other", tree{"x/f": "f", "y": "file"},
			tree{"x": "file", "y/d/f": "f"},
			repo.CheckoutOptions{Overwrite: repo.OverwriteUnion, Whiteouts: true}, tree{"x/": "", "x/f": "f", "y": "file"}},
		{"a whiteout of nothing is not an error", tree{".wh.absent": "", "f": ""}, tree{},
			repo.CheckoutOptions{Overwrite: repo.OverwriteUnion, Whiteouts: true}, tree{"f": ""}},
		{"a whiteout without a name is an error", tree{".wh.": ""}, tree{},
			repo.CheckoutOptions{Overwrite: repo.OverwriteUnion, Whiteouts: true}, nil},
		{"a whiteout of the directory itself is an error", tree{"d/.wh..": ""}, tree{"d/f": ""},
			repo.CheckoutOptions{Overwrite: repo.OverwriteUnion, Whiteouts: true}, nil},
		{"a passthrough whiteout of the parent is an error", tree{"d/.ostree-wh...": ""}, nil,
			repo.CheckoutOptions{PassthroughWhiteouts: true}, nil},
		{"a subpath below a file is an error", tree{"f": ""}, nil, repo.CheckoutOptions{Subpath: "/f/x"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := repotest.Init(t, repo.ModeBareUserOnly)
			src, dest := t.TempDir(), filepath.Join(t.TempDir(), "dest")
			for name, content := range test.commit {
				write(t, filepath.Join(src, name), content)
			}
			c := commitDir(t, r, src, "", object.Checksum{}, asRoot())
			if test.there != nil {
				if err := os.Mkdir(dest, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for name, content := range test.there {
				write(t, filepath.Join(dest, name), content)
			}
			err := r.Checkout(t.Context(), c, dest, test.opts)
			if test.want == nil {
				if err == nil {
					t.Error("got no error")
				}
				for name, content := range test.there {
					if got, err := os.ReadFile(filepath.Join(dest, name)); string(got) != content || err != nil {
						t.Errorf("%s is touched: %q, %v", name, got, err)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, files(t, dest)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCheckoutLinksOrCopies(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	write(t, filepath.Join(src, "f"), "f")
	write(t, filepath.Join(src, "empty"), "")
	for _, test := range []struct {
		mode   repo.Mode
		opts   repo.CheckoutOptions
		linked string
		err    error
	}{
		{repo.ModeBareUserOnly, repo.CheckoutOptions{}, "empty 1 f 2 ", nil},
		{repo.ModeBareUserOnly, repo.CheckoutOptions{RequireHardlinks: true}, "empty 1 f 2 ", nil},
		{repo.ModeBareUserOnly, repo.CheckoutOptions{ForceCopy: true}, "empty 1 f 1 ", nil},
		{repo.ModeBareUser, repo.CheckoutOptions{User: true}, "empty 1 f 2 ", nil},
		{repo.ModeBareUser, repo.CheckoutOptions{User: true, ForceCopy: true}, "empty 1 f 1 ", nil},
		{repo.ModeBareUser, repo.CheckoutOptions{RequireHardlinks: true}, "", repo.ErrCannotLink},
		{repo.ModeArchive, repo.CheckoutOptions{User: true}, "empty 1 f 1 ", nil},
		{repo.ModeArchive, repo.CheckoutOptions{User: true, RequireHardlinks: true}, "", repo.ErrCannotLink},
	} {
		r := repotest.Init(t, test.mode)
		c := commitDir(t, r, src, "", object.Checksum{}, asRoot())
		dest := filepath.Join(t.TempDir(), "dest")
		if err := r.Checkout(t.Context(), c, dest, test.opts); !errors.Is(err, test.err) {
			t.Errorf("%s %+v: got %v, want %v", test.mode, test.opts, err, test.err)
			continue
		}
		if test.err == nil {
			if got := links(t, dest); got != test.linked {
				t.Errorf("%s %+v: got %q, want %q", test.mode, test.opts, got, test.linked)
			}
		}
	}
}

// links lists the regular files below a directory with their link counts.
func links(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && e.Type().IsRegular() {
			if err = unix.Lstat(p, &st); err == nil {
				b.WriteString(e.Name() + map[bool]string{true: " 2 ", false: " 1 "}[st.Nlink > 1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
