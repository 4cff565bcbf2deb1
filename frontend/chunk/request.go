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

	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
)

// Request is what the step is to do. Equal requests over equal inputs give equal layouts, so it has nothing volatile.
type Request struct {
	Options request.Options `json:"options"`
	// Config is the container configuration, "config" in an OCI image.
	Config json.RawMessage `json:"config"`
	// Platform is that of the image.
	Platform ocispec.Platform `json:"platform"`
	// Created is the image's time; nil means that of the commit.
	Created *time.Time `json:"created,omitempty"`
	// Prior and Base are configurations of images, whose layers the builder has.
	Prior json.RawMessage `json:"prior,omitempty"`
	Base  json.RawMessage `json:"base,omitempty"`
	// PriorLayers are those of the prior image in its manifest, if they may be taken from there. Without them, all layers are
	// made; where they stand in the order stays.
	PriorLayers []ocispec.Descriptor `json:"prior_layers,omitempty"`
	// Author is that of the image, if it has one.
	Author string `json:"author,omitempty"`
	// Mapping and ContentMeta are contents of files.
	Mapping     []byte `json:"mapping,omitempty"`
	ContentMeta []byte `json:"contentmeta,omitempty"`
}

// Result is what became of a request.
type Result struct {
	// Error, if there is one, says why there is no image, and nothing else is set. It is about what was asked for or given;
	// a builder that does not work is none.
	Error string `json:"error,omitempty"`
	// Commit is what the image holds, unless it is an ordinary one.
	Commit string `json:"commit,omitempty"`
	// Config is the image's configuration and Annotations those of its manifest.
	Config      json.RawMessage   `json:"config"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// Author is that of the image, which only its exported configuration names.
	Author string `json:"author,omitempty"`
	// Layers are those of the image in order.
	Layers []Layer `json:"layers"`
	// Summary says in a line how many layers are new and how many were kept.
	Summary string `json:"summary,omitempty"`
	// Warnings are for the user.
	Warnings []string `json:"warnings,omitempty"`
}

// Origin says where the blob of a layer is.
type Origin string

// The places.
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
	// Index is the position among the layers of the prior or base image.
	Index int `json:"index,omitempty"`
}

// maxLayers is more than any image has.
const maxLayers = 1000

// ParseResult reads what the step wrote.
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

// From returns the positions of the layers of some origins.
func (r *Result) From(origins ...Origin) []int {
	var out []int
	for i, l := range r.Layers {
		if slices.Contains(origins, l.Origin) {
			out = append(out, i)
		}
	}
	return out
}

// Single is an image that a builder fetches layers by.
type Single struct {
	Config, Manifest []byte
}

// Digest is that of the manifest.
func (s *Single) Digest() digest.Digest { return digest.FromBytes(s.Manifest) }

// groupSize is how many layers a builder unpacks on top of each other. In larger groups, more is unpacked again when one changes;
// with smaller ones, a builder has more snapshots to keep.
const groupSize = 8

// Groups divides layers by their positions into those that a builder fetches together.
func Groups(layers []int) [][]int { return slices.Collect(slices.Chunk(layers, groupSize)) }

// Alone returns an image of some of the layers. If it is marked, the layer that [Result.Mark] returns is below them: a builder
// which has a layer unpacked already, but from another blob, would otherwise see no reason to fetch this one.
func (r *Result) Alone(p ocispec.Platform, marked bool, layers ...int) (*Single, error) {
	image := ocispec.Image{Platform: p, RootFS: ocispec.RootFS{Type: "layers"}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	// The time must be there, as the builder would add the current one, and is never seen.
	epoch := time.Unix(0, 0).UTC()
	add := func(name string, diffID digest.Digest, d ocispec.Descriptor) {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, diffID)
		image.History = append(image.History, ocispec.History{Created: &epoch, CreatedBy: name})
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
	}
	if marked {
		mark, err := r.Mark(layers...)
		if err != nil {
			return nil, err
		}
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(mark), Size: int64(len(mark))}
		add("mark", d.Digest, d)
	}
	for _, i := range layers {
		add(r.Layers[i].Name, r.Layers[i].DiffID, r.Layers[i].Descriptor)
	}
	var s Single
	var err error
	if s.Config, err = json.Marshal(image); err != nil {
		return nil, err
	}
	m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(s.Config), Size: int64(len(s.Config))}
	// What differs from every image that is exported, so that the builder never takes one for the other.
	m.Annotations = map[string]string{"io.github.ostree-ext.chunk": "import"}
	s.Manifest, err = json.Marshal(m)
	return &s, err
}

// Mark is the tar stream of a layer that differs between the blobs of some layers.
func (r *Result) Mark(layers ...int) ([]byte, error) {
	blobs := digest.SHA256.Digester()
	for _, i := range layers {
		fmt.Fprintln(blobs.Hash(), r.Layers[i].Descriptor.Digest)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	header := tar.Header{Name: ".ostree-ext-" + blobs.Digest().Encoded(), Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	err := errors.Join(w.WriteHeader(&header), w.Close())
	return buf.Bytes(), err
}

// ExportConfig returns the image's configuration in the form in which BuildKit writes it: the same values as those of the
// command line's image, with another order of keys in places.
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

// ExportManifest returns the manifest that BuildKit writes if nothing is added to the image. It is an error if layers come
// from a base, as their sizes are not known here.
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
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))},
	}
	for _, l := range r.Layers {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: l.Descriptor.MediaType, Digest: l.Descriptor.Digest, Size: l.Descriptor.Size})
	}
	return json.MarshalIndent(m, "", "  ")
}
