package dest

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
)

const layoutFile = `{"imageLayoutVersion":"1.0.0"}`

// writeOCIDir writes into an OCI image layout, which is made if it is not there. With a tag the image joins those that
// are there, in the place of one with the same tag; without, it becomes the only one.
func writeOCIDir(ctx context.Context, img v1.Image, dir, tag string) (digest.Digest, error) {
	blobs := blobDir{filepath.Join(dir, "blobs", "sha256")}
	if err := checkLayoutDir(dir); err != nil {
		return "", err
	}
	if err := mkdir(dir, filepath.Dir(blobs.dir), blobs.dir); err != nil {
		return "", err
	}
	manifest, err := blobs.putImage(ctx, img)
	if err != nil {
		return "", err
	}
	if _, err := blobs.putBytes(ctx, manifest); err != nil {
		return "", err
	}
	index, err := readIndex(dir, tag)
	if err != nil {
		return "", err
	}
	if err := addToIndex(&index, img, manifest, tag); err != nil {
		return "", err
	}
	data, err := json.Marshal(index)
	if err != nil {
		return "", err
	}
	if err := writeFile(filepath.Join(dir, ocispec.ImageLayoutFile), []byte(layoutFile)); err != nil {
		return "", err
	}
	if err := writeFile(filepath.Join(dir, ocispec.ImageIndexFile), data); err != nil {
		return "", err
	}
	return digest.FromBytes(manifest), nil
}

// checkLayoutDir refuses to mix blobs into a directory of something else.
func checkLayoutDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if n := e.Name(); n == ocispec.ImageLayoutFile || n == ocispec.ImageIndexFile || n == ocispec.ImageBlobsDir {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", dir, ErrNotAnImageDir)
}

// readIndex returns the index to add to, which is an empty one where nothing is to stay.
func readIndex(dir, tag string) (ocispec.Index, error) {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}}
	if tag == "" {
		return index, nil
	}
	data, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if errors.Is(err, fs.ErrNotExist) {
		return index, nil
	}
	if err != nil {
		return index, err
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return index, fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
	}
	index.SchemaVersion = 2
	return index, nil
}

func addToIndex(index *ocispec.Index, img v1.Image, manifest []byte, tag string) error {
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
		return err
	}
	if config.OS != "" && config.Architecture != "" {
		d.Platform = &ocispec.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	}
	if tag != "" {
		d.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
		index.Manifests = slices.DeleteFunc(index.Manifests, func(old ocispec.Descriptor) bool {
			return old.Annotations[ocispec.AnnotationRefName] == tag
		})
	}
	index.Manifests = append(index.Manifests, d)
	return nil
}
