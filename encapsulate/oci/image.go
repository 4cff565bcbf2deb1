package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
)

// Labels that describe a commit. Upstream defines them.
const (
	// LabelCommit holds the commit's checksum.
	LabelCommit = "ostree.commit"
	// LabelDiffID holds the diff-id of the last layer of the commit.
	LabelDiffID = "ostree.final-diffid"
)

// LabelBootBytes is the label with the size of the kernel and of the files that go into /boot with it, in bytes. It
// describes the layers that the plan describes.
const LabelBootBytes = "ostree-ext.boot-bytes"

// maxBootBytes is more than any /boot has.
const maxBootBytes = 1 << 40

// BootBytes returns the value of [LabelBootBytes]. It returns false if there is none, or none that can be true.
func BootBytes(labels map[string]string) (int64, bool) {
	n, err := strconv.ParseInt(labels[LabelBootBytes], 10, 64)
	return n, err == nil && n > 0 && n <= maxBootBytes
}

// Limits on the documents of an image, in bytes, and on its layers. Images that have more are neither read nor written.
// A configuration that is written has at most MaxNewConfigSize, since skopeo, podman and bootc read no more.
const (
	MaxManifestSize  = 4 << 20
	MaxConfigSize    = 16 << 20
	MaxNewConfigSize = 4 << 20
	MaxLayers        = 1024
)

// Document is a JSON document with its media type and digest.
type Document struct {
	Raw       []byte
	MediaType string
	Digest    digest.Digest
}

// Image is an image for one platform. It is safe for concurrent use. Its fields must not be changed.
type Image struct {
	// Name is the reference the image was opened by. It is used in messages.
	Name string
	// Index is the image index, if the reference names one, and nil otherwise.
	Index *Document
	// Top is the manifest as it is stored. Top.Raw is nil if only the configuration is known.
	Top Document
	// Manifest is the parsed manifest, with OCI's media types in place of Docker's.
	Manifest ocispec.Manifest
	// RawConfig is the configuration as it is stored, and Config the parsed view. RawConfig is nil if only the manifest
	// is known.
	RawConfig []byte
	Config    Config
	// Layers are in the order of the manifest, or of the diff-ids if there is no manifest.
	Layers []Layer
	// AdmitCommit decides whether the commit in the image may be imported, given its checksum, its bytes and its
	// detached metadata, which are nil if there are none. It is called before any object of the image becomes visible in
	// a repository. If it is nil, every commit is admitted.
	AdmitCommit func(ctx context.Context, id string, commit, detached []byte) error
	// Remote is the remote whose keys AdmitCommit uses, or empty. It is used in messages.
	Remote string
	// Signatures returns the signatures that were verified so far: those of the manifest or the index after the image was
	// opened, and those of the commit after AdmitCommit. If it is nil, nobody asked for any.
	Signatures func() []Signature

	content Content
	commit  *CommitLayers
	unfit   error // the reason why commit is nil
}

// Config is the part of an image's configuration that is used here.
type Config struct {
	Created      time.Time `json:"created"`
	Author       string    `json:"author"`
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	Variant      string    `json:"variant"`
	OSVersion    string    `json:"os.version"`
	OSFeatures   []string  `json:"os.features"`
	// Container is the container configuration, as it is stored.
	Container json.RawMessage `json:"config"`
	RootFS    struct {
		DiffIDs []digest.Digest `json:"diff_ids"`
	} `json:"rootfs"`
	History []ocispec.History `json:"history"`
	// Labels are the labels in Container.
	Labels map[string]string `json:"-"`
}

// Platform is the platform of the image.
func (c *Config) Platform() ocispec.Platform {
	return ocispec.Platform{
		Architecture: c.Architecture, OS: c.OS, Variant: c.Variant, OSVersion: c.OSVersion, OSFeatures: c.OSFeatures,
	}
}

// Layer is one layer of an image.
type Layer struct {
	// Descriptor is empty if there is no manifest.
	Descriptor ocispec.Descriptor
	// DiffID is empty if the configuration does not have it.
	DiffID digest.Digest
	// History is the layer's entry in the history, or nil if there is none.
	History *ocispec.History
	Kind    Kind
	// Index is the position of the layer in the image.
	Index int
	// Foreign is the media type in the manifest if it marks the layer as one that is not to be distributed, and empty
	// otherwise. The blob of such a layer need not be where the image is.
	Foreign string
}

// Title returns a name of the layer for people: how it was made, or else its digest.
func (l *Layer) Title() string {
	if l.History != nil && l.History.CreatedBy != "" {
		return l.History.CreatedBy
	}
	return l.Descriptor.Digest.String()
}

