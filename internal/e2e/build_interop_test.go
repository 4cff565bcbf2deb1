//go:build interop

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/hosttree"
)

// oddRoot makes a small system with a package database and everything that is difficult to store in a layer.
func oddRoot(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	sh(t, `mkdir "$1" && cd "$1" && umask 022
		mkdir -p usr/bin usr/lib usr/share/doc etc/skel var/lib/dpkg/info var/cache/empty
		mkdir -p opt/noone run tmp proc sys dev boot srv/$(printf 'd%.0s' {1..90})
		ln -s usr/bin bin; ln -s usr/lib lib; chmod 1777 tmp; chmod 0700 etc/skel
		for p in one two three; do
			head -c 70000 /dev/urandom >usr/bin/$p; chmod 755 usr/bin/$p; echo "of $p" >usr/share/doc/$p
			printf '%s\n' /. /usr /bin/$p /usr/share/doc/$p >var/lib/dpkg/info/$p.list
			printf 'Package: %s\nStatus: install ok installed\nArchitecture: all\nVersion: 1-1\n\n' $p >>var/lib/dpkg/status
		done
		chmod u+s usr/bin/one; setcap cap_net_raw+ep usr/bin/two; setfattr -n user.note -v "of three" usr/bin/three
		setfattr -n user.dir -v x etc/skel; chown -R 1000:2000 opt/noone
		ln usr/bin/one usr/share/doc/linked; ln usr/bin/one opt/noone/linked; ln -s ../nowhere/at/all opt/noone/broken
		echo conf >etc/conf; : >etc/empty; echo é >"opt/noone/Übung ß"; head -c 2000000 /dev/urandom >opt/noone/big
		echo long >srv/$(printf 'd%.0s' {1..90})/$(printf 'f%.0s' {1..200})
		ln -s "/$(printf 'long/%.0s' {1..60})target" srv/longlink
		echo r >run/pid; echo t >tmp/t; echo log >var/lib/data; touch -d 2001-02-03 etc/conf`, root)
	return root
}

// links lists the names of each file that has several names.
func links(t *testing.T, root string) string {
	t.Helper()
	return sh(t,
		`cd "$1" && find . -type f -links +1 -printf '%i %p\n' | sort |
			awk '{n[$1]=n[$1] " " $2} END {for (i in n) print n[i]}' | sort`, root)
}

// unpack returns the root filesystem that a container runtime sees.
func unpack(t *testing.T, image string) string {
	t.Helper()
	bundle := filepath.Join(t.TempDir(), "bundle")
	must(t, "umoci", "unpack", "--image", strings.TrimPrefix(image, "oci:"), bundle)
	return filepath.Join(bundle, "rootfs")
}

type manifest struct {
	Layers []struct{ Digest, MediaType string }
}

func manifestOf(t *testing.T, image string) (m manifest) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, "skopeo", "inspect", "--raw", image)), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestInterop_AnOrdinaryImageUnpacksToTheTree(t *testing.T) {
	root := oddRoot(t)
	sh(t, `mkfifo "$1/opt/noone/fifo"; mknod "$1/opt/noone/null" c 1 3`, root)
	dir := t.TempDir()
	image := "oci:" + dir + "/image:latest"
	measured(t, "container", "build", "--rootfs="+root, image)
	got := unpack(t, image)
	hosttree.Same(t, got, root)
	if a, b := links(t, got), links(t, root); a != b {
		t.Errorf("hard links:\n%s\nwant:\n%s", a, b)
	}
	layers := manifestOf(t, image).Layers
	if len(layers) < 5 {
		t.Errorf("%d layers", len(layers))
	}
	for _, l := range layers {
		blob := filepath.Join(dir, "image/blobs/sha256", strings.TrimPrefix(l.Digest, "sha256:"))
		if times := sh(t, `tar --utc --full-time -tvzf "$1" | awk '{print $4, $5}' | sort -u`,
			blob); times != "1970-01-01 00:00:00" {
			t.Errorf("layer %s has times %q", l.Digest, times)
		}
		orphans := sh(t,
			`tar --quoting-style=literal -tzf "$1" | sed 's,/$,,; s,^\./,,; /^\.*$/d' | sort >"$2"
			sed -n 's,/[^/]*$,,p' "$2" | sort -u | comm -23 - "$2"`,
			blob, filepath.Join(t.TempDir(), "names"))
		if orphans != "" {
			t.Errorf("layer %s lacks the directories %q", l.Digest, orphans)
		}
	}
	// A new modification time is not a change, and neither is another builder.
	sh(t, `find "$1" -exec touch -h -d 2020-01-01 {} +`, root)
	again := "oci:" + dir + "/again:latest"
	t.Setenv("SOURCE_DATE_EPOCH", "1")
	a := must(t, program, "container", "build", "-q", "--rootfs="+root, image+"-1")
	b := must(t, program, "container", "build", "-q", "--rootfs="+root, again)
	if a != b {
		t.Errorf("digests %s and %s of the same tree", a, b)
	}
	if !slices.Equal(manifestOf(t, again).Layers, layers) {
		t.Errorf("layers changed with the times of files")
	}
}

