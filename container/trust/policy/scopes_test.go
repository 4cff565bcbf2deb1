package policy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
)

func TestScopesOfImages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(".", link); err != nil {
		t.Fatal(err)
	}
	parents := func(path string) (list []string) {
		for ; path != "/"; path = filepath.Dir(path) {
			list = append(list, path)
		}
		return list
	}
	digest, id := "sha256:"+strings.Repeat("a", 64), strings.Repeat("b", 64)
	const store = "[overlay@/var/lib/containers/storage]"
	for _, c := range []struct {
		transport imgref.Transport
		name      string
		want      []string
	}{
		{imgref.Registry, "quay.io:8443/a/b:T", []string{"quay.io:8443/a/b:T", "quay.io:8443/a/b", "quay.io:8443/a",
			"quay.io:8443",
			"*.io"}},
		{imgref.Registry, "a.b.example/c", []string{"a.b.example/c:latest", "a.b.example/c", "a.b.example", "*.b.example",
			"*.example"}},
		{imgref.Registry, "localhost/c:t@" + digest, []string{"localhost/c@" + digest, "localhost/c", "localhost"}},
		{imgref.Registry, "busybox", []string{"docker.io/library/busybox:latest", "docker.io/library/busybox",
			"docker.io/library",
			"docker.io", "*.io"}},
		{imgref.OCIDir, link + ":tag", parents(dir)},
		{imgref.OCIArchive, link + "/x.tar:tag", parents(dir + "/x.tar")},
		{imgref.Dir, link, parents(dir)},
		{imgref.DockerArchive, link + "/x.tar", nil},
		{imgref.ContainersStorage, store + "a.example/b/c:t", []string{store + "a.example/b/c:t", store + "a.example/b/c",
			store + "a.example/b", store + "a.example", store, "[/var/lib/containers/storage]"}},
		{imgref.ContainersStorage, "[vfs@/s/+/run:a=b]x@" + id, []string{"[vfs@/s]docker.io/library/x:latest@" + id,
			"[vfs@/s]docker.io/library/x:latest", "[vfs@/s]docker.io/library/x", "[vfs@/s]docker.io/library",
			"[vfs@/s]docker.io",
			"[vfs@/s]", "[/s]"}},
		{imgref.ContainersStorage, "[vfs@/s]@" + id, []string{"[vfs@/s]@" + id, "[vfs@/s]", "[/s]"}},
		{imgref.ContainersStorage, "[vfs@/s]" + id, []string{"[vfs@/s]@" + id, "[vfs@/s]", "[/s]"}},
		{imgref.ContainersStorage, "[vfs@/s]a.example/b:t@" + digest, []string{"[vfs@/s]a.example/b:t@" + digest,
			"[vfs@/s]a.example/b:t", "[vfs@/s]a.example/b", "[vfs@/s]a.example", "[vfs@/s]", "[/s]"}},
	} {
		got, err := policy.Scopes(imgref.ImageReference{Transport: c.transport, Name: c.name})
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s:%s: got %q, %v; want %q", c.transport, c.name, got, err, c.want)
		}
	}
}

func TestReferencesWithoutScopes(t *testing.T) {
	t.Parallel()
	for _, ref := range []imgref.ImageReference{
		docker("registry.example/OS"), docker("a@sha256:zz"),
		{Transport: imgref.OCIDir, Name: "/nowhere/at/all"},
		{Transport: imgref.DockerDaemon, Name: "os"},
		{Transport: imgref.ContainersStorage, Name: "os"},
		{Transport: imgref.ContainersStorage, Name: "[/s]os"},
		{Transport: imgref.ContainersStorage, Name: "[vfs@s]os"},
		{Transport: imgref.ContainersStorage, Name: "[vfs@/s"},
		{Transport: imgref.ContainersStorage, Name: "[vfs@/s]OS"},
	} {
		if got, err := policy.Scopes(ref); err == nil {
			t.Errorf("%s: got %q", ref, got)
		}
	}
}