// Content opens the blobs of an image. It does not check them.
type Content interface {
	// Blob opens a blob of the manifest. The caller closes it.
	Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
	// Parallel reports whether several blobs may be open at once.
	Parallel() bool
	// Close releases the resources of the content. Blobs must be closed first.
	Close() error
}

// Streams is a [Content] that has some layers in another form than a blob, such as a delta or stored objects. Only
// the diff-id of such a layer can be checked.
type Streams interface {
	Content
	// Stream opens the tar stream of a layer. It returns nil if the layer must be read from its blob.
	Stream(ctx context.Context, l *Layer) (io.ReadCloser, error)
}

// Near is a [Content] that may have its blobs on this machine, where to look at one costs nothing.
type Near interface {
	Content
	// Near reports whether it has.
	Near() bool
}

// ErrNoContent means that only the documents of an image are known, so its layers cannot be read.
var ErrNoContent = errors.New("the layers of the image are not available")

// Keys of the documents of images, which every reader has to find in the same way.
var (
	manifestKeys = jsonkeys.Schema{
		"":        {"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations"},
		".config": descriptorKeys, ".layers[]": descriptorKeys, ".manifests[]": descriptorKeys,
		".manifests[].platform": {"architecture", "os", "os.version", "os.features", "variant"},
		".annotations":          {"*"}, ".config.annotations": {"*"},
		".layers[].annotations": {"*"}, ".manifests[].annotations": {"*"},
	}
	descriptorKeys = []string{"mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform"}
	configKeys     = jsonkeys.Schema{
		"": {
			"architecture", "os", "os.version", "os.features", "variant", "created", "author", "config", "rootfs", "history",
		},
		".config": {"Labels", "Env", "Cmd", "Entrypoint", "User", "WorkingDir", "Volumes", "ExposedPorts", "StopSignal"},
		".rootfs": {"type", "diff_ids"}, ".history[]": {"created", "created_by", "author", "comment", "empty_layer"},
		".config.Labels": {"*"}, ".config.Volumes": {"*"}, ".config.ExposedPorts": {"*"},
	}
)

// CheckManifest reports a manifest or an index that two readers would understand in two ways, because a key is there
// twice or in another case.
func CheckManifest(data []byte) error { return jsonkeys.Check(data, manifestKeys) }

// New returns an image with the given manifest, parsed manifest and configuration. content may be nil.
func New(top Document, manifest ocispec.Manifest, config []byte, content Content) (*Image, error) {
	i := &Image{Top: top, Manifest: manifest, RawConfig: config, content: content}
	if err := i.Config.Parse(config); err != nil {
		return nil, err
	}
	i.describe()
	return i, nil
}

// ErrNoImage is wrapped by errors about a document that is neither a manifest nor an image's configuration.
var ErrNoImage = errors.New("neither the manifest nor the configuration of an image")

// FromDocument returns the image of a manifest or a configuration alone. Its layers cannot be read.
func FromDocument(data []byte) (*Image, error) {
	var form struct {
		Layers []ocispec.Descriptor `json:"layers"`
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := jsonplace.Unmarshal(data, &form); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoImage, err)
	}
	i := &Image{}
	switch {
	case len(form.RootFS.DiffIDs) > 0:
		i.RawConfig = data
		if err := i.Config.Parse(data); err != nil {
			return nil, err
		}
	case len(form.Layers) > 0:
		i.Top = Document{Raw: data, MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(data)}
		if err := errors.Join(CheckManifest(data), jsonplace.Unmarshal(data, &i.Manifest)); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
	default:
		return nil, ErrNoImage
	}
	i.describe()
	return i, nil
}

// FromStored returns the image of a manifest and a configuration that were stored apart from the layers. Its layers
// cannot be read.
func FromStored(manifest, config []byte) (*Image, error) {
	top := Document{Raw: manifest, MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(manifest)}
	var m ocispec.Manifest
	if err := errors.Join(CheckManifest(manifest), json.Unmarshal(manifest, &m)); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return New(top, m, config, nil)
}

// Parse parses a configuration.
func (c *Config) Parse(data []byte) error {
	if err := jsonkeys.Check(data, configKeys); err != nil {
		return fmt.Errorf("image configuration: %w", err)
	}
	if err := jsonplace.Unmarshal(data, c); err != nil {
		return fmt.Errorf("image configuration: %w", err)
	}
	var container struct{ Labels map[string]string }
	if len(c.Container) > 0 {
		if err := json.Unmarshal(c.Container, &container); err != nil {
			return fmt.Errorf("image configuration: %w", err)
		}
	}
	c.Labels = container.Labels
	return nil
}

