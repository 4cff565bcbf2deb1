//go:build interop

package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// smallCommit makes a commit of a small tree, some of whose components are marked, with the real ostree.
func smallCommit(t *testing.T) (repo, commit string) {
	t.Helper()
	repo, tree := newRepo(t, "archive"), t.TempDir()
	sh(t, `cd "$1" && mkdir -p usr/etc usr/bin usr/lib/empty && echo one >usr/etc/conf && cp /bin/true usr/bin/ && ln -s true usr/bin/link
		mkdir usr/lib/a usr/lib/b && head -c 300000 /bin/bash >usr/lib/a/data && setfattr -n user.component -v a usr/lib/a
		tail -c 300000 /bin/bash >usr/lib/b/data && setfattr -n user.component -v b usr/lib/b`, tree)
	return repo, must(t, "ostree", "commit", "--repo="+repo, "--branch=os", "--owner-uid=0", "--owner-gid=0", tree)
}

// comesBack imports an image and lets the real ostree check that it gave the commit.
func comesBack(t *testing.T, image, commit string, flags ...string) {
	t.Helper()
	back := newRepo(t, "bare-user")
	must(t, program, append([]string{"container", "unencapsulate", "--quiet", "--repo=" + back, "--write-ref=os", "ostree-unverified-image:" + image}, flags...)...)
	if got := must(t, "ostree", "rev-parse", "--repo="+back, "os"); got != commit {
		t.Errorf("%s: imported %s, want %s", image, got, commit)
	}
	fsck(t, back)
}

// digestOf is what `container info` says.
func digestOf(t *testing.T, image string, flags ...string) string {
	t.Helper()
	var info struct{ Digest string }
	out := must(t, program, append([]string{"container", "info", "--json", "ostree-unverified-image:" + image}, flags...)...)
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
