package imgref_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
)

func TestUpstream_ImageReferencesThatAreInvalid(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":            "Missing ':' in ",
		"nocolon":     "Missing ':' in nocolon",
		"foo://":      "Invalid transport: foo",
		"foo:bar":     "Invalid transport: foo",
		"docker:blah": "Missing // in docker:// in docker:blah",
		"docker:":     "Missing // in docker:// in docker:",
		"docker://":   "Invalid empty name in docker://",
		"registry:":   "Invalid empty name in registry:",
		"oci:":        "Invalid empty name in oci:",
	} {
		got, err := imgref.ParseImageReference(in)
		if err == nil || err.Error() != want || !errors.Is(err, imgref.ErrInvalid) {
			t.Errorf("%q: got %v, %v; want the error %q", in, got, err, want)
		}
	}
}

func TestUpstream_ImageReferencesPrintAsTheyWereRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in        string
		transport imgref.Transport
		name      string
	}{
		{"oci:somedir", imgref.OCIDir, "somedir"},
		{"dir:/some/dir/blah", imgref.Dir, "/some/dir/blah"},
		{"oci-archive:/path/to/foo.ociarchive", imgref.OCIArchive, "/path/to/foo.ociarchive"},
		{"docker-archive:/path/to/foo.dockerarchive", imgref.DockerArchive, "/path/to/foo.dockerarchive"},
		{"containers-storage:localhost/someimage:blah", imgref.ContainersStorage, "localhost/someimage:blah"},
		{"docker://quay.io/exampleos/blah:sometag", imgref.Registry, "quay.io/exampleos/blah:sometag"},
		{"docker-daemon:foo:bar", imgref.DockerDaemon, "foo:bar"},
	} {
		got, err := imgref.ParseImageReference(c.in)
		if err != nil || got != (imgref.ImageReference{Transport: c.transport, Name: c.name}) || got.String() != c.in {
			t.Errorf("%q: got %#v, printed %q, %v", c.in, got, got, err)
		}
	}
	got, err := imgref.ParseImageReference("registry:quay.io/exampleos/blah")
	if err != nil || got.String() != "docker://quay.io/exampleos/blah" {
		t.Errorf("registry: is docker://, got %q, %v", got, err)
	}
}

func TestUpstream_TransportNames(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]imgref.Transport{
		"registry": imgref.Registry, "registry:": imgref.Registry, "docker": imgref.Registry, "docker://": imgref.Registry,
		"oci": imgref.OCIDir, "oci:": imgref.OCIDir, "oci-archive": imgref.OCIArchive, "docker-archive": imgref.DockerArchive,
		"containers-storage": imgref.ContainersStorage, "dir": imgref.Dir, "docker-daemon:": imgref.DockerDaemon,
	} {
		if got, err := imgref.ParseTransport(in); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", ":", "docker:", "ocidir", "oci::", "registry://"} {
		if got, err := imgref.ParseTransport(in); !errors.Is(err, imgref.ErrInvalid) {
			t.Errorf("%q: got %v, %v; want an error", in, got, err)
		}
	}
}

func TestUpstream_OstreeImageReferencesPrint(t *testing.T) {
	t.Parallel()
	const remote = "ostree-remote-image:myremote:docker://quay.io/exampleos/blah"
	const signed = "ostree-image-signed:docker://quay.io/exampleos/blah"
	const unverified = "ostree-unverified-registry:quay.io/exampleos/blah"
	for _, c := range []struct{ in, printed, short string }{
		{"ostree-remote-image:myremote:registry:quay.io/exampleos/blah", remote, remote},
		{"ostree-remote-image:myremote:docker://quay.io/exampleos/blah", remote, remote},
		{"ostree-remote-registry:myremote:quay.io/exampleos/blah", remote, remote},
		{signed, signed, signed},
		{"ostree-image-signed:registry:quay.io/exampleos/blah", signed, signed},
		{"ostree-unverified-image:docker://quay.io/exampleos/blah", unverified, "docker://quay.io/exampleos/blah"},
		{unverified, unverified, "docker://quay.io/exampleos/blah"},
		{"ostree-unverified-image:oci:/x:y", "ostree-unverified-image:oci:/x:y", "ostree-unverified-image:oci:/x:y"},
	} {
		got, err := imgref.ParseOstreeImageReference(c.in)
		if err != nil || got.String() != c.printed || got.ShortString() != c.short {
			t.Errorf("%q: got %q and %q, %v; want %q and %q", c.in, got, got.ShortString(), err, c.printed, c.short)
		}
	}
}

