package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/internal/canonjson"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// ExportOptions are the options of [Export]. The zero value is what most callers need.
type ExportOptions struct {
	// Dest has the options for writing the image.
	Dest dest.Options
	// Level is the level of gzip; 0 is the default.
	Level int
	// Progress receives one event at a time. It must not block for long.
	Progress func(progress.Event)
}

// Export writes a stored image. The layers of a commit have the same bytes as those that upstream's current program
// makes, so that those of an image made by it or by this project keep their diff-ids. Derived layers have the same
// files as before. Everything else in manifest and configuration stays.
//
// The diff-ids of derived layers are recorded, so that pulling the exported image fetches no layer.
func Export(
	ctx context.Context, r *repo.Repo, ref, to imgref.ImageReference, opts ExportOptions,
) (digest.Digest, error) {
	stored, err := Query(ctx, r, ref)
	if err != nil {
		return "", err
	}
	e := &exporter{repo: r, stored: stored}
	specs, err := e.specs(ctx)
	if err != nil {
		return "", fmt.Errorf("exporting %s: %w", ref, err)
	}
	at := time.Unix(0, 0)
	layers, err := encapsulate.BuildPlain(ctx, specs, encapsulate.Options{
		Created: &at, Level: opts.Level, Name: to.String(), Progress: opts.Progress,
	})
	if err != nil {
		return "", err
	}
	img := &exported{Image: layers, stored: stored}
	d, err := dest.Write(ctx, img, to, opts.Dest)
	if err != nil {
		return "", fmt.Errorf("exporting %s: %w", ref, err)
	}
	return d, e.record(ctx, img)
}

type exporter struct {
	repo    *repo.Repo
	stored  *Image
	commits []object.Checksum // of the layers, zero for those of a commit
}

// specs returns the layers to write.
func (e *exporter) specs(ctx context.Context) ([]encapsulate.LayerSpec, error) {
	specs := make([]encapsulate.LayerSpec, len(e.stored.Layers))
	e.commits = make([]object.Checksum, len(specs))
	of := func(l *oci.Layer) (object.Checksum, error) {
		c, ok, err := layerCommit(e.repo, l.Descriptor.Digest)
		if err == nil && !ok {
			err = fmt.Errorf("layer %s is not stored: pull the image again", l.Descriptor.Digest)
		}
		return c, err
	}
	layers, err := e.stored.CommitLayers()
	if err == nil {
		if err := e.commitLayers(ctx, layers, specs, of); err != nil {
			return nil, err
		}
	}
	for i := range e.stored.Layers {
		l := &e.stored.Layers[i]
		if l.Kind != oci.Derived && l.Kind != oci.Plain {
			continue
		}
		c, err := of(l)
		if err != nil {
			return nil, err
		}
		e.commits[i] = c
		specs[i] = encapsulate.LayerSpec{Name: l.Title(), Write: func(w io.Writer) error {
			return tarfmt.ExportTree(ctx, w, e.repo, c)
		}}
	}
	return specs, nil
}

// commitLayers describes the layers of the commit. What is in no chunk is in the first one.
func (e *exporter) commitLayers(
	ctx context.Context, layers *oci.CommitLayers, specs []encapsulate.LayerSpec,
	of func(*oci.Layer) (object.Checksum, error),
) error {
	base, err := of(layers.Commit)
	if err != nil {
		return err
	}
	rest, err := repo.CommitContent(ctx, e.repo, base)
	if err != nil {
		return err
	}
	for _, l := range layers.Chunks {
		c, err := of(l)
		if err != nil {
			return err
		}
		var chunk repo.Content
		if chunk, rest, err = e.take(ctx, rest, c); err != nil {
			return err
		}
		specs[l.Index] = encapsulate.LayerSpec{Name: l.Title(), Write: func(w io.Writer) error {
			return tarfmt.ExportChunk(ctx, w, e.repo, base, chunk, tarfmt.ExportOptions{})
		}}
	}
	specs[0] = encapsulate.LayerSpec{Name: layers.Commit.Title(), Write: func(w io.Writer) error {
		return tarfmt.ExportFinal(ctx, w, e.repo, base, rest, tarfmt.ExportOptions{})
	}}
	return nil
}

// take divides files into those whose objects a layer commit has, and the others.
func (e *exporter) take(
	ctx context.Context, files repo.Content, layer object.Checksum,
) (chunk, rest repo.Content, err error) {
	c, err := repo.LoadCommit(ctx, e.repo, layer)
	if err != nil {
		return nil, nil, err
	}
	d, err := repo.LoadDirTree(ctx, e.repo, c.Tree)
	if err != nil {
		return nil, nil, err
	}
	has := make(map[object.Checksum]bool, len(d.Files))
	for _, f := range d.Files {
		has[f.Checksum] = true
	}
	for _, f := range files {
		if has[f.Checksum] {
			chunk = append(chunk, f)
		} else {
			rest = append(rest, f)
		}
	}
	return chunk, rest, nil
}

