package chunk

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/report"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
)

// Request says what the step does. It is part of the cache key, so equal builds must have equal requests: it has no
// times or names that change.
type Request struct {
	Options request.Options `json:"options"`
	// Config is the container configuration, the "config" object of an OCI image.
	Config json.RawMessage `json:"config"`
	// Platform is the image's platform.
	Platform ocispec.Platform `json:"platform"`
	// Created is the image's time; nil means the time of the commit.
	Created *time.Time `json:"created,omitempty"`
	// Commit is the commit that the image below should hold, if the options leave the format open. The format is ostree if
	// the input has this commit, and else plain.
	Commit string `json:"commit,omitempty"`
	// Prior and Base are the configurations of the prior and the base image. The builder has their layers.
	Prior json.RawMessage `json:"prior,omitempty"`
	Base  json.RawMessage `json:"base,omitempty"`
	// PriorLayers are the layers in the prior image's manifest, if they may be reused. If empty, all layers are made, in
	// the order of the prior image.
	PriorLayers []ocispec.Descriptor `json:"prior_layers,omitempty"`
	// Author is the image's author, if it has one.
	Author string `json:"author,omitempty"`
	// Mapping and ContentMeta are the contents of these files.
	Mapping     []byte `json:"mapping,omitempty"`
	ContentMeta []byte `json:"contentmeta,omitempty"`
}

