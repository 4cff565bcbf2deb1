package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

// Errors that callers branch on.
var (
	// ErrNotAnImageDir is wrapped by errors about a directory that holds something else than an image. It is not
	// overwritten.
	ErrNotAnImageDir = errors.New("directory is neither empty nor an image")
	// ErrMismatch is wrapped by errors about a layer whose bytes differ from its digest.
	ErrMismatch = errors.New("layer does not match its digest")
)

const layoutFile = `{"imageLayoutVersion":"1.0.0"}`

// Write writes an image into the OCI image layout in dir and returns the digest of the manifest. It makes dir if
// necessary. With a tag, the image is added to the layout and replaces an image with the same tag; without one, it
// becomes the only image. It may have several tags; if the first one is empty, it becomes the only image under the
// others. Several processes may write into one layout at once.
func Write(ctx context.Context, img v1.Image, dir string, tags ...string) (digest.Digest, error) {
	blobs, err := openBlobs(dir)
	if err != nil {
		return "", err
	}
	manifest, err := blobs.putImage(ctx, img)
	if err != nil {
		return "", err
	}
	if _, err := blobs.putBytes(ctx, manifest); err != nil {
		return "", err
	}
	d, err := describe(img, manifest)
	if err != nil {
		return "", err
	}
	return d.Digest, enter(ctx, dir, tags, d)
}

// WriteLayers stores the compressed bytes of layers as blobs in the OCI image layout in dir. It makes dir if necessary.
// No image refers to the blobs.
func WriteLayers(ctx context.Context, layers []v1.Layer, dir string) error {
	blobs, err := openBlobs(dir)
	if err != nil {
		return err
	}
	return blobs.putLayers(ctx, layers)
}

// openBlobs makes the directories of a layout, and removes temporary files that killed processes left there.
func openBlobs(dir string) (blobDir, error) {
	blobs := blobDir{filepath.Join(dir, ocispec.ImageBlobsDir, "sha256")}
	if err := checkLayoutDir(dir); err != nil {
		return blobs, err
	}
	if err := mkdir(dir, filepath.Dir(blobs.dir), blobs.dir); err != nil {
		return blobs, err
	}
	output.Sweep(blobs.dir)
	return blobs, nil
}

// enter adds an image to the index. It holds a lock meanwhile.
func enter(ctx context.Context, dir string, tags []string, d ocispec.Descriptor) (err error) {
	unlock, err := output.Lock(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	index, err := readIndex(dir, len(tags) > 0 && tags[0] != "")
	if err != nil {
		return err
	}
	named := false
	for _, tag := range tags {
		if tag == "" {
			continue
		}
		named = true
		d.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
		index.Manifests = slices.DeleteFunc(index.Manifests, func(old ocispec.Descriptor) bool {
			return old.Annotations[ocispec.AnnotationRefName] == tag
		})
		index.Manifests = append(index.Manifests, d)
	}
	if !named {
		index.Manifests = append(index.Manifests, d)
	}
	data, err := json.Marshal(index)
	if err != nil {
		return err
	}
	if err := output.WriteFile(ctx, filepath.Join(dir, ocispec.ImageLayoutFile), []byte(layoutFile)); err != nil {
		return err
	}
	return output.WriteFile(ctx, filepath.Join(dir, ocispec.ImageIndexFile), data)
}

// checkLayoutDir returns an error if the directory holds something else than an image layout.
func checkLayoutDir(dir string) error {
	names, err := names(dir)
	if err != nil || len(names) == 0 {
		return err
	}
	for _, n := range names {
		if n == ocispec.ImageLayoutFile || n == ocispec.ImageIndexFile || n == ocispec.ImageBlobsDir {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", dir, ErrNotAnImageDir)
}

// names lists a directory without temporary files. A directory that does not exist is empty.
func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if !output.IsTemp(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// readIndex returns the index to add an image to. It is empty if nothing is kept, since the image is then the only one.
func readIndex(dir string, keep bool) (ocispec.Index, error) {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}}
	if !keep {
		return index, nil
	}
	data, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if errors.Is(err, fs.ErrNotExist) {
		return index, nil
	}
	if err != nil {
		return index, err
	}
	if err := errors.Join(oci.CheckManifest(data), jsonplace.Unmarshal(data, &index)); err != nil {
		return index, fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
	}
	index.SchemaVersion = 2
	return index, nil
}

// describe returns the descriptor of an image for the index.
func describe(img v1.Image, manifest []byte) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest,
		Digest:    digest.FromBytes(manifest),
		Size:      int64(len(manifest)),
	}
	if mt, err := img.MediaType(); err == nil && mt != "" {
		d.MediaType = string(mt)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return d, err
	}
	if config.OS != "" && config.Architecture != "" {
		d.Platform = &ocispec.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	}
	return d, nil
}
