//go:build interop

package repo_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// checkoutTree has files that each option of a checkout acts on.
func checkoutTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"usr/bin/sh": "sh", "usr/etc/conf": "conf", "usr/etc/empty": "", "odd/f": "f", "overlay/.ostree-wh.gone": "",
		"layer/.wh.old": "", "layer/opaque/.wh..wh..opq": "", "layer/opaque/new": "new",
	} {
		write(t, filepath.Join(dir, name), content)
	}
	if err := errors.Join(os.Symlink("sh", filepath.Join(dir, "usr/bin/bash")),
		os.Chown(filepath.Join(dir, "usr/etc/conf"), 12, 34),
		unix.Chmod(filepath.Join(dir, "usr/bin/sh"), 0o755), unix.Chmod(filepath.Join(dir, "odd"), 0o3777),
		unix.Chmod(filepath.Join(dir, "overlay/.ostree-wh.gone"), 0o640),
		os.Chown(filepath.Join(dir, "overlay/.ostree-wh.gone"), 5, 6),
		unix.Setxattr(filepath.Join(dir, "overlay/.ostree-wh.gone"), "security.test", []byte("x"), 0)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCheckoutOptionsDoWhatLibostreesDo(t *testing.T) {
	t.Parallel()
	src := checkoutTree(t)
	old := map[string]string{"old": "old", "opaque/was": "was", "kept": "kept"}
	for _, test := range []struct {
		name  string
		args  []string
		opts  repo.CheckoutOptions
		there map[string]string // content of the destination before; nil if it does not exist
		fails bool
	}{
		{"subpath", []string{"--subpath=/usr/etc"}, repo.CheckoutOptions{Subpath: "/usr/etc"}, nil, false},
		{"subpath of a file", []string{"--subpath=/usr/etc/conf"}, repo.CheckoutOptions{Subpath: "/usr/etc/conf"}, nil,
			false},
		{"subpath that is absent", []string{"--subpath=/nowhere"}, repo.CheckoutOptions{Subpath: "/nowhere"}, nil, true},
		{"copies", []string{"-C"}, repo.CheckoutOptions{ForceCopy: true}, nil, false},
		{"copies for users", []string{"-C", "-U"}, repo.CheckoutOptions{ForceCopy: true, User: true}, nil, false},
		{"plain directories", []string{"-M", "-U"}, repo.CheckoutOptions{BareUserOnlyDirs: true, User: true}, nil, false},
		{"passthrough whiteouts", []string{"--process-passthrough-whiteouts", "--subpath=/overlay"},
			repo.CheckoutOptions{PassthroughWhiteouts: true, Subpath: "/overlay"}, nil, false},
		{"passthrough whiteouts for users", []string{"--process-passthrough-whiteouts", "-U", "--subpath=/overlay"},
			repo.CheckoutOptions{PassthroughWhiteouts: true, User: true, Subpath: "/overlay"}, nil, false},
		{"whiteouts", []string{"--whiteouts", "--union", "--subpath=/layer"},
			repo.CheckoutOptions{Whiteouts: true, Overwrite: repo.OverwriteUnion, Subpath: "/layer"}, old, false},
		{"whiteouts are files", []string{"--union", "--subpath=/layer"},
			repo.CheckoutOptions{Overwrite: repo.OverwriteUnion, Subpath: "/layer"},
			map[string]string{"old": "old", "opaque/was": "was"}, false},
		{"union", []string{"--union", "--subpath=/usr/etc"},
			repo.CheckoutOptions{Overwrite: repo.OverwriteUnion, Subpath: "/usr/etc"},
			map[string]string{"conf": "mine", "more": "more"}, false},
		{"union-add", []string{"--union-add", "--subpath=/usr/etc"},
			repo.CheckoutOptions{Overwrite: repo.OverwriteUnionAdd, Subpath: "/usr/etc"},
			map[string]string{"conf": "mine", "more": "more"}, false},
		{"nothing may be there", []string{"--subpath=/usr/etc"}, repo.CheckoutOptions{Subpath: "/usr/etc"},
			map[string]string{"conf": "mine"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, mode := range []repo.Mode{repo.ModeBare, repo.ModeBareUser, repo.ModeArchive} {
				r := repotest.Init(t, mode)
				c := ostreeCommit(t, r, src, "main")
				dir := t.TempDir()
				theirs, ours := filepath.Join(dir, "theirs"), filepath.Join(dir, "ours")
				for name, content := range test.there {
					write(t, filepath.Join(theirs, name), content)
					write(t, filepath.Join(ours, name), content)
				}
				said, err := tryOstree(t.Context(), r.Path(), append(append([]string{"checkout"}, test.args...), "main", theirs)...)
				if (err != nil) != test.fails {
					t.Fatalf("%s: ostree: %v: %s", mode, err, said)
				}
				if err := r.Checkout(t.Context(), c, ours, test.opts); (err != nil) != test.fails {
					t.Fatalf("%s: got %v", mode, err)
				}
				if test.fails {
					continue
				}
				if diff := cmp.Diff(facts(t, theirs), facts(t, ours)); diff != "" {
					t.Errorf("%s (-theirs +ours): %s", mode, diff)
				}
				if test.opts.ForceCopy && strings.Contains(links(t, ours), " 2 ") {
					t.Errorf("%s: linked: %s", mode, links(t, ours))
				}
			}
		})
	}
}

func TestUnionIdenticalTakesWhatLibostreeTakes(t *testing.T) {
	t.Parallel()
	src := checkoutTree(t)
	for _, test := range []struct {
		name   string
		change func(dir string) error
		fails  bool
	}{
		{"the same commit", func(string) error { return nil }, false},
		{"a file more", func(dir string) error { return os.WriteFile(filepath.Join(dir, "more"), nil, 0o644) }, false},
		{"a file less", func(dir string) error { return os.Remove(filepath.Join(dir, "usr/bin/sh")) }, false},
		{"a copy", func(dir string) error {
			name := filepath.Join(dir, "usr/bin/sh")
			return errors.Join(os.Remove(name), os.WriteFile(name, []byte("sh"), 0o755), os.Chmod(name, 0o755))
		}, false},
		{"other content", func(dir string) error {
			name := filepath.Join(dir, "usr/bin/sh")
			return errors.Join(os.Remove(name), os.WriteFile(name, []byte("SH"), 0o755), os.Chmod(name, 0o755))
		}, true},
		{"another length", func(dir string) error {
			name := filepath.Join(dir, "usr/bin/sh")
			return errors.Join(os.Remove(name), os.WriteFile(name, []byte("sh "), 0o755), os.Chmod(name, 0o755))
		}, true},
		{"another mode", func(dir string) error {
			name := filepath.Join(dir, "usr/bin/sh")
			return errors.Join(os.Remove(name), os.WriteFile(name, []byte("sh"), 0o700))
		}, true},
		{"another symlink", func(dir string) error {
			name := filepath.Join(dir, "usr/bin/bash")
			return errors.Join(os.Remove(name), os.Symlink("other", name))
		}, true},
		{"a file for a symlink", func(dir string) error {
			name := filepath.Join(dir, "usr/bin/bash")
			return errors.Join(os.Remove(name), os.WriteFile(name, []byte("sh"), 0o644))
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := repotest.Init(t, repo.ModeBare)
			c := ostreeCommit(t, r, src, "main")
			dir := t.TempDir()
			theirs, ours := filepath.Join(dir, "theirs"), filepath.Join(dir, "ours")
			ostree(t, r.Path(), "checkout", "main", theirs)
			ostree(t, r.Path(), "checkout", "main", ours)
			if err := errors.Join(test.change(theirs), test.change(ours)); err != nil {
				t.Fatal(err)
			}
			said, err := tryOstree(t.Context(), r.Path(), "checkout", "--union-identical", "-H", "main", theirs)
			if (err != nil) != test.fails {
				t.Errorf("ostree: %v: %s", err, said)
			}
			err = r.Checkout(t.Context(), c, ours,
				repo.CheckoutOptions{Overwrite: repo.OverwriteUnionIdentical, RequireHardlinks: true})
			if (err != nil) != test.fails {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff(facts(t, theirs), facts(t, ours)); !test.fails && diff != "" {
				t.Error(diff)
			}
		})
	}
}
