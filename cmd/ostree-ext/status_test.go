package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// makeImageHost makes a sysroot with two deployments. The first is of an image, for which an update was found.
func makeImageHost(t *testing.T) (root string, commits [2]object.Checksum) {
	t.Helper()
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	config := func(version, layer string) string {
		return `{"config":{"Labels":{"org.opencontainers.image.version":"` + version +
			`"}},"rootfs":{"diff_ids":["` + layer + `"]}}`
	}
	manifest := func(layer string) string {
		return `{"schemaVersion":2,"layers":[{"digest":"` + layer + `","size":1500000}]}`
	}
	dict := func(pairs ...string) (d gvariant.Dict) {
		for i := 0; i < len(pairs); i += 2 {
			d = d.Set(pairs[i], gvariant.String(pairs[i+1]))
		}
		return d
	}
	signedBy := func(who string) string {
		return `[{"kind":"bundle","on":"manifest","signed":"` + digest("b") + `","signer":"` + who +
			`","issuer":"https://i","rule":"a.yaml"}]`
	}
	from := repotest.Init(t, repo.ModeArchive)
	tree := repotest.BootTree("kernel", "", nil)
	commits[0] = repotest.CommitWith(t, from, tree, "", dict(
		"ostree.container.image-config", config("41.1", digest("a")),
		"ostree.manifest", manifest(digest("a")), "ostree.manifest-digest", digest("b"),
	), dict(
		"ostree-ext.cached.manifest-digest", digest("c"), "ostree-ext.cached.manifest", manifest(digest("d")),
		"ostree-ext.cached.config", config(`41.2\u001b[31m`, digest("d")),
		"ostree-ext.signatures", signedBy("somebody"), "ostree-ext.cached.signatures", signedBy("somebody else"),
	))
	commits[1] = repotest.CommitWith(t, from, tree, "", dict("version", "40"), nil)
	boot := repotest.BootChecksum("kernel", "")
	root = repotest.MakeSysroot(t,
		repotest.Deployment{
			Stateroot: "default", Commit: commits[0], Boot: boot, KernelArgs: "quiet",
			Origin: "[origin]\ncontainer-image-reference=ostree-image-signed:docker://registry.example/os:latest\n",
		},
		repotest.Deployment{
			Stateroot: "default", Commit: commits[1], Boot: boot,
			Origin: "[origin]\nrefspec=vendor:os\n\n[libostree-transient]\npinned=true\n",
		},
		repotest.Deployment{Stateroot: "other", Commit: object.Checksum{1}, Boot: boot},
	)
	r, err := repo.Init(filepath.Join(root, "ostree/repo"), repo.ModeBareUser)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	names := []string{commits[0].String(), commits[1].String()}
	if _, err := r.PullLocal(t.Context(), from, names, repo.PullOptions{}); err != nil {
		t.Fatal(err)
	}
	return root, commits
}

func TestStatusForPeople(t *testing.T) {
	root, commits := makeImageHost(t)
	want := `Default: ostree-image-signed:docker://registry.example/os:latest
  Version:   41.1
  Created:   2023-11-14T22:13:20Z
  Digest:    sha256:` + strings.Repeat("b", 64) + `
  Signed by: somebody of https://i (bundle of the manifest)
  Commit:    ` + commits[0].String() + `
  Stateroot: default, deployment 0
  Update:    41.2\x1b[31m, sha256:` + strings.Repeat("c", 64) + `, 1.5_MB of layers that this image does not have
             signed by somebody else of https://i (bundle of the manifest)

Other: vendor:os
  Version:   40
  Created:   2023-11-14T22:13:20Z
  Commit:    ` + commits[1].String() + `
  Stateroot: default, deployment 1
  Pinned:    yes

Other: (no origin)
  Commit:    01` + strings.Repeat("0", 62) + `
  Stateroot: other, deployment 2

Free in /boot: `
	want = strings.ReplaceAll(want, "_", "\u00a0")
	for name, args := range map[string][]string{"the option": {"--sysroot=" + root}, "the environment": nil} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OSTREE_SYSROOT", root)
			if args != nil {
				t.Setenv("OSTREE_SYSROOT", t.TempDir())
			}
			var out, errs bytes.Buffer
			args = append([]string{"container", "image", "status"}, args...)
			code := run(t.Context(), args, streams{out: &out, err: &errs})
			got, free, _ := strings.Cut(out.String(), "/boot: ")
			if code != exitOK || got+"/boot: " != want || !strings.HasSuffix(free, "B\n") || errs.Len() > 0 {
				t.Errorf("status %d: got\n%s%s\nwant\n%s", code, out.String(), errs.String(), want)
			}
		})
	}
}
