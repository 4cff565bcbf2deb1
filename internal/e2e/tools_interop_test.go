//go:build interop

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// smallCommit makes a commit of a small tree, some of whose components are marked, with the real ostree.
func smallCommit(t *testing.T) (repo, commit string) {
	t.Helper()
	repo, tree := newRepo(t, "archive"), t.TempDir()
	sh(t,
		`cd "$1" && mkdir -p usr/etc usr/bin usr/lib/empty && echo one >usr/etc/conf &&
			cp /bin/true usr/bin/ && ln -s true usr/bin/link
		mkdir usr/lib/a usr/lib/b && head -c 300000 /bin/bash >usr/lib/a/data && setfattr -n user.component -v a usr/lib/a
		tail -c 300000 /bin/bash >usr/lib/b/data && setfattr -n user.component -v b usr/lib/b`, tree)
	return repo, must(t, "ostree", "commit", "--repo="+repo, "--branch=os", "--owner-uid=0", "--owner-gid=0", tree)
}

// comesBack imports an image and checks with the real ostree that the result is the commit.
func comesBack(t *testing.T, image, commit string, flags ...string) {
	t.Helper()
	back := newRepo(t, "bare-user")
	must(t, program,
		append([]string{"container", "unencapsulate", "--quiet", "--repo=" + back, "--write-ref=os",
			"ostree-unverified-image:" + image}, flags...)...)
	if got := must(t, "ostree", "rev-parse", "--repo="+back, "os"); got != commit {
		t.Errorf("%s: imported %s, want %s", image, got, commit)
	}
	fsck(t, back)
}

// digestOf returns the digest that `container info` prints.
func digestOf(t *testing.T, image string, flags ...string) string {
	t.Helper()
	var info struct{ Digest string }
	out := must(t, program, append([]string{"container", "info", "--json", "ostree-unverified-image:" + image},
		flags...)...)
	if err := json.Unmarshal([]byte(out), &info); err != nil || info.Digest == "" {
		t.Fatalf("container info printed %q, %v", out, err)
	}
	return info.Digest
}

func TestInterop_AnImageThatSkopeoPushedComesBackAsTheSameCommit(t *testing.T) {
	repo, commit := smallCommit(t)
	from := "oci:" + t.TempDir() + "/image:latest"
	ours := must(t, program, "container", "encapsulate", "--quiet", "--repo="+repo, "os", from)
	if n := must(t, "skopeo", "inspect", "--format={{len .Layers}}", from); n == "1" {
		t.Errorf("the image is not split")
	}
	for name, flags := range map[string][]string{
		"as it is":      {"--preserve-digests"},
		"as zstd":       {"--dest-compress-format=zstd"},
		"Docker's form": {"--format=v2s2"},
	} {
		t.Run(name, func(t *testing.T) {
			image := "docker://" + testreg.New(t).Host + "/os/small:latest"
			must(t, "skopeo", append([]string{"copy", "--quiet", "--dest-tls-verify=false", from, image}, flags...)...)
			want := must(t, "skopeo", "inspect", "--tls-verify=false", "--no-tags", "--format={{.Digest}}", image)
			if got := digestOf(t, image, "--insecure-skip-tls-verification"); got != want {
				t.Errorf("the digest is %s, skopeo says %s", got, want)
			}
			if kept := want == ours; kept != (name == "as it is") {
				t.Errorf("skopeo pushed %s, given %s", want, ours)
			}
			comesBack(t, image, commit, "--insecure-skip-tls-verification")
			name, _, _ := strings.Cut(image, ":latest")
			comesBack(t, name+"@"+want, commit, "--insecure-skip-tls-verification")
		})
	}
}

// ownStorage gives the programs of a test their own container storage, which is removed at its end.
func ownStorage(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, dir+"/storage.conf", "[storage]\ndriver = \"vfs\"\ngraphroot = \""+dir+"/root\"\nrunroot = \""+dir+
		"/run\"\n")
	writeFile(t, dir+"/containers.conf", "[engine]\nevents_logger = \"none\"\ntmp_dir = \""+dir+"/libpod\"\n")
	t.Setenv("CONTAINERS_STORAGE_CONF", dir+"/storage.conf")
	t.Setenv("CONTAINERS_CONF", dir+"/containers.conf")
}

// onlyTool sets a PATH with only one program for images, and ostree.
func onlyTool(t *testing.T, tool string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{tool, "ostree"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

// TestInterop_ContainersStorageServesEitherTool writes images to the storage through each tool and reads them through
// each. The name of the directory for temporary files has upper-case letters, which image names must not have.
func TestInterop_ContainersStorageServesEitherTool(t *testing.T) {
	repo, commit := smallCommit(t)
	ownStorage(t)
	t.Setenv("TMPDIR", t.TempDir())
	for _, writer := range []string{"skopeo", "podman"} {
		name := "localhost/os:by-" + writer
		image := "containers-storage:" + name
		var digest string
		t.Run("written through "+writer, func(t *testing.T) {
			onlyTool(t, writer)
			digest = must(t, program, "container", "encapsulate", "--quiet", "--repo="+repo, "os", image)
		})
		seen := `--format={{.Digest}} {{index .Labels "ostree.commit"}}`
		if got := must(t, "podman", "image", "inspect", seen, name); got != digest+" "+commit {
			t.Errorf("podman sees %s, written was %s %s", got, digest, commit)
		}
		if got := must(t, "skopeo", "inspect", seen, image); got != digest+" "+commit {
			t.Errorf("skopeo sees %s, written was %s %s", got, digest, commit)
		}
		for _, reader := range []string{"skopeo", "podman"} {
			t.Run("written through "+writer+" and read through "+reader, func(t *testing.T) {
				onlyTool(t, reader)
				if got := digestOf(t, image); got != digest {
					t.Errorf("the digest is %s, want %s", got, digest)
				}
				comesBack(t, image, commit)
			})
		}
	}
	if got := must(t, "podman", "images", "--sort=tag",
		"--format={{.Repository}}:{{.Tag}}"); got != "localhost/os:by-podman\nlocalhost/os:by-skopeo" {
		t.Errorf("the storage has the images %q", got)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	t.Run("written and read through nothing", func(t *testing.T) {
		t.Setenv("PATH", "")
		for _, args := range [][]string{
			{"encapsulate", "--repo=" + repo, "os", "containers-storage:localhost/os:x"},
			{"unencapsulate", "--repo=" + repo, "ostree-unverified-image:containers-storage:localhost/os:by-podman"},
		} {
			_, said, err := try(t, program, append([]string{"container"}, args...)...)
			if err == nil || !strings.Contains(said, "needs skopeo or podman, and neither is installed") {
				t.Errorf("%s: %v, %s", args[0], err, said)
			}
		}
	})
}
