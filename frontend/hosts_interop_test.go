//go:build interop

package frontend_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/hosttree"
)

// TestInterop_AnImageOfABuilderIsTheSameTreeOnAHost builds a Debian in several steps, with BuildKit's own frontend
// through buildx and with ours. Pulled by a host, the images are what umoci unpacks, with ostree's labels.
func TestInterop_AnImageOfABuilderIsTheSameTreeOnAHost(t *testing.T) {
	dir := t.TempDir()
	must(t, "tar", "-C", hosttree.Debian(t), "--xattrs", "--xattrs-include=*", "--numeric-owner", "-cf",
		filepath.Join(dir, "root.tar"), ".")
	file := "FROM scratch\nADD root.tar /\n"
	for _, step := range hosttree.Steps() {
		file += "RUN <<EOT\nset -e\n" + step + "\nEOT\n"
	}
	x := newBuildx(t, map[string]*daemon{"linux/amd64": env.daemon})
	for name, test := range map[string]struct {
		syntax         string
		least, nonmost int // layers
	}{
		"hosts/buildx":   {"", 4, 5},
		"hosts/frontend": {syntax("prior=none format=plain max-layers=20"), 5, 21},
	} {
		t.Run(name, func(t *testing.T) {
			writeFile(t, filepath.Join(dir, "Containerfile"), test.syntax+file)
			out, err := x.run(t.Context(), dir, "build", "--progress=plain", "--push", "-f", "Containerfile", "-t",
				env.host+"/"+name, ".")
			if err != nil {
				t.Fatalf("buildx build: %v\n%s", err, out)
			}
			if n := len(pull(t, name).layers()); n < test.least || n >= test.nonmost {
				t.Errorf("the image has %d layers", n)
			}
			repo, layout := filepath.Join(t.TempDir(), "repo"), filepath.Join(t.TempDir(), "layout")
			must(t, "ostree", "init", "--repo="+repo, "--mode=bare")
			must(t, "ostree", "config", "--repo="+repo, "set", "core.fsync", "false")
			log := must(t, env.cli, "container", "image", "pull", "-q", "--insecure-skip-tls-verification", repo,
				"ostree-unverified-registry:"+env.host+"/"+name)
			if !strings.Contains(log, "non-ostree compatible file paths") {
				t.Errorf("the pull does not say what it left out: %s", log)
			}
			must(t, "skopeo", "copy", "--quiet", "--src-tls-verify=false", "docker://"+env.host+"/"+name, "oci:"+layout+":x")
			hosttree.CheckMerge(t, repo, hosttree.Unpacked(t, layout+":x"))
		})
	}
}
