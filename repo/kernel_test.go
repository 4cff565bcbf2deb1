package repo_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

func TestUpstream_KernelDirectory(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		files []string // paths that end in a slash are directories
		want  string
		err   error
	}{
		{"no directory of modules", []string{"usr/bin/sh"}, "", repo.ErrNoKernel},
		{"an empty one", []string{"usr/lib/modules/"}, "", repo.ErrNoKernel},
		{"a file in its place", []string{"usr/lib/modules"}, "", repo.ErrNoKernel},
		{"modules without a kernel", []string{"usr/lib/modules/1.0/modules.dep"}, "", repo.ErrNoKernel},
		{"a directory in the kernel's place", []string{"usr/lib/modules/1.0/vmlinuz/"}, "", repo.ErrNoKernel},
		{"one kernel", []string{"usr/lib/modules/1.0/vmlinuz"}, "1.0", nil},
		{"one kernel beside a directory without",
			[]string{"usr/lib/modules/0.9/", "usr/lib/modules/1.0/vmlinuz", "usr/lib/modules/2.0/modules.dep"}, "1.0", nil},
		{"two kernels", []string{"usr/lib/modules/1.0/vmlinuz", "usr/lib/modules/2.0/vmlinuz"}, "", repo.ErrSeveralKernel},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, f := range tt.files {
				if f[len(f)-1] != '/' {
					write(t, filepath.Join(dir, "tree", f), "x")
				} else if err := os.MkdirAll(filepath.Join(dir, "tree", f), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			r, err := repo.Init(filepath.Join(dir, "repo"), repo.ModeArchive)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			id := commitDir(t, r, filepath.Join(dir, "tree"), "", object.Checksum{}, asRoot())
			commit, err := repo.LoadCommit(t.Context(), r, id)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := repo.FindKernel(t.Context(), r, commit.Tree); got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %q, %v, want %q, %v", got, err, tt.want, tt.err)
			}
		})
	}
}
