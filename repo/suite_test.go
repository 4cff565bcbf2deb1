package repo_test

import (
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// Mode bare requires root, so the interoperation tests cover it.
func TestModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []repo.Mode{repo.ModeArchive, repo.ModeBareUser, repo.ModeBareUserOnly} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			repotest.Suite(t, mode)
		})
	}
}

func TestParseMode(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]repo.Mode{
		"bare": repo.ModeBare, "bare-user": repo.ModeBareUser, "bare-user-only": repo.ModeBareUserOnly,
		"archive": repo.ModeArchive, "archive-z2": repo.ModeArchive, "bare-split-xattrs": repo.ModeBareSplitXattrs,
	} {
		if got, err := repo.ParseMode(s); got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "Bare", "mode-0", "archive-z3"} {
		if got, err := repo.ParseMode(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
}
