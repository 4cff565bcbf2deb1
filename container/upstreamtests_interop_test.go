//go:build interop

package container_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// An image whose layers skopeo recompressed yields the same commit: the digests change, the diff-ids do not.
func TestUpstream_ImagesThatSkopeoCompressedAreImported(t *testing.T) {
	t.Parallel()
	from := unverified(imgref.OCIDir, filepath.Join(t.TempDir(), "image")+":latest")
	writeExample(t, repotest.ExampleCommit, from.Image, encapsulate.Uncompressed)
	for _, format := range []string{"zstd", "zstd:chunked", "gzip"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			to := unverified(imgref.OCIDir, filepath.Join(t.TempDir(), "image")+":copy")
			out, err := exec.CommandContext(t.Context(), "skopeo", "copy", "-q", "--dest-compress-format="+format,
				"--dest-compress-level=3", from.Image.String(), to.Image.String()).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			info, err := readInfo(t, to, source.Options{})
			if err != nil {
				t.Fatal(err)
			}
			compression, chunked, _ := strings.Cut(format, ":")
			l := info.Manifest.Layers[0]
			if !strings.HasSuffix(l.MediaType, "+"+compression) ||
				(chunked != "") != (l.Annotations["io.containers.zstd-chunked.manifest-position"] != "") {
				t.Errorf("the layer was not compressed so: %+v", l)
			}
			r := repotest.Init(t, repo.ModeBareUser)
			res, err := container.Unencapsulate(t.Context(), r, to, source.Options{}, container.ImportOptions{})
			if err != nil || res.Commit.String() != repotest.ExampleCommit {
				t.Fatalf("got %v, %v, want %s", res, err, repotest.ExampleCommit)
			}
			if _, err := r.Fsck(t.Context(), repo.FsckOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
}
