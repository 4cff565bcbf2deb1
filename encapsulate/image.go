package encapsulate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// Image is an image whose layers are generated while they are read. It implements [v1.Image] and is safe for
// concurrent use.
type Image struct {
	platform    ocispec.Platform
	created     string
	author      string
	fields      map[string]json.RawMessage
	labels      map[string]string // without the label for the diff-id
	annotations map[string]string
	container   map[string]any
	hidden      func([]digest.Digest) (map[string]string, error) // labels that are not annotations
	compressor  compressor
	commit      bool // the layers hold a commit
	layers      []*layer

	mu       sync.Mutex
	config   []byte // nil until all diff-ids are known
	manifest []byte // nil until every layer was read
}

var _ v1.Image = (*Image)(nil)

// Build returns the image of a commit. It reads the commit and its trees; the content of files is read with the
// layers. The context also applies to reading the layers.
func Build(ctx context.Context, src repo.Source, commit object.Checksum, opts Options) (*Image, error) {
	c, err := repo.LoadCommit(ctx, src, commit)
	if err != nil {
		return nil, err
	}
	layerCount := 1
	if opts.Split != nil {
		layerCount += len(opts.Split.Layers)
	}
	i, err := newImage(&opts, layerCount)
	if err != nil {
		return nil, err
	}
	i.commit = true
	if i.created, err = created(c, &opts); err != nil {
		return nil, err
	}
	if i.labels, err = labels(commit, c, &opts); err != nil {
		return nil, err
	}
	if i.container, err = containerConfig(c, &opts); err != nil {
		return nil, err
	}
	if err := checkContainer(i.container); err != nil {
		return nil, err
	}
	split := opts.Split
	if split == nil {
		content, err := repo.CommitContent(ctx, src, commit)
		if err != nil {
			return nil, err
		}
		split = chunking.SingleLayer(content)
	} else if err := split.Check(ctx, src, commit); err != nil {
		return nil, err
	}
	export := tarfmt.ExportOptions{ParentDirs: opts.ParentDirs}
	layers := []LayerSpec{{Name: historyText(commit, c), Expected: split.FirstExpected, Write: func(w io.Writer) error {
		return tarfmt.ExportFinal(ctx, w, src, commit, split.Remainder, export)
	}}}
	for _, l := range split.Layers {
		packages := l.Packages
		if packages == nil {
			packages = []string{}
		}
		write := func(w io.Writer) error { return tarfmt.ExportChunk(ctx, w, src, commit, l.Content, export) }
		layers = append(layers, LayerSpec{Name: l.Name, Packages: packages, Size: l.Size, Expected: l.Expected, Write: write})
	}
	return i, i.addLayers(ctx, layers, &opts)
}

// newImage returns an image without its layers, and sets what does not depend on where the files come from. layers is
// the number of layers it will have.
func newImage(opts *Options, layers int) (*Image, error) {
	compress, err := newCompressor(opts.Compression, opts.Level, layers)
	if err != nil {
		return nil, err
	}
	return &Image{
		platform: platform(opts), author: opts.Author, fields: opts.Fields, annotations: opts.Annotations,
		hidden: opts.ConfigLabels, compressor: compress,
	}, nil
}

// addLayers adds the layers and finds out which of them the prior image has.
func (i *Image) addLayers(ctx context.Context, layers []LayerSpec, opts *Options) error {
	emit := progress.Serialize(opts.Progress)
	for n, spec := range layers {
		l := &layer{
			ctx: ctx, image: opts.Name, index: n, name: spec.Name, size: spec.Size, compressor: i.compressor,
			write: spec.Write, emit: emit, history: spec.History,
		}
		if spec.Packages != nil {
			l.annotations = componentsAnnotation(spec.Packages)
		}
		if len(spec.Annotations) > 0 {
			if l.annotations == nil {
				l.annotations = map[string]string{}
			}
			maps.Copy(l.annotations, spec.Annotations)
		}
		i.layers = append(i.layers, l)
	}
	emit(progress.Event{Kind: progress.Planned, Image: opts.Name, Layer: len(i.layers)})
	return i.reuse(ctx, layers, opts)
}

// rawConfig returns the configuration, or [stream.ErrNotComputed] while a diff-id is missing.
func (i *Image) rawConfig() ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.lockedConfig()
}

func (i *Image) lockedConfig() (_ []byte, err error) {
	if i.config != nil {
		return i.config, nil
	}
	diffIDs := make([]digest.Digest, len(i.layers))
	for n, l := range i.layers {
		if diffIDs[n] = l.knownDiffID(); diffIDs[n] == "" {
			return nil, fmt.Errorf("layer %d: %w", l.index, stream.ErrNotComputed)
		}
	}
	i.config, err = i.makeConfig(diffIDs)
	return i.config, err
}

// rawManifest returns the manifest, or [stream.ErrNotComputed] while layers are missing.
func (i *Image) rawManifest() (_ []byte, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.manifest != nil {
		return i.manifest, nil
	}
	for _, l := range i.layers {
		if l.computed() == nil {
			return nil, fmt.Errorf("layer %d: %w", l.index, stream.ErrNotComputed)
		}
	}
	config, err := i.lockedConfig()
	if err != nil {
		return nil, err
	}
	i.manifest, err = i.makeManifest(config)
	return i.manifest, err
}

// Annotations returns the annotations of the manifest. Like the configuration, they are available when all diff-ids
// are known.
func (i *Image) Annotations() (map[string]string, error) {
	if _, err := i.rawConfig(); err != nil {
		return nil, err
	}
	return i.manifestAnnotations(), nil
}

// Layers implements [v1.Image]: first the layer with the commit, then the chunks.
func (i *Image) Layers() ([]v1.Layer, error) {
	out := make([]v1.Layer, len(i.layers))
	for j, l := range i.layers {
		out[j] = l
	}
	return out, nil
}

// MediaType implements [v1.Image].
func (i *Image) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// Size implements [v1.Image]: the size of the manifest.
func (i *Image) Size() (int64, error) { return partial.Size(i) }

// ConfigName implements [v1.Image].
func (i *Image) ConfigName() (v1.Hash, error) { return partial.ConfigName(i) }

// ConfigFile implements [v1.Image].
func (i *Image) ConfigFile() (*v1.ConfigFile, error) { return partial.ConfigFile(i) }

// RawConfigFile implements [v1.Image]. The bytes are canonical JSON.
func (i *Image) RawConfigFile() ([]byte, error) {
	return i.rawConfig()
}

// Digest implements [v1.Image].
func (i *Image) Digest() (v1.Hash, error) { return partial.Digest(i) }

// Manifest implements [v1.Image].
func (i *Image) Manifest() (*v1.Manifest, error) { return partial.Manifest(i) }

// RawManifest implements [v1.Image]. The bytes are canonical JSON.
func (i *Image) RawManifest() ([]byte, error) {
	return i.rawManifest()
}

// LayerByDigest implements [v1.Image]. It finds only layers that were read to their end.
func (i *Image) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	if name, err := i.ConfigName(); err == nil && name == h {
		return partial.ConfigLayer(i)
	}
	for _, l := range i.layers {
		if s := l.computed(); s != nil && s.digest.String() == h.String() {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no layer has the digest %s", h)
}

// LayerByDiffID implements [v1.Image]. It finds only layers that were read to their end, compressed or not.
func (i *Image) LayerByDiffID(h v1.Hash) (v1.Layer, error) {
	for _, l := range i.layers {
		if diffID, err := l.DiffID(); err == nil && diffID == h {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no layer has the diff-id %s", h)
}
