package dest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/dest/layout"
	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

// plainLayer describes a layer in a Docker archive, which holds the uncompressed stream.
type plainLayer struct {
	size   int64
	diffID string // hexadecimal
}

// writeDockerArchive writes the format of "docker save". A tar header has the size of a layer before its content, so
// each layer is made twice: once to measure it, and once to write it.
func writeDockerArchive(ctx context.Context, img v1.Image, to *output.File, names []string) (digest.Digest, error) {
	tags, err := repoTags(names)
	if err != nil {
		return "", err
	}
	layers, err := img.Layers()
	if err != nil {
		return "", err
	}
	plain, err := measure(ctx, layers)
	if err != nil {
		return "", err
	}
	config, err := finishedConfig(ctx, img, layers)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(config)
	configName := hex.EncodeToString(sum[:]) + ".json"
	list, err := json.Marshal([]dockerManifest{{Config: configName, RepoTags: tags, Layers: layerNames(plain)}})
	if err != nil {
		return "", err
	}
	err = writeTar(ctx, to, func(w *tarWriter) error {
		done := map[string]bool{}
		for i, l := range layers {
			if p := plain[i]; !done[p.diffID] {
				done[p.diffID] = true
				if err := writePlain(ctx, w, l, p); err != nil {
					return fmt.Errorf("layer %d: %w", i, err)
				}
			}
		}
		return errors.Join(w.bytes(ctx, configName, config), w.bytes(ctx, "manifest.json", list))
	})
	if err != nil {
		return "", err
	}
	return impliedDigest(config, plain)
}

type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func layerNames(plain []plainLayer) []string {
	names := make([]string, 0, len(plain))
	for _, p := range plain {
		names = append(names, p.diffID+".tar")
	}
	return names
}

// repoTags returns the full names that the image gets when it is loaded. Empty names are left out.
func repoTags(names []string) (tags []string, err error) {
	for _, n := range names {
		if n == "" {
			continue
		}
		t, err := name.NewTag(n)
		if err != nil {
			return nil, err
		}
		if full := t.Name(); !slices.Contains(tags, full) {
			tags = append(tags, full)
		}
	}
	return tags, nil
}

func measure(ctx context.Context, layers []v1.Layer) ([]plainLayer, error) {
	plain := make([]plainLayer, len(layers))
	err := layout.EachLayer(ctx, layers, func(ctx context.Context, i int, l v1.Layer) error {
		r, err := l.Uncompressed()
		if err != nil {
			return err
		}
		sum := sha256.New()
		size, err := io.Copy(sum, ctxio.Reader(ctx, r))
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
		plain[i] = plainLayer{size, hex.EncodeToString(sum.Sum(nil))}
		return nil
	})
	return plain, err
}

// finishedConfig returns the configuration. If the image knows its diff-ids only after its compressed layers were read,
// it reads them.
func finishedConfig(ctx context.Context, img v1.Image, layers []v1.Layer) ([]byte, error) {
	config, err := img.RawConfigFile()
	if !errors.Is(err, stream.ErrNotComputed) {
		return config, err
	}
	err = layout.EachLayer(ctx, layers, func(ctx context.Context, _ int, l v1.Layer) error {
		r, err := l.Compressed()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, ctxio.Reader(ctx, r))
		return errors.Join(err, r.Close())
	})
	if err != nil {
		return nil, err
	}
	return img.RawConfigFile()
}

func writePlain(ctx context.Context, w *tarWriter, l v1.Layer, p plainLayer) error {
	r, err := l.Uncompressed()
	if err != nil {
		return err
	}
	sum := sha256.New()
	err = w.file(ctx, p.diffID+".tar", p.size, io.TeeReader(r, sum))
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != p.diffID {
		return fmt.Errorf("%w: the second reading gave %s, the first %s", ErrMismatch, got, p.diffID)
	}
	return nil
}

// impliedDigest returns the digest of the manifest that readers derive from a Docker archive.
func impliedDigest(config []byte, plain []plainLayer) (digest.Digest, error) {
	type descriptor struct {
		MediaType types.MediaType `json:"mediaType"`
		Size      int64           `json:"size"`
		Digest    digest.Digest   `json:"digest"`
	}
	m := struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     types.MediaType `json:"mediaType"`
		Config        descriptor      `json:"config"`
		Layers        []descriptor    `json:"layers"`
	}{2, types.DockerManifestSchema2, descriptor{types.DockerConfigJSON, int64(len(config)), digest.FromBytes(config)},
		[]descriptor{}}
	for _, p := range plain {
		m.Layers = append(m.Layers,
			descriptor{types.DockerLayer, p.size, digest.NewDigestFromEncoded(digest.SHA256, p.diffID)})
	}
	data, err := json.Marshal(m)
	return digest.FromBytes(data), err
}
