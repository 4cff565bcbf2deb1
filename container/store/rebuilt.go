package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/canonjson"
)

// rebuilt is an existing image with layers of which some are made while they are read. Everything in its documents that
// does not depend on these layers stays as it is. It implements [v1.Image].
type rebuilt struct {
	*encapsulate.Image
	from *oci.Image
	// oneHistory makes the history one entry for each layer, whatever it was.
	oneHistory bool

	mu               sync.Mutex
	config, manifest []byte
}

func (r *rebuilt) diffIDs() ([]digest.Digest, error) {
	layers, err := r.Layers()
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

// finalDiffID returns the new diff-id of the layer that the label names, or "" if it names none.
func (r *rebuilt) finalDiffID(ids []digest.Digest) string {
	layers, err := r.from.CommitLayers()
	if err != nil {
		return ""
	}
	return ids[len(layers.Chunks)].String()
}

// RawConfigFile implements [v1.Image].
func (r *rebuilt) RawConfigFile() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rawConfig()
}

func (r *rebuilt) rawConfig() (_ []byte, err error) {
	if r.config != nil {
		return r.config, nil
	}
	ids, err := r.diffIDs()
	if err != nil {
		return nil, err
	}
	doc, err := jsonObject(r.from.RawConfig)
	if err != nil {
		return nil, err
	}
	doc["rootfs"] = map[string]any{"type": "layers", "diff_ids": ids}
	if r.oneHistory {
		doc["history"] = r.history()
	}
	if container, ok := doc["config"].(map[string]any); ok {
		if label := r.finalDiffID(ids); label != "" {
			setIfPresent(container["Labels"], oci.LabelDiffID, label)
		}
		if label := r.record(ids); label != "" {
			setIfPresent(container["Labels"], chunking.LabelRecord, label)
		}
	}
	r.config, err = encodeDocument(doc)
	return r.config, err
}

// record returns the label with the plan for the new diff-ids, or "" if it does not fit the image.
func (r *rebuilt) record(ids []digest.Digest) string {
	rec, err := chunking.ParseRecord(r.from.Config.Labels[chunking.LabelRecord])
	if err != nil || rec.Fit(texts(r.from.Config.RootFS.DiffIDs)) != chunking.Fitting {
		return ""
	}
	if err := rec.Bind(rec.At, texts(ids)); err != nil {
		return ""
	}
	label, err := rec.Encode()
	if err != nil {
		return ""
	}
	return label
}

func texts(ids []digest.Digest) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id.String()
	}
	return list
}

// history returns an entry for each layer.
func (r *rebuilt) history() []ocispec.History {
	list := make([]ocispec.History, len(r.from.Layers))
	for i, l := range r.from.Layers {
		if l.History != nil {
			list[i] = *l.History
		} else {
			list[i] = ocispec.History{CreatedBy: l.Title()}
		}
	}
	return list
}

// RawManifest implements [v1.Image].
func (r *rebuilt) RawManifest() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.manifest != nil {
		return r.manifest, nil
	}
	config, err := r.rawConfig()
	if err != nil {
		return nil, err
	}
	made, err := r.Image.Manifest()
	if err != nil {
		return nil, err
	}
	doc, err := r.manifestDocument()
	if err != nil {
		return nil, err
	}
	doc["schemaVersion"], doc["mediaType"] = 2, ocispec.MediaTypeImageManifest
	d, _ := doc["config"].(map[string]any)
	if d == nil {
		d = map[string]any{}
		doc["config"] = d
	}
	d["mediaType"], d["digest"], d["size"] = ocispec.MediaTypeImageConfig, digest.FromBytes(config), len(config)
	layers, _ := doc["layers"].([]any)
	for i := range layers {
		if l, ok := layers[i].(map[string]any); ok {
			describe(l, made.Layers[i])
		}
	}
	ids, err := r.diffIDs()
	if err != nil {
		return nil, err
	}
	if label := r.finalDiffID(ids); label != "" {
		setIfPresent(doc["annotations"], oci.LabelDiffID, label)
	}
	r.manifest, err = encodeDocument(doc)
	return r.manifest, err
}

// manifestDocument returns the manifest as a JSON object with OCI's media types.
func (r *rebuilt) manifestDocument() (map[string]any, error) {
	if t := r.from.Top.MediaType; t == "" || t == ocispec.MediaTypeImageManifest {
		return jsonObject(r.from.Top.Raw)
	}
	data, err := json.Marshal(r.from.Manifest)
	if err != nil {
		return nil, err
	}
	return jsonObject(data)
}

// chunkedPrefix begins the annotations of a layer in the format zstd:chunked, which are about its bytes.
const chunkedPrefix = "io.github.containers.zstd-chunked."

// describe sets the fields of a layer in a manifest that depend on its bytes.
func describe(l map[string]any, made v1.Descriptor) {
	l["mediaType"] = string(made.MediaType)
	if l["digest"] == made.Digest.String() {
		return
	}
	l["digest"], l["size"] = made.Digest.String(), made.Size
	delete(l, "urls")
	delete(l, "data")
	if annotations, ok := l["annotations"].(map[string]any); ok {
		for key := range annotations {
			if strings.HasPrefix(key, chunkedPrefix) {
				delete(annotations, key)
			}
		}
	}
}

// jsonObject parses a JSON object. Keys that are null are left out.
func jsonObject(data []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	doc := map[string]any{}
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	withoutNull(doc)
	return doc, nil
}

// encodeDocument returns canonical JSON, or other JSON of a document that has numbers without a canonical form.
func encodeDocument(doc map[string]any) ([]byte, error) {
	data, err := canonjson.Marshal(doc)
	if !errors.Is(err, canonjson.ErrUnsupported) {
		return data, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return nil, err
	}
	return slices.Clip(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

func setIfPresent(object any, key, value string) {
	if m, ok := object.(map[string]any); ok {
		if _, there := m[key]; there {
			m[key] = value
		}
	}
}

// Size implements [v1.Image].
func (r *rebuilt) Size() (int64, error) { return partial.Size(r) }

// ConfigName implements [v1.Image].
func (r *rebuilt) ConfigName() (v1.Hash, error) { return partial.ConfigName(r) }

// ConfigFile implements [v1.Image].
func (r *rebuilt) ConfigFile() (*v1.ConfigFile, error) { return partial.ConfigFile(r) }

// Digest implements [v1.Image].
func (r *rebuilt) Digest() (v1.Hash, error) { return partial.Digest(r) }

// Manifest implements [v1.Image].
func (r *rebuilt) Manifest() (*v1.Manifest, error) { return partial.Manifest(r) }

// LayerByDigest implements [v1.Image].
func (r *rebuilt) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	if name, err := r.ConfigName(); err == nil && name == h {
		return partial.ConfigLayer(r)
	}
	return r.Image.LayerByDigest(h)
}
