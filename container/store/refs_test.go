package store

import (
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestUpstream_NamesAreEscaped(t *testing.T) {
	for name, want := range map[string]string{
		"foo/bar/baz-blah/foo":                   "foo/bar/baz-blah/foo",
		"localhost:5000/foo:latest":              "localhost_3A_5000/foo_3A_latest",
		"fedora/x86_64/coreos":                   "fedora/x86__64/coreos",
		"docker://quay.io/exampleos/blah:latest": "docker_3A__2F__2F_quay_2E_io/exampleos/blah_3A_latest",
		"oci:/var/tmp/x:tag":                     "oci_3A__2F_var/tmp/x_3A_tag",
		"/foo/bar/foo.oci-archive":               "_2F_foo/bar/foo_2E_oci-archive",
		"/":                                      "_2F_",
		"blah/":                                  "blah_2F_",
		"/foo/":                                  "_2F_foo_2F_",
		"a//b":                                   "a/_2F_b",
		"a-/b":                                   "a-_2F_b",
		"é":                                      "_E9_",
		"\U0001f600":                             "_1F600_",
		"docker://quay.io/os@sha256:0123456789ab": "docker_3A__2F__2F_quay_2E_io/os_40_sha256_3A_0123456789ab",
	} {
		got, err := escape(name)
		if err != nil || got != want {
			t.Errorf("%q is escaped as %q, %v, want %q", name, got, err, want)
		}
		if back, err := unescape(got); err != nil || back != name {
			t.Errorf("%q is unescaped as %q, %v, want %q", got, back, err, name)
		}
	}
	for _, name := range []string{"", "a\x00b", "\xff"} {
		if got, err := escape(name); err == nil {
			t.Errorf("%q is escaped as %q", name, got)
		}
	}
	for _, name := range []string{"_", "_zz_", "_41", "a:b", "_110000_", "_D800_", "_FFFFFFFFFFFFFFFFF_"} {
		if got, err := unescape(name); err == nil {
			t.Errorf("%q is unescaped as %q", name, got)
		}
	}
	const hex = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
	if got, err := layerRef(digest.Digest("sha256:" + hex)); err != nil || got != "ostree/container/blob/sha256_3A_"+hex {
		t.Errorf("the ref of a layer is %q, %v", got, err)
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("docker://quay.io/exampleos/blah:latest")
	f.Add("/a//b_-é/")
	f.Fuzz(func(t *testing.T, s string) {
		_, _ = unescape(s)
		name, err := escape(s)
		if err != nil {
			return
		}
		if back, err := unescape(name); err != nil || back != s {
			t.Errorf("%q is escaped as %q and unescaped as %q, %v", s, name, back, err)
		}
	})
}
