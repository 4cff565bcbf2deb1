package commandimage_test

import (
	"archive/tar"
	"crypto/x509"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/commandimage"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/programs"
)

func TestTheImageTakesThePlaceOfChunkahs(t *testing.T) {
	t.Parallel()
	platform := commandimage.Platform{
		Platform: ocispec.Platform{OS: "linux", Architecture: "s390x"}, Command: []byte("command"), Shell: []byte("shell"),
	}
	labels := map[string]string{"a": "label"}
	img, err := programs.New(t.Context(), commandimage.Of(platform, commandimage.Options{Labels: labels}))
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != "s390x" {
		t.Errorf("architecture %s", config.Architecture)
	}
	want := []any{
		[]string{"/usr/bin/chunkah"},
		[]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "CHUNKAH_ROOTFS=/chunkah"},
		"/srv", map[string]string{"a": "label"},
	}
	c := config.Config
	if diff := cmp.Diff(want, []any{c.Entrypoint, c.Env, c.WorkingDir, c.Labels}); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	r := mutate.Extract(img)
	defer r.Close()
	in, got := tar.NewReader(r), map[string]string{}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeDir {
			got["/"+h.Name] = h.Linkname + string(content)
		}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(got[commandimage.Roots])) {
		t.Error("the authorities cannot be read")
	}
	delete(got, commandimage.Roots)
	files := map[string]string{
		"/usr/bin/chunkah": "command", "/usr/bin/ostree-ext": "usr/bin/chunkah", "/bin/sh": "shell",
		"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "/etc/group": "root:x:0:\n",
	}
	if diff := cmp.Diff(files, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