func TestUpstream_OstreeImageReferencesThatAreInvalid(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                               "Missing ':' in ",
		"blah":                           "Missing ':' in blah",
		"registry:quay.io/x":             "Invalid ostree image reference scheme: registry",
		"ostree-remote-registry:foo":     "Missing second ':' in ostree-remote-registry:foo",
		"ostree-remote-image:foo":        "Missing second ':' in ostree-remote-image:foo",
		"ostree-remote-image:foo:bar":    "Missing ':' in bar",
		"ostree-image-signed:foo:bar":    "Invalid transport: foo",
		"ostree-unverified-registry:":    "Invalid empty name in registry:",
		"ostree-unverified-image:nocol":  "Missing ':' in nocol",
		"Ostree-unverified-image:oci:/x": "Invalid ostree image reference scheme: Ostree-unverified-image",
	} {
		got, err := imgref.ParseOstreeImageReference(in)
		if err == nil || err.Error() != want || !errors.Is(err, imgref.ErrInvalid) {
			t.Errorf("%q: got %v, %v; want the error %q", in, got, err, want)
		}
	}
}

func TestUpstream_SignatureSourcesPrintAsTheyWereRead(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]imgref.SignatureSource{
		"ostree-image-signed":        {Kind: imgref.ContainerPolicy},
		"ostree-unverified-image":    {Kind: imgref.ContainerPolicyAllowInsecure},
		"ostree-remote-image:fedora": {Kind: imgref.OstreeRemote, Remote: "fedora"},
	} {
		if got, err := imgref.ParseSignatureSource(in); err != nil || got != want || got.String() != in {
			t.Errorf("%q: got %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "ostree-remote-image", "ostree-unverified-registry", "ostree-image-signed:"} {
		if got, err := imgref.ParseSignatureSource(in); err == nil || err.Error() != "Invalid signature source: "+in {
			t.Errorf("%q: got %v, %v", in, got, err)
		}
	}
}

func TestUpstream_OCINamesSplitAtTheFirstColon(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][2]string{
		"/foo/bar":            {"/foo/bar", ""},
		"/foo/bar:baz":        {"/foo/bar", "baz"},
		"/foo/bar:baz:latest": {"/foo/bar", "baz:latest"},
		"somedir:":            {"somedir", ""},
	} {
		path, tag := imgref.ImageReference{Transport: imgref.OCIDir, Name: name}.PathAndTag()
		if path != want[0] || tag != want[1] {
			t.Errorf("%q: got %q and %q, want %q", name, path, tag, want)
		}
	}
}

func FuzzReferencesPrintAsTheyAreRead(f *testing.F) {
	for _, s := range []string{
		"docker://quay.io/a/b:c@sha256:d", "registry:x", "oci:/a:b:c", "dir:x", "docker:x",
		"ostree-image-signed:docker://q/x",
		"ostree-unverified-registry:q/x", "ostree-remote-registry:r:q/x", "ostree-remote-image::oci:x",
		"ostree-unverified-image:registry://x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := imgref.ParseImageReference(s); err == nil {
			if again, err := imgref.ParseImageReference(r.String()); err != nil || again != r {
				t.Errorf("%q prints as %q, which is %#v, %v", s, r, again, err)
			}
		}
		if r, err := imgref.ParseOstreeImageReference(s); err == nil {
			if again, err := imgref.ParseOstreeImageReference(r.String()); err != nil || again != r {
				t.Errorf("%q prints as %q, which is %#v, %v", s, r, again, err)
			}
		}
		if r, err := imgref.ParseSignatureSource(s); err == nil && r.String() != s {
			t.Errorf("%q prints as %q", s, r)
		}
	})
}

func ExampleParseOstreeImageReference() {
	ref, err := imgref.ParseOstreeImageReference("ostree-unverified-image:docker://quay.io/exampleos/os:latest")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ref)
	fmt.Println(ref.Image)
	// Output:
	// ostree-unverified-registry:quay.io/exampleos/os:latest
	// docker://quay.io/exampleos/os:latest
}