// layered makes two images with umoci: a base, and one above it that changes, adds and removes files.
func layered(t *testing.T) (base, app string) {
	t.Helper()
	root, layout := oddRoot(t), filepath.Join(t.TempDir(), "layout")
	sh(t, `umoci init --layout "$2" && umoci new --image "$2:base" && umoci unpack --image "$2:base" "$3"
		cp -a "$1/." "$3/rootfs/" && umoci repack --image "$2:base" "$3"
		umoci config --image "$2:base" --config.env BASE=1 --config.label ostree.commit=stale --config.label keep=me \
			--config.cmd /usr/bin/one
		umoci unpack --image "$2:base" "$4" && cd "$4/rootfs"
		rm -r opt/noone/big usr/share/doc etc/skel && mkdir usr/share/doc && echo new >usr/share/doc/new
		head -c 90000 /dev/urandom >usr/bin/four && echo changed >etc/conf && chmod 600 etc/empty
		umoci repack --image "$2:app" "$4"`, root, layout, filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "a"))
	return "oci:" + layout + ":base", "oci:" + layout + ":app"
}

func TestInterop_AnImageThatIsSplitAnewUnpacksToTheSame(t *testing.T) {
	_, app := layered(t)
	want := unpack(t, app)
	image := "oci:" + t.TempDir() + "/image:latest"
	must(t, program, "rechunk", app, image)
	got := unpack(t, image)
	hosttree.Same(t, got, want)
	if a, b := links(t, got), links(t, want); a != b {
		t.Errorf("hard links:\n%s\nwant:\n%s", a, b)
	}
	config := must(t, "skopeo", "inspect", "--config", image)
	for _, part := range []string{`"BASE=1"`, `"keep": "me"`, `"/usr/bin/one"`} {
		if !strings.Contains(config, part) {
			t.Errorf("the configuration lacks %s: %s", part, config)
		}
	}
	if strings.Contains(config, "stale") {
		t.Errorf("a label of the commit that the base was of is left: %s", config)
	}
}

func TestInterop_TheLayersOfAKeptBaseStayAndTheRestUnpacksToTheSame(t *testing.T) {
	base, app := layered(t)
	want := unpack(t, app)
	image := "oci:" + t.TempDir() + "/image:latest"
	must(t, program, "container", "build", "--from="+app, "--keep-base="+base, image)
	kept, layers := manifestOf(t, base).Layers, manifestOf(t, image).Layers
	if len(layers) <= len(kept) || !slices.Equal(layers[:len(kept)], kept) {
		t.Errorf("layers %v do not begin with those of the base, %v", layers, kept)
	}
	hosttree.Same(t, unpack(t, image), want)
	var above int64
	sizes := sh(t, `for d in "${@:2}"; do stat -c %s "$1/blobs/sha256/${d#sha256:}"; done`, slices.Concat(
		[]string{strings.TrimSuffix(strings.TrimPrefix(image, "oci:"), ":latest")}, digests(layers[len(kept):]))...)
	for _, line := range strings.Fields(sizes) {
		var n int64
		if _, err := fmt.Sscan(line, &n); err != nil {
			t.Fatal(err)
		}
		above += n
	}
	if above > 100_000 {
		t.Errorf("%d bytes above the base, where 90 kB were added", above)
	}
}

func digests(layers []struct{ Digest, MediaType string }) (out []string) {
	for _, l := range layers {
		out = append(out, l.Digest)
	}
	return out
}

func TestInterop_ARootFilesystemIsCommittedAsAnOperatingSystemIs(t *testing.T) {
	root := oddRoot(t)
	want := filepath.Join(t.TempDir(), "want")
	sh(t,
		`cp -a "$1" "$2" && cd "$2" && mv etc usr/etc && rm -rf run/* tmp/* &&
			mkdir -p sysroot && ln -s sysroot/ostree ostree`, root, want)
	sh(t, `mkfifo "$1/opt/noone/fifo"; echo d >"$1/dev/d"`, root)
	for _, c := range []struct{ policy, change string }{{"keep", ":"}, {"drop", "rm -rf var/*"}} {
		t.Run("var "+c.policy, func(t *testing.T) {
			sh(t, `cd "$1" && eval "$2"`, want, c.change)
			repo := newRepo(t, "bare-user")
			image := "oci:" + t.TempDir() + "/image:latest"
			var built struct {
				Commit  string
				Dropped []string
			}
			out := must(t, program, "container", "build", "--json", "--format=ostree", "--var="+c.policy, "--rootfs="+root,
				"--repo="+repo, "--write-ref=os", image)
			if err := json.Unmarshal([]byte(out), &built); err != nil {
				t.Fatalf("%q: %v", out, err)
			}
			for _, p := range []string{"/run/pid", "/tmp/t", "/dev/d", "/opt/noone/fifo"} {
				if !slices.Contains(built.Dropped, p) {
					t.Errorf("%s is not among what was dropped, %q", p, built.Dropped)
				}
			}
			if got := must(t, "ostree", "rev-parse", "--repo="+repo, "os"); got != built.Commit {
				t.Errorf("the repository has %s, the image %s", got, built.Commit)
			}
			fsck(t, repo)
			back := newRepo(t, "bare")
			must(t, program, "container", "unencapsulate", "-q", "--repo="+back, "--write-ref=os",
				"ostree-unverified-image:"+image)
			fsck(t, back)
			tree := filepath.Join(t.TempDir(), "tree")
			must(t, "ostree", "checkout", "--repo="+back, built.Commit, tree)
			sh(t, `chmod --reference="$1" "$2"; chown --reference="$1" "$2"`, want, tree)
			hosttree.Same(t, tree, want)

			// Splitting the image again gives the same tree.
			anew := "oci:" + t.TempDir() + "/anew:latest"
			must(t, program, "rechunk", image, anew)
			must(t, program, "container", "unencapsulate", "-q", "--repo="+back, "--write-ref=anew",
				"ostree-unverified-image:"+anew)
			if diff := must(t, "ostree", "diff", "--repo="+back, "os", "anew"); diff != "" {
				t.Errorf("rechunk changed the tree: %s", diff)
			}
			fsck(t, back)
		})
	}
}