// ociTypes maps Docker's media types to OCI's.
var ociTypes = map[string]string{
	"application/vnd.docker.container.image.v1+json":       ocispec.MediaTypeImageConfig,
	"application/vnd.docker.image.rootfs.diff.tar":         ocispec.MediaTypeImageLayer,
	"application/vnd.docker.image.rootfs.diff.tar.gzip":    ocispec.MediaTypeImageLayerGzip,
	"application/vnd.docker.image.rootfs.diff.tar.zstd":    ocispec.MediaTypeImageLayerZstd,
	"application/vnd.docker.distribution.manifest.v2+json": ocispec.MediaTypeImageManifest,
}

// foreignTypes maps the media types of layers that are not to be distributed to those of ordinary ones.
var foreignTypes = map[string]string{
	"application/vnd.docker.image.rootfs.foreign.diff.tar":         ocispec.MediaTypeImageLayer,
	"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":    ocispec.MediaTypeImageLayerGzip,
	"application/vnd.docker.image.rootfs.foreign.diff.tar.zstd":    ocispec.MediaTypeImageLayerZstd,
	"application/vnd.oci.image.layer.nondistributable.v1.tar":      ocispec.MediaTypeImageLayer,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": ocispec.MediaTypeImageLayerGzip,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": ocispec.MediaTypeImageLayerZstd,
}

// inOCI replaces Docker's media types in the descriptors by OCI's, and those of layers that are not to be distributed
// by those of ordinary ones.
func inOCI(m *ocispec.Manifest) {
	convert := func(t *string) {
		if other, ok := ociTypes[*t]; ok {
			*t = other
		} else if other, ok := foreignTypes[*t]; ok {
			*t = other
		}
	}
	convert(&m.MediaType)
	convert(&m.Config.MediaType)
	m.Layers = slices.Clone(m.Layers)
	for i := range m.Layers {
		convert(&m.Layers[i].MediaType)
	}
}

// describe fills in the layers from the manifest and the configuration. Entries of the history without a layer are
// skipped. If the number of the other entries is not the number of layers, the history is ignored.
func (i *Image) describe() {
	var foreign []string
	for _, l := range i.Manifest.Layers {
		if foreignTypes[l.MediaType] == "" {
			l.MediaType = ""
		}
		foreign = append(foreign, l.MediaType)
	}
	inOCI(&i.Manifest)
	i.Layers = make([]Layer, len(i.Manifest.Layers))
	if i.Manifest.Layers == nil && i.Top.Raw == nil {
		i.Layers = make([]Layer, len(i.Config.RootFS.DiffIDs))
	}
	var history []*ocispec.History
	for n := range i.Config.History {
		if !i.Config.History[n].EmptyLayer {
			history = append(history, &i.Config.History[n])
		}
	}
	for n := range i.Layers {
		l := &i.Layers[n]
		l.Index = n
		if n < len(i.Manifest.Layers) {
			l.Descriptor, l.Foreign = i.Manifest.Layers[n], foreign[n]
		}
		if n < len(i.Config.RootFS.DiffIDs) {
			l.DiffID = i.Config.RootFS.DiffIDs[n]
		}
		if len(history) == len(i.Layers) {
			l.History = history[n]
		}
	}
	i.commit, i.unfit = findCommit(i)
	for n := range i.Layers {
		i.Layers[n].Kind = i.kind(n)
	}
}

// CheckLayers returns an error unless manifest and configuration have the same number of layers. The error wraps
// [ErrLayerMismatch].
func (i *Image) CheckLayers() error {
	if n := len(i.Config.RootFS.DiffIDs); n != len(i.Layers) {
		return fmt.Errorf("%w: the manifest has %d layers, the configuration diff-ids of %d",
			ErrLayerMismatch, len(i.Layers), n)
	}
	return nil
}

// WithContentOf returns the image with the content of another one, such as a newer image in the same repository of a
// registry, which may still have the layers. Closing it closes the other image.
func (i *Image) WithContentOf(o *Image) *Image {
	c := *i
	c.content, c.AdmitCommit, c.Remote = o.content, o.AdmitCommit, o.Remote
	return &c
}

// Readable reports whether the layers can be read.
func (i *Image) Readable() bool { return i.content != nil }

// Parallel reports whether several layers may be read at once.
func (i *Image) Parallel() bool { return i.content != nil && i.content.Parallel() }

// Close releases the resources of the image. Layers must be closed first.
func (i *Image) Close() error {
	if i.content == nil {
		return nil
	}
	return i.content.Close()
}

// Blob opens the compressed bytes of a layer. Reading ends with [io.EOF] only if they have the size and digest of the
// descriptor, and with a [*BlobError] otherwise. So the caller must not trust the data before it has read to the end.
// The caller closes the blob.
func (i *Image) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if i.content == nil {
		return nil, ErrNoContent
	}
	r, err := i.content.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	return Verify(r, d), nil
}
