//go:build interop

package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/hosttree"
)

// containerRoot makes the root filesystem of a container with two packages of SUSE, in whose database they are.
func containerRoot(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	database, err := filepath.Abs("../../chunking/component/rpm/testdata/sle15-bci.ndb.gz")
	if err != nil {
		t.Fatal(err)
	}
	sh(t, `mkdir -p "$1" && cd "$1"
		mkdir -p usr/bin usr/lib/sysimage/rpm usr/lib/modules/6.1 usr/lib/tmpfiles.d etc var/lib/app "var/cache/of app"
		gzip -dc "$2" >usr/lib/sysimage/rpm/Packages.db
		head -c 1200000 /dev/urandom >usr/bin/bash; head -c 1200000 /dev/urandom >usr/bin/rpm
		echo kernel >usr/lib/modules/6.1/vmlinuz
		printf 'root:x:0:0:root:/root:/bin/bash\napp:x:990:990::/var/lib/app:/sbin/nologin\n' >etc/passwd
		printf 'root:x:0:\nwheel:x:10:\napp:x:990:\n' >etc/group
		printf 'passwd: files altfiles\ngroup: files altfiles\n' >etc/nsswitch.conf
		echo VERSION_ID=3 >etc/os-release
		: >etc/passwd-
		echo state >var/lib/app/state; chmod 750 var/lib/app; chown 990:990 var/lib/app
		echo index >"var/cache/of app/100%"; chown 990 "var/cache/of app/100%"; ln -s ../run var/run
		ln -s "of app" "var/cache/a link"`,
		root, database)
	return root
}

// TestInterop_APreparedTreeIsWhatAHostNeeds: the real ostree checks out the commit, and systemd creates /var as it
// would when the host boots.
func TestInterop_APreparedTreeIsWhatAHostNeeds(t *testing.T) {
	root := containerRoot(t)
	dir := t.TempDir()
	before := filepath.Join(dir, "before")
	sh(t, `cp -a "$1" "$2"`, root, before)
	must(t, program, "-q", "container", "build", "--rootfs="+root, "--prepare=ostree", "oci:"+dir+"/image")
	hosttree.Same(t, root, before)
	repo, host := newRepo(t, "bare"), filepath.Join(dir, "host")
	must(t, program, "-q", "container", "unencapsulate", "--repo="+repo, "--write-ref=os",
		"ostree-unverified-image:oci:"+dir+"/image")
	fsck(t, repo)
	must(t, "ostree", "checkout", "--repo="+repo, "os", host)
	for file, want := range map[string]string{
		"usr/etc/passwd": "root:x:0:0:root:/root:/bin/bash", "usr/lib/passwd": "app:x:990:990::/var/lib/app:/sbin/nologin",
		"usr/etc/group": "root:x:0:\nwheel:x:10:", "usr/lib/group": "app:x:990:", "usr/lib/app/state": "state",
		"usr/share/factory/var/cache/of app/100%": "index",
	} {
		if got := must(t, "cat", filepath.Join(host, file)); got != want {
			t.Errorf("%s has %q, want %q", file, got, want)
		}
	}
	if got := sh(t, `cd "$1" && ls -A var && ls etc usr/etc/passwd- 2>/dev/null || true`, host); got != "" {
		t.Errorf("this should not be there: %s", got)
	}
	must(t, "systemd-tmpfiles", "--root="+host, "--create", "ostree-ext-var.conf")
	got := sh(t, `cd "$1/var" && find . ! -name . -printf '%P %y %m %U:%G %l\n' | sort && cat "cache/of app/100%"`, host)
	want := `cache d 755 0:0
cache/a link l 777 0:0 of app
cache/of app d 755 0:0
cache/of app/100% f 644 990:0
lib d 755 0:0
lib/app d 750 990:990
run l 777 0:0 ../run
index`
	if got = strings.ReplaceAll(got, " \n", "\n"); got != want {
		t.Errorf("/var is\n%s\nwant\n%s", got, want)
	}
}

// TestInterop_ComposeBuildChunkedOCITakesTheImagesOfPodman: an image of podman goes in by its name and comes out in the
// same storage, twice. The second time, the layers of packages that did not change are kept.
func TestInterop_ComposeBuildChunkedOCITakesTheImagesOfPodman(t *testing.T) {
	root := containerRoot(t)
	ownStorage(t)
	t.Setenv("TMPDIR", t.TempDir())
	const out = "containers-storage:localhost/os"
	type result struct {
		Digest, Commit, Prior string
		Layers, Reused        int
	}
	compose := func(flags ...string) (r result) {
		t.Helper()
		stdout, stderr, err := try(t, program, append([]string{"-q", "compose", "build-chunked-oci", "--bootc", "--json",
			"--output=" + out}, flags...)...)
		if err != nil || stderr != "" {
			t.Fatalf("%v: %s", err, stderr)
		}
		if err := json.Unmarshal([]byte(stdout), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	build := func() {
		t.Helper()
		sh(t, `tar -C "$1" -c . | podman import -q -c 'LABEL org.opencontainers.image.version=9.1' \
			-c 'LABEL ostree.bootable=stale' -c 'CMD ["/usr/bin/bash"]' - localhost/build:1`, root)
	}
	build()
	first := compose("--from=localhost/build:1")
	if first.Prior != "" || first.Reused > 0 || first.Layers < 4 {
		t.Errorf("the first image is %+v", first)
	}
	const labels = `{{.Digest}} {{index .Labels "ostree.commit"}} {{index .Labels "ostree.bootable"}} ` +
		`{{index .Labels "ostree.linux"}} {{index .Labels "containers.bootc"}} ` +
		`{{index .Labels "org.opencontainers.image.version"}}`
	seen := must(t, "podman", "image", "inspect", "--format="+labels, "localhost/os")
	if want := first.Digest + " " + first.Commit + " true 6.1 1 9.1"; seen != want {
		t.Errorf("podman sees %s, want %s", seen, want)
	}
	comesBack(t, out, first.Commit)
	must(t, program, "-q", "container", "verify", out)

	sh(t, `head -c 1200000 /dev/urandom >"$1"/usr/bin/bash`, root)
	build()
	second := compose("--from=localhost/build:1")
	if !strings.Contains(second.Prior, first.Digest) || second.Reused != second.Layers-2 || second.Commit == first.Commit {
		t.Errorf("the second image is %+v, and the first was %+v", second, first)
	}
	comesBack(t, out, second.Commit)

	// The same from a directory, with another image as the previous one.
	third := compose("--rootfs="+root, "--previous-build="+out, "--reference=dir")
	if !strings.Contains(third.Prior, second.Digest) || third.Reused != second.Layers-1 {
		t.Errorf("the image of the directory is %+v, and that of podman was %+v", third, second)
	}
	comesBack(t, out+":dir", third.Commit)
}
