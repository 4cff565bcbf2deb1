package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
)

func TestTheImageOfASystemIsComparedWithItsUpdate(t *testing.T) {
	root, _ := makeImageHost(t)
	want := `from: docker://registry.example/os:latest, version 41.1, sha256:` + strings.Repeat("b", 64) + `
to:   docker://registry.example/os:latest, version 41.2\x1b[31m, sha256:` + strings.Repeat("c", 64) + `
      signed by somebody else of https://i (bundle of the manifest)
the packages of both images are not known
to fetch: 1.5_MB in 1 of 1 layer; in both images: 0 bytes in 0
`
	want = strings.ReplaceAll(want, "_", "\u00a0")
	for name, args := range map[string][]string{"the option": {"--sysroot=" + root}, "the environment": nil} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OSTREE_REPO", "")
			t.Setenv("OSTREE_SYSROOT", root)
			if args != nil {
				t.Setenv("OSTREE_SYSROOT", t.TempDir())
			}
			var out, errs bytes.Buffer
			code := run(t.Context(), append([]string{"container", "image", "diff"}, args...), streams{out: &out, err: &errs})
			if code != exitOK || out.String() != want || errs.Len() > 0 {
				t.Errorf("status %d: got\n%s%s\nwant\n%s", code, out.String(), errs.String(), want)
			}
		})
	}
}

func TestReferencesToCompareAreToldApart(t *testing.T) {
	t.Parallel()
	const stored, opened = "docker://registry.example/os", "ostree-unverified-registry:registry.example/other"
	for _, c := range []struct {
		args        string
		ofSystem    bool
		from, other string
		stored      bool
		fails       bool
	}{
		{"", true, "", "", false, false},
		{"", false, "", "", false, true},
		{stored, false, stored, "", false, false},
		{stored, true, stored, "", false, false},
		{opened, false, "", "", false, true},
		{opened, true, "", opened, false, false},
		{stored + " " + opened, false, stored, opened, false, false},
		{stored + " " + opened, true, stored, opened, false, false},
		{stored + " oci:dir:tag", false, stored, "ostree-unverified-image:oci:dir:tag", true, false},
		{opened + " " + stored, true, "", "", false, true},
		{stored + " nonsense", false, stored, "", false, true},
	} {
		d := imageDiff{ofSystem: c.ofSystem}
		err := d.parse(strings.Fields(c.args))
		if (err != nil) != c.fails {
			t.Errorf("%q of a system %t: %v", c.args, c.ofSystem, err)
		}
		if c.fails {
			continue
		}
		from, other := "", ""
		if d.from != (imgref.ImageReference{}) {
			from = d.from.String()
		}
		if d.other != (imgref.OstreeImageReference{}) {
			other = d.other.String()
		}
		if from != c.from || other != c.other || d.stored != c.stored {
			t.Errorf("%q of a system %t: %q and %q, stored %t", c.args, c.ofSystem, from, other, d.stored)
		}
	}
}