// record records the diff-ids of derived layers.
func (e *exporter) record(ctx context.Context, img *exported) error {
	ids, err := img.diffIDs()
	if err != nil {
		return err
	}
	txn, err := e.repo.Begin(ctx)
	if errors.Is(err, repo.ErrReadOnly) || errors.Is(err, repo.ErrReadOnlyMode) {
		return nil
	}
	if err != nil {
		return err
	}
	for i, c := range e.commits {
		if c.IsZero() {
			continue
		}
		if err := recordDiffIDs(ctx, txn, c, ids[i].String()); err != nil {
			return errors.Join(err, txn.Abort())
		}
	}
	_, err = txn.Commit(ctx)
	return err
}

// exported is a stored image with layers that are made while they are read. It implements [v1.Image].
type exported struct {
	*encapsulate.Image
	stored *Image

	mu               sync.Mutex
	config, manifest []byte
}

func (e *exported) diffIDs() ([]digest.Digest, error) {
	layers, err := e.Layers()
	if err != nil {
		return nil, err
	}
	ids := make([]digest.Digest, len(layers))
	for i, l := range layers {
		h, err := l.DiffID()
		if err != nil {
			return nil, err
		}
		ids[i] = digest.Digest(h.String())
	}
	return ids, nil
}

// finalDiffID returns the new value of the label, or "" if the image has none.
func (e *exported) finalDiffID(ids []digest.Digest) string {
	layers, err := e.stored.CommitLayers()
	if err != nil {
		return ""
	}
	return ids[len(layers.Chunks)].String()
}

// RawConfigFile implements [v1.Image]: the stored configuration with the new diff-ids, and one entry of the history for
// each layer.
func (e *exported) RawConfigFile() ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rawConfig()
}

func (e *exported) rawConfig() (_ []byte, err error) {
	if e.config != nil {
		return e.config, nil
	}
	ids, err := e.diffIDs()
	if err != nil {
		return nil, err
	}
	doc, err := jsonObject(e.stored.RawConfig)
	if err != nil {
		return nil, err
	}
	doc["rootfs"] = map[string]any{"type": "layers", "diff_ids": ids}
	doc["history"] = e.history()
	if label := e.finalDiffID(ids); label != "" {
		if container, ok := doc["config"].(map[string]any); ok {
			setIfPresent(container["Labels"], oci.LabelDiffID, label)
		}
	}
	e.config, err = canonjson.Marshal(doc)
	return e.config, err
}

// history returns an entry for each layer.
func (e *exported) history() []ocispec.History {
	list := make([]ocispec.History, len(e.stored.Layers))
	for i, l := range e.stored.Layers {
		if l.History != nil {
			list[i] = *l.History
		} else {
			list[i] = ocispec.History{CreatedBy: l.Title()}
		}
	}
	return list
}

// RawManifest implements [v1.Image]: the stored manifest with the new configuration and layers.
func (e *exported) RawManifest() ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.manifest != nil {
		return e.manifest, nil
	}
	config, err := e.rawConfig()
	if err != nil {
		return nil, err
	}
	made, err := e.Image.Manifest()
	if err != nil {
		return nil, err
	}
	m := e.stored.Manifest
	m.MediaType, m.SchemaVersion = ocispec.MediaTypeImageManifest, 2
	m.Config.MediaType = ocispec.MediaTypeImageConfig
	m.Config.Digest, m.Config.Size = digest.FromBytes(config), int64(len(config))
	m.Layers = slices.Clone(m.Layers)
	for i, l := range made.Layers {
		m.Layers[i] = ocispec.Descriptor{
			MediaType: string(l.MediaType), Digest: digest.Digest(l.Digest.String()), Size: l.Size,
			Annotations: m.Layers[i].Annotations,
		}
	}
	if _, ok := m.Annotations[oci.LabelDiffID]; ok {
		ids, err := e.diffIDs()
		if err != nil {
			return nil, err
		}
		annotations := map[string]string{}
		for k, v := range m.Annotations {
			annotations[k] = v
		}
		if label := e.finalDiffID(ids); label != "" {
			annotations[oci.LabelDiffID] = label
		}
		m.Annotations = annotations
	}
	e.manifest, err = canonjson.Marshal(m)
	return e.manifest, err
}

// jsonObject parses a JSON object.
func jsonObject(data []byte) (map[string]any, error) {
	data, err := canonical(data)
	if err != nil {
		return nil, err
	}
	doc := map[string]any{}
	return doc, json.Unmarshal(data, &doc)
}

func setIfPresent(object any, key, value string) {
	if m, ok := object.(map[string]any); ok {
		if _, there := m[key]; there {
			m[key] = value
		}
	}
}

// Size implements [v1.Image].
func (e *exported) Size() (int64, error) { return partial.Size(e) }

// ConfigName implements [v1.Image].
func (e *exported) ConfigName() (v1.Hash, error) { return partial.ConfigName(e) }

// ConfigFile implements [v1.Image].
func (e *exported) ConfigFile() (*v1.ConfigFile, error) { return partial.ConfigFile(e) }

// Digest implements [v1.Image].
func (e *exported) Digest() (v1.Hash, error) { return partial.Digest(e) }

// Manifest implements [v1.Image].
func (e *exported) Manifest() (*v1.Manifest, error) { return partial.Manifest(e) }

// LayerByDigest implements [v1.Image].
func (e *exported) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	if name, err := e.ConfigName(); err == nil && name == h {
		return partial.ConfigLayer(e)
	}
	return e.Image.LayerByDigest(h)
}
