package source

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// ErrInvalidManifest is wrapped by errors about manifests and indexes that are malformed.
var ErrInvalidManifest = errors.New("invalid manifest")

func checkManifestBytes(data []byte, want digest.Digest) error {
	if len(data) > oci.MaxManifestSize {
		return fmt.Errorf("%w: it has more than %s", ErrInvalidManifest, sizes.Format(oci.MaxManifestSize))
	}
	if want == "" {
		return nil
	}
	if err := checkDigest(want); err != nil {
		return err
	}
	if got := digest.FromBytes(data); got != want {
		return fmt.Errorf("manifest %s: %w: it has the digest %s", want, oci.ErrMismatch, got)
	}
	return nil
}

// ManifestType returns the media type of a manifest. The content must not contradict the media type that the carrier
// gave, or two readers could see two images in the same bytes.
func ManifestType(data []byte, carrier string) (string, error) {
	var m struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
	}
	if err := jsonplace.Unmarshal(data, &m); err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalidManifest, err)
	}
	if err := oci.CheckManifest(data); err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalidManifest, err)
	}
	if m.SchemaVersion != 2 {
		return "", fmt.Errorf("%w: schema version %d: only version 2 is supported; push the image again with a current tool",
			ErrInvalidManifest, m.SchemaVersion)
	}
	index := m.Manifests != nil
	if index && (m.Config != nil || m.Layers != nil) {
		return "", fmt.Errorf("%w: it is an index and an image at once", ErrInvalidManifest)
	}
	mediaType := m.MediaType
	if mediaType == "" && knownManifest(carrier) {
		mediaType = carrier
	}
	if mediaType == "" {
		mediaType = ocispec.MediaTypeImageManifest
		if index {
			mediaType = ocispec.MediaTypeImageIndex
		}
	}
	if !knownManifest(mediaType) {
		return "", fmt.Errorf("%w: unknown media type %q", ErrInvalidManifest, mediaType)
	}
	if isIndex(mediaType) != index {
		return "", fmt.Errorf("%w: the content is not of the media type %s", ErrInvalidManifest, mediaType)
	}
	return mediaType, nil
}

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == manifest.DockerV2ListMediaType
}

func knownManifest(mediaType string) bool {
	return isIndex(mediaType) || mediaType == ocispec.MediaTypeImageManifest ||
		mediaType == manifest.DockerV2Schema2MediaType
}

// parseManifest decodes and checks a manifest.
func parseManifest(d oci.Document) (*ocispec.Manifest, error) {
	m := &ocispec.Manifest{}
	if err := jsonplace.Unmarshal(d.Raw, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidManifest, err)
	}
	if n := len(m.Layers); n > oci.MaxLayers {
		return nil, fmt.Errorf("%w: it has %d layers, more than %d", ErrInvalidManifest, n, oci.MaxLayers)
	}
	if err := checkDescriptor(m.Config); err != nil {
		return nil, fmt.Errorf("%w: config: %w", ErrInvalidManifest, err)
	}
	sizes := map[digest.Digest]int64{}
	for i, l := range m.Layers {
		if err := checkDescriptor(l); err != nil {
			return nil, fmt.Errorf("%w: layer %d: %w", ErrInvalidManifest, i, err)
		}
		if size, ok := sizes[l.Digest]; ok && size != l.Size {
			return nil, fmt.Errorf("%w: layer %s has two sizes", ErrInvalidManifest, l.Digest)
		}
		sizes[l.Digest] = l.Size
	}
	return m, nil
}

func checkDescriptor(d ocispec.Descriptor) error {
	if d.Size < 0 {
		return fmt.Errorf("blob %s has the size %d", d.Digest, d.Size)
	}
	return checkDigest(d.Digest)
}

// checkDigest accepts only SHA-256. Its hexadecimal form is safe in paths and URLs.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %.80q: %w", string(d), err)
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %s: only sha256 is supported", d)
	}
	return nil
}
