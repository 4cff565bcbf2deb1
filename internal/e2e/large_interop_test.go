//go:build interop

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInterop_AFileOfMoreThan4GiBTravels passes such a file through a tar stream and through an image.
func TestInterop_AFileOfMoreThan4GiBTravels(t *testing.T) {
	tree, source := filepath.Join(t.TempDir(), "tree"), newRepo(t, "archive")
	sh(t, `mkdir "$1" && truncate -s 4294967297 "$1/big"`, tree)
	must(t, "ostree", "config", "--repo="+source, "set", "archive.zlib-level", "1")
	commit := must(t, program, commitArgs(tree)(source)...)
	image := "oci:" + t.TempDir() + "/image"
	for name, travel := range map[string]func(t *testing.T, repo string){
		"stream": func(t *testing.T, repo string) {
			sh(t, `"$1" tar export --repo="$2" killed | "$1" tar import --repo="$3" --write-ref=killed`, program, source, repo)
		},
		"image": func(t *testing.T, repo string) {
			measured(t, "container", "encapsulate", "--repo="+source, "--compression=zstd", "--compression-fast", "killed",
				image)
			measured(t, importArgs(image)(repo)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			repo := newRepo(t, "bare-user")
			travel(t, repo)
			if got := must(t, "ostree", "rev-parse", "--repo="+repo, "killed"); got != commit {
				t.Errorf("got %s, want %s", got, commit)
			}
			if got := must(t, "ostree", "ls", "--repo="+repo, "killed", "/big"); !strings.Contains(got, " 4294967297 /big") {
				t.Errorf("ostree lists %s", got)
			}
			if err := os.RemoveAll(repo); err != nil {
				t.Error(err)
			}
		})
	}
}
