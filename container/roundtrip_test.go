package container_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// plainHTTP is for the registry of the tests.
var plainHTTP = access.Options{InsecureSkipTLSVerify: true}

func TestACommitComesBackThroughEveryTransport(t *testing.T) {
	t.Parallel()
	from := newRepo(t, repo.ModeArchive)
	commit := commitFiles(t, from, "one", "two", "three")
	dir := t.TempDir()
	reg := testreg.New(t)
	for _, compression := range []string{"gzip", "zstd", "none"} {
		for transport, name := range map[imgref.Transport]string{
			imgref.Registry: reg.Host + "/os:" + compression, imgref.OCIDir: filepath.Join(dir, "oci") + ":" + compression,
			imgref.OCIArchive: filepath.Join(dir, compression+".ociarchive"), imgref.Dir: filepath.Join(dir, compression+".dir"),
			imgref.DockerArchive: filepath.Join(dir, compression+".dockerarchive") + ":localhost/os:x",
		} {
			opts := encapsulate.Options{}
			var err error
			if opts.Compression, err = encapsulate.ParseCompression(compression); err != nil {
				t.Fatal(err)
			}
			img, err := encapsulate.Build(t.Context(), from, commit, opts)
			if err != nil {
				t.Fatal(err)
			}
			ref := imgref.ImageReference{Transport: transport, Name: name}
			d, err := dest.Write(t.Context(), img, ref, dest.Options{Registry: plainHTTP})
			if err != nil {
				t.Fatalf("%s: %v", ref, err)
			}
			to := newRepo(t, repo.ModeBareUser)
			res, err := container.Unencapsulate(t.Context(), to, unverified(transport, name),
				source.Options{Registry: plainHTTP}, container.ImportOptions{WriteRef: "os"})
			if err != nil {
				t.Errorf("%s: %v", ref, err)
				continue
			}
			if res.Commit != commit || res.ManifestDigest != d {
				t.Errorf("%s: got commit %s of manifest %s, want %s of %s", ref, res.Commit, res.ManifestDigest, commit, d)
			}
		}
	}
}

func ExampleUnencapsulate_refused() {
	ref, err := imgref.ParseOstreeImageReference("ostree-image-signed:docker://registry.example/os")
	if err != nil {
		fmt.Println(err)
		return
	}
	// The reference requires signatures, which cannot be verified, so nothing is fetched.
	_, err = container.Unencapsulate(context.Background(), nil, ref, source.Options{}, container.ImportOptions{})
	fmt.Println(err != nil)
	// Output: true
}