// Result is the result of a request.
type Result struct {
	// Error says why there is no image. If set, all other fields are empty. It is about the options or the input; if the
	// builder fails, there is no result.
	Error string `json:"error,omitempty"`
	// Commit is the commit that the image holds, if any.
	Commit string `json:"commit,omitempty"`
	// Config is the image's configuration. Annotations are those of its manifest.
	Config      json.RawMessage   `json:"config"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// Author is the image's author. It is only in the exported configuration.
	Author string `json:"author,omitempty"`
	// Layers are the image's layers, in order.
	Layers []Layer `json:"layers"`
	// Outcome says how many layers are new, how many were kept, and what that costs.
	Outcome report.Outcome `json:"outcome,omitzero"`
	// Warnings are for the user.
	Warnings []string `json:"warnings,omitempty"`
}

// Origin says where the blob of a layer is.
type Origin string

// The places that a blob can be in.
const (
	Made      Origin = "made"
	FromPrior Origin = "prior"
	FromBase  Origin = "base"
)

// Layer is a layer of the image.
type Layer struct {
	Name string `json:"name"`
	// Descriptor is empty if the origin is [FromBase].
	Descriptor ocispec.Descriptor `json:"descriptor"`
	DiffID     digest.Digest      `json:"diff_id"`
	Origin     Origin             `json:"origin"`
	// Index is the layer's position in the prior or base image.
	Index int `json:"index,omitempty"`
}

// maxLayers limits the layers of a result. No image has as many.
const maxLayers = 1000

// ParseResult decodes and checks the result that the step wrote.
func ParseResult(data []byte) (*Result, error) {
	var r Result
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("the chunk step's result: %w", err)
	}
	if r.Error != "" {
		return &Result{Error: r.Error}, nil
	}
	if len(r.Layers) == 0 || len(r.Layers) > maxLayers {
		return nil, errors.New("the chunk step's result: a wrong number of layers")
	}
	for _, l := range r.Layers {
		err := l.DiffID.Validate()
		if l.Origin != FromBase {
			err = errors.Join(err, l.Descriptor.Digest.Validate())
		}
		if err != nil {
			return nil, fmt.Errorf("the chunk step's result: %w", err)
		}
	}
	return &r, nil
}

// From returns the positions of the layers with one of the given origins.
func (r *Result) From(origins ...Origin) []int {
	var out []int
	for i, l := range r.Layers {
		if slices.Contains(origins, l.Origin) {
			out = append(out, i)
		}
	}
	return out
}

// SizeOfLargest returns the size of the blob of the n-th largest layer with a given origin, or 0 if there are fewer.
func (r *Result) SizeOfLargest(n int, origin Origin) int64 {
	var list []int64
	for _, i := range r.From(origin) {
		list = append(list, r.Layers[i].Descriptor.Size)
	}
	if len(list) < n {
		return 0
	}
	slices.Sort(list)
	return list[len(list)-n]
}

// PartialImage is an image of some of the layers. Builders fetch layers with it.
type PartialImage struct {
	Config, Manifest []byte
}

// Digest returns the digest of the manifest.
func (s *PartialImage) Digest() digest.Digest { return digest.FromBytes(s.Manifest) }

// groupSize is how many layers a builder unpacks on top of each other. In larger groups, more is unpacked again when
// one layer changes. With smaller groups, a builder keeps more snapshots.
const groupSize = 8

// Groups divides the positions of layers into groups that a builder fetches together.
func Groups(layers []int) [][]int { return slices.Collect(slices.Chunk(layers, groupSize)) }

// Subset says how some of the layers become an image.
type Subset struct {
	// Platform is the image's platform.
	Platform ocispec.Platform
	// Marked puts the layer that [Subset.Mark] returns below the others. Without it, a builder that has unpacked a layer
	// from another blob does not fetch this blob.
	Marked bool
	// Salt makes the image and the mark differ from those with another salt. Builders take equal images for the same,
	// wherever they are.
	Salt string
}

// Image returns the image of some layers of a result.
func (s Subset) Image(r *Result, layers ...int) (*PartialImage, error) {
	image := ocispec.Image{Platform: s.Platform, RootFS: ocispec.RootFS{Type: "layers"}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	// Set a time that nobody sees. If there is none, the builder adds the current one.
	epoch := time.Unix(0, 0).UTC()
	add := func(name string, diffID digest.Digest, d ocispec.Descriptor) {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, diffID)
		image.History = append(image.History, ocispec.History{Created: &epoch, CreatedBy: name})
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
	}
	if s.Marked {
		mark, err := s.Mark(r, layers...)
		if err != nil {
			return nil, err
		}
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(mark),
			Size: int64(len(mark))}
		add("mark", d.Digest, d)
	}
	for _, i := range layers {
		add(r.Layers[i].Name, r.Layers[i].DiffID, r.Layers[i].Descriptor)
	}
	var p PartialImage
	var err error
	if p.Config, err = json.Marshal(image); err != nil {
		return nil, err
	}
	m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(p.Config),
		Size: int64(len(p.Config))}
	// This annotation makes the image differ from every exported one, so that the builder never confuses them.
	m.Annotations = map[string]string{"io.github.ostree-ext.chunk": "import" + s.Salt}
	p.Manifest, err = json.Marshal(m)
	return &p, err
}

// Mark returns the tar stream of a layer that depends on the blobs of the given layers, and on the salt.
func (s Subset) Mark(r *Result, layers ...int) ([]byte, error) {
	blobs := digest.SHA256.Digester()
	for _, i := range layers {
		fmt.Fprintln(blobs.Hash(), r.Layers[i].Descriptor.Digest)
	}
	if s.Salt != "" {
		fmt.Fprintln(blobs.Hash(), s.Salt)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	header := tar.Header{Name: ".ostree-ext-" + blobs.Digest().Encoded(), Mode: 0o644, ModTime: time.Unix(0, 0),
		Format: tar.FormatUSTAR}
	err := errors.Join(w.WriteHeader(&header), w.Close())
	return buf.Bytes(), err
}

// ExportConfig returns the image's configuration as BuildKit writes it. The values are the same as in the image that
// the command line makes; the order of keys differs in places.
func (r *Result) ExportConfig() ([]byte, error) {
	var known struct {
		RootFS  ocispec.RootFS    `json:"rootfs"`
		History []ocispec.History `json:"history"`
	}
	fields := map[string]json.RawMessage{}
	if err := errors.Join(json.Unmarshal(r.Config, &known), json.Unmarshal(r.Config, &fields)); err != nil {
		return nil, fmt.Errorf("image configuration: %w", err)
	}
	rootfs, rootfsErr := json.Marshal(known.RootFS)
	history, historyErr := json.Marshal(known.History)
	if err := errors.Join(rootfsErr, historyErr); err != nil {
		return nil, err
	}
	fields["rootfs"], fields["history"] = rootfs, history
	if r.Author != "" {
		author, err := json.Marshal(r.Author)
		if err != nil {
			return nil, err
		}
		fields["author"] = author
	}
	return json.Marshal(fields)
}

// ExportManifest returns the manifest that BuildKit writes if nothing is added to the image. It returns an error if
// layers come from a base, because their sizes are not known.
func (r *Result) ExportManifest() ([]byte, error) {
	if slices.ContainsFunc(r.Layers, func(l Layer) bool { return l.Origin == FromBase }) {
		return nil, errors.New("layers of a base have no descriptor")
	}
	config, err := r.ExportConfig()
	if err != nil {
		return nil, err
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Annotations: r.Annotations,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config),
			Size: int64(len(config))},
	}
	for _, l := range r.Layers {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: l.Descriptor.MediaType, Digest: l.Descriptor.Digest,
			Size: l.Descriptor.Size})
	}
	return json.MarshalIndent(m, "", "  ")
}
