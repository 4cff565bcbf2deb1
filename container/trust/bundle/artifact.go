package bundle

import (
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/canonjson"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// Annotations of the manifest, which tell what is in the bundle.
const (
	annotationContent   = "dev.sigstore.bundle.content"
	annotationPredicate = "dev.sigstore.bundle.predicateType"
	contentEnvelope     = "dsse-envelope"
)

// parseArtifact reads the manifest of an artifact that is to be a bundle of a subject. The result has one layer.
func parseArtifact(data []byte, subject digest.Digest) (m ocispec.Manifest, err error) {
	if err := oci.CheckManifest(data); err != nil {
		return m, fmt.Errorf("manifest: %w", err)
	}
	if err := jsonplace.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("manifest: %w", err)
	}
	// An artifact has the type that it says, or else that of its configuration.
	kind := m.ArtifactType
	if kind == "" {
		kind = m.Config.MediaType
	}
	switch {
	case m.MediaType != "" && m.MediaType != ocispec.MediaTypeImageManifest:
		return m, fmt.Errorf("%w: the manifest is of type %s", errOtherArtifact, printable.Short(m.MediaType))
	case !isMediaType(kind):
		return m, fmt.Errorf("%w: the artifact is of type %s", errOtherArtifact, printable.Short(kind))
	case len(m.Layers) != 1:
		return m, fmt.Errorf("the artifact has %d layers instead of one bundle", len(m.Layers))
	case !isMediaType(m.Layers[0].MediaType):
		return m, fmt.Errorf("the layer of the artifact is of type %s instead of a bundle's",
			printable.Short(m.Layers[0].MediaType))
	case m.Subject == nil:
		return m, fmt.Errorf("the artifact: %w", &SubjectError{Want: subject})
	case m.Subject.Digest != subject:
		return m, fmt.Errorf("the artifact: %w", &SubjectError{Want: subject, Have: []digest.Digest{m.Subject.Digest}})
	}
	return m, nil
}

// An Artifact is what has to be in a repository so that a bundle is found: two blobs, and then the manifest that names
// them. Registries that cannot list referrers need the descriptor in the index at [FallbackTag], too.
type Artifact struct {
	// Descriptor describes the manifest.
	Descriptor ocispec.Descriptor
	// Manifest, Config and Bundle are the bytes.
	Manifest, Config, Bundle []byte
}

// NewArtifact returns the artifact that attaches a bundle to the manifest or index that it signs. It depends on nothing
// else, so that the same bundle has the same artifact. Of the subject, media type, digest and size are used.
func NewArtifact(bundle []byte, subject ocispec.Descriptor) (*Artifact, error) {
	if _, err := Parse(bundle, subject.Digest); err != nil {
		return nil, err
	}
	config := ocispec.DescriptorEmptyJSON
	manifest := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: MediaType,
		Config:       ocispec.Descriptor{MediaType: config.MediaType, Digest: config.Digest, Size: config.Size},
		Layers: []ocispec.Descriptor{{
			MediaType: MediaType, Digest: digest.FromBytes(bundle), Size: int64(len(bundle)),
		}},
		Subject:     &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations: map[string]string{annotationContent: contentEnvelope, annotationPredicate: PredicateType},
	}
	data, err := canonjson.Marshal(manifest)
	if err != nil {
		return nil, fmt.Errorf("manifest of a bundle: %w", err)
	}
	return &Artifact{
		Descriptor: ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(data), Size: int64(len(data)),
			ArtifactType: MediaType, Annotations: manifest.Annotations,
		},
		Manifest: data, Config: config.Data, Bundle: bundle,
	}, nil
}
