//go:build interop

package e2e

import (
	"path/filepath"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/hosttree"
)

// TestInterop_AnImageOnTopOfOursIsSplitAndContinuedFromWithoutLosingAFile: umoci puts a layer on top of our image, as
// FROM and RUN do. Its label still tells our plan. Splitting it in place, and building the next version from it, give
// what is in the trees, with and without a commit.
func TestInterop_AnImageOnTopOfOursIsSplitAndContinuedFromWithoutLosingAFile(t *testing.T) {
	dir := t.TempDir()
	root, layout := filepath.Join(dir, "root"), filepath.Join(dir, "layout")
	sh(t, `mkdir -p "$1"/usr/bin "$1"/usr/lib "$1"/opt "$1"/srv/empty && chmod 1777 "$1"/srv && chmod 700 "$1"/srv/empty
		for i in 1 2 3 4 5 6; do head -c 1200000 /dev/urandom >"$1"/opt/big$i; done
		echo ID=test >"$1"/usr/lib/os-release`, root)
	for _, format := range []string{"plain", "ostree"} {
		t.Run(format, func(t *testing.T) {
			image := "oci:" + layout + "-" + format
			ours, derived := image+":ours", image+":derived"
			must(t, program, "-q", "container", "build", "--format="+format, "--rootfs="+root, ours)
			sh(t, `cd "$1" && rm -rf new && mkdir -p new/opt new/usr && echo more >new/opt/derived && echo other >new/opt/big2 &&
				: >new/opt/.wh.big3 && tar -C new -cf layer.tar . &&
				umoci raw add-layer --image "$2" --tag derived layer.tar`, dir, layout+"-"+format+":ours")
			want := unpacked(t, layout+"-"+format+":derived")
			for _, args := range [][]string{
				{"rechunk", "--format=plain", derived, image + ":split"},
				{"rechunk", "--format=plain", "--prior=" + derived, derived, image + ":split"},
				{"rechunk", "--format=plain", "--prior=" + ours, derived, image + ":split"},
			} {
				must(t, program, append([]string{"-q"}, args...)...)
				hosttree.Same(t, unpacked(t, layout+"-"+format+":split"), want)
			}
			must(t, program, "-q", "container", "build", "--rootfs="+root, "--prior="+derived, image+":next")
			hosttree.Same(t, unpacked(t, layout+"-"+format+":next"), root)
		})
	}
}

// unpacked is the tree that umoci makes of an image, without the repository of a commit.
func unpacked(t *testing.T, image string) string {
	t.Helper()
	bundle := filepath.Join(t.TempDir(), "bundle")
	must(t, "umoci", "unpack", "--image", image, bundle)
	root := filepath.Join(bundle, "rootfs")
	sh(t, `rm -rf "$1"/sysroot/ostree`, root)
	return root
}

// TestInterop_RechunkKeepsWhatAnImageSaysOfItself: all that umoci writes into configuration and manifest stays, but for
// what is about layers.
func TestInterop_RechunkKeepsWhatAnImageSaysOfItself(t *testing.T) {
	dir := t.TempDir()
	layout := filepath.Join(dir, "layout")
	sh(t, `cd "$1" && mkdir -p new/usr && echo x >new/usr/file && tar -C new -cf layer.tar . &&
		umoci init --layout "$2" && umoci new --image "$2:in" && umoci raw add-layer --image "$2:in" layer.tar &&
		umoci config --image "$2:in" --author somebody --config.stopsignal SIGQUIT --config.user 7:8 \
			--config.workingdir /srv --config.exposedports 80/tcp --config.volume /data \
			--manifest.annotation org.example.note=kept`, dir, layout)
	must(t, program, "-q", "rechunk", "oci:"+layout+":in", "oci:"+layout+":out")
	about := func(tag string) string {
		return sh(t, `d=$(jq -r --arg t "$2" '.manifests[] |
				select(.annotations["org.opencontainers.image.ref.name"] == $t) | .digest' "$1/index.json") &&
			m="$1/blobs/sha256/${d#sha256:}" && c=$(jq -r .config.digest "$m") &&
			jq -S .annotations "$m" &&
			jq -S '{author, os, architecture, config: .config | del(.Labels)}' "$1/blobs/sha256/${c#sha256:}"`,
			layout, tag)
	}
	if got, want := about("out"), about("in"); got != want {
		t.Errorf("the new image says\n%s\nthe old one\n%s", got, want)
	}
}

// TestInterop_AFileLinkedIntoAKeptBaseStaysOneFile: a hard link from above to a file of the base comes out as one.
func TestInterop_AFileLinkedIntoAKeptBaseStaysOneFile(t *testing.T) {
	dir := t.TempDir()
	layout := filepath.Join(dir, "layout")
	sh(t, `cd "$1" && mkdir -p r/usr && head -c 200000 /dev/urandom >r/usr/a && echo c >r/usr/c &&
		tar -C r -cf base.tar usr &&
		ln r/usr/a r/usr/b && tar -C r -cf up.tar usr && umoci init --layout "$2" && umoci new --image "$2:base" &&
		umoci raw add-layer --image "$2:base" base.tar &&
		umoci raw add-layer --image "$2:base" --tag full up.tar`, dir, layout)
	image := "oci:" + layout
	must(t, program, "-q", "container", "build", "--from="+image+":full", "--keep-base="+image+":base", image+":out")
	root := unpacked(t, layout+":out")
	sh(t, `[ "$1/usr/a" -ef "$1/usr/b" ]`, root)
	hosttree.Same(t, root, filepath.Join(dir, "r"))
}
