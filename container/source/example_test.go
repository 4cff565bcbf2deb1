package source_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// Read the layers of an image. Reading a layer that differs from the manifest always ends with an error.
func ExampleOpen() {
	ctx := context.Background()
	dir, err := exampleImage("a layer")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ref := imgref.ImageReference{Transport: imgref.OCIDir, Name: dir}
	img, err := source.Open(ctx, imgref.Unverified(ref), source.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	layer := img.Layers[0].Descriptor
	read := func() {
		r, err := img.Blob(ctx, layer)
		if err != nil {
			log.Fatal(err)
		}
		defer r.Close()
		_, err = io.Copy(io.Discard, r)
		fmt.Println("differs:", errors.Is(err, oci.ErrMismatch))
	}
	read()
	blob := filepath.Join(dir, "blobs/sha256", layer.Digest.Encoded())
	if err := os.WriteFile(blob, []byte("another"), 0o644); err != nil {
		log.Fatal(err)
	}
	read()
	// Output:
	// differs: false
	// differs: true
}

// exampleImage writes an OCI image directory.
func exampleImage(content string) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "example"); err != nil {
		return dir, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if img, err = mutate.AppendLayers(img, static.NewLayer([]byte(content), types.OCIUncompressedLayer)); err != nil {
		return dir, err
	}
	out, err := layout.Write(dir, empty.Index)
	if err != nil {
		return dir, err
	}
	return dir, out.AppendImage(img)
}
