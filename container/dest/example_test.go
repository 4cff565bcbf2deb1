package dest_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
)

// Write an image to an archive. Any other reference would do. The image here is an empty one.
func ExampleWrite() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)

	ref, err := imgref.ParseImageReference("oci-archive:" + filepath.Join(dir, "os.ociarchive") + ":latest")
	if err != nil {
		log.Fatal(err)
	}
	digest, err := dest.Write(context.Background(), img, ref, dest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	want, err := img.Digest()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(digest.String() == want.String())
	// Output: true
}
