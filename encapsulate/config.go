package encapsulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/upstream"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/canonjson"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Keys of labels and annotations. Upstream defines all of them.
const (
	// LabelBootc marks a bootable image.
	LabelBootc = "containers.bootc"

	keyBootable = "ostree.bootable"
	keyLinux    = "ostree.linux"
	keyCmd      = "ostree.container-cmd"
	keyVersion  = "version"
)

// ErrMetadata is wrapped by errors about a key of the commit's metadata that was requested, and is missing or has the
// wrong type.
var ErrMetadata = errors.New("commit metadata")

// labels returns the image's labels, except the one with the diff-id, which is not known yet.
func labels(id object.Checksum, c *object.Commit, opts *Options) (map[string]string, error) {
	out := map[string]string{}
	for _, key := range slices.Concat(opts.CopyMetaKeys, opts.CopyMetaOptKeys) {
		v, ok := c.Metadata.Lookup(key)
		if !ok {
			if slices.Contains(opts.CopyMetaKeys, key) {
				return nil, fmt.Errorf("%w: could not find key: %s", ErrMetadata, key)
			}
			continue
		}
		s, err := v.Text()
		if err != nil || v.Type() != "s" {
			return nil, fmt.Errorf("%w: expected string for value of %s, which has type %s", ErrMetadata, key, v.Type())
		}
		out[key] = s
	}
	if v, ok := c.Metadata.Lookup(keyBootable); ok && v.Type() == "b" {
		bootable, err := v.Bool()
		if err != nil {
			return nil, err
		}
		out[keyBootable], out[LabelBootc] = fmt.Sprint(bootable), "1"
	}
	if v, ok := c.Metadata.Lookup(keyLinux); ok && v.Type() == "s" {
		linux, err := v.Text()
		if err != nil {
			return nil, err
		}
		out[keyLinux] = linux
	}
	if v, ok := c.Metadata.Lookup(keyVersion); ok && v.Type() == "s" {
		version, err := v.Text()
		if err != nil {
			return nil, err
		}
		out[ocispec.AnnotationVersion] = version
	}
	maps.DeleteFunc(out, func(key, _ string) bool { return opts.ClearLabels || slices.Contains(opts.RemoveLabels, key) })
	out[oci.LabelCommit] = id.String()
	maps.Copy(out, opts.Labels)
	return out, nil
}

// containerConfig returns the "config" object of the image, without labels.
func containerConfig(c *object.Commit, opts *Options) (map[string]any, error) {
	config := map[string]any{}
	if len(opts.Config) > 0 {
		dec := json.NewDecoder(bytes.NewReader(opts.Config))
		dec.UseNumber()
		if err := dec.Decode(&config); err != nil {
			return nil, fmt.Errorf("container configuration: %w", jsonplace.Explain(opts.Config, err))
		}
		if _, err := dec.Token(); err != io.EOF {
			return nil, errors.New("container configuration: there is data after the JSON object")
		}
		if _, whole := config["rootfs"]; whole || config["Config"] != nil {
			return nil, fmt.Errorf("container configuration: %w", checkForeign(opts.Config, ""))
		}
		if config == nil {
			config = map[string]any{}
		}
		// These are of the image that the configuration was taken from.
		if labels, ok := config["Labels"].(map[string]any); ok {
			delete(labels, chunking.LabelPackages)
			delete(labels, oci.LabelBootBytes)
			maps.DeleteFunc(labels, func(key string, _ any) bool {
				return opts.ClearLabels || slices.Contains(opts.RemoveLabels, key)
			})
		}
	}
	cmd := opts.Cmd
	if len(cmd) == 0 {
		if v, ok := c.Metadata.Lookup(keyCmd); ok && v.Type() == "as" {
			var err error
			if cmd, err = v.Strings(); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrMetadata, keyCmd, err)
			}
		}
	}
	if len(cmd) > 0 {
		config["Cmd"] = cmd
	}
	return config, nil
}

// mergeLabels returns the configuration with labels added. They replace labels of the same name.
func mergeLabels(config map[string]any, labels map[string]string) (map[string]any, error) {
	merged := map[string]any{}
	switch old := config["Labels"].(type) {
	case nil:
	case map[string]any:
		maps.Copy(merged, old)
	default:
		return nil, fmt.Errorf("container configuration: Labels is not an object")
	}
	for k, v := range labels {
		merged[k] = v
	}
	out := maps.Clone(config)
	out["Labels"] = merged
	return out, nil
}

// checkContainer returns an error if the configuration could not be written or read back later, when all layers are
// done.
func checkContainer(config map[string]any) error {
	merged, err := mergeLabels(config, nil)
	if err != nil {
		return err
	}
	data, err := canonjson.Marshal(merged)
	if err != nil {
		return fmt.Errorf("container configuration: %w", err)
	}
	if err := jsonplace.Unmarshal(data, &v1.Config{}); err != nil {
		return fmt.Errorf("container configuration: %w", err)
	}
	return nil
}

// historyText returns the history's text for the first layer.
func historyText(id object.Checksum, c *object.Commit) string {
	if c.Subject != "" {
		return c.Subject
	}
	return "ostree export of commit " + id.String()
}

func platform(opts *Options) ocispec.Platform {
	if opts.Platform != nil {
		return *opts.Platform
	}
	return ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
}

// created returns the image's time as in RFC 3339, which allows years of four digits only.
func created(c *object.Commit, opts *Options) (string, error) {
	t := c.Time()
	if opts.Created != nil {
		t = *opts.Created
	}
	t = t.UTC()
	if t.Year() < 0 || t.Year() > 9999 || opts.Created == nil && c.Timestamp > math.MaxInt64 {
		return "", errors.New("the image's time is outside of the years 0 to 9999: give another one")
	}
	return t.Format(time.RFC3339), nil
}

// publicLabels returns the labels that are also annotations of the manifest, given the diff-id of the last layer.
func (i *Image) publicLabels(last digest.Digest) map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, i.labels)
	if i.commit {
		labels[oci.LabelDiffID] = last.String()
	}
	return labels
}

// ownFields are the fields of an image's configuration that this package sets.
var ownFields = []string{
	"architecture", "author", "config", "created", "history", "os", "os.features", "os.version", "rootfs", "variant",
}

// IsOwnField reports whether this package sets a field of an image's configuration.
func IsOwnField(name string) bool { return slices.Contains(ownFields, name) }

// makeConfig encodes the configuration of the image, given the diff-ids of its layers.
func (i *Image) makeConfig(diffIDs []digest.Digest) ([]byte, error) {
	labels := i.publicLabels(diffIDs[len(diffIDs)-1])
	if i.hidden != nil {
		hidden, err := i.hidden(diffIDs)
		if err != nil {
			return nil, err
		}
		maps.Copy(labels, hidden)
	}
	container, err := mergeLabels(i.container, labels)
	if err != nil {
		return nil, err
	}
	var history []map[string]any
	for _, l := range i.layers {
		history = append(history, l.historyEntry(i.created))
	}
	doc := map[string]any{
		"architecture": i.platform.Architecture, "os": i.platform.OS, "created": i.created,
		"config": container, "history": history,
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	}
	if i.platform.Variant != "" {
		doc["variant"] = i.platform.Variant
	}
	if i.platform.OSVersion != "" {
		doc["os.version"] = i.platform.OSVersion
	}
	if len(i.platform.OSFeatures) > 0 {
		doc["os.features"] = i.platform.OSFeatures
	}
	if i.author != "" {
		doc["author"] = i.author
	}
	for name, value := range i.fields {
		if !IsOwnField(name) {
			doc[name] = value
		}
	}
	config, err := canonjson.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("image configuration: %w", err)
	}
	if len(config) > oci.MaxNewConfigSize {
		return nil, fmt.Errorf("the image configuration has %s, and skopeo and podman read %s: shorten its labels",
			sizes.Format(int64(len(config))), sizes.Format(oci.MaxNewConfigSize))
	}
	return config, nil
}

// makeManifest encodes the manifest. All layers must have been read.
func (i *Image) makeManifest(config []byte) ([]byte, error) {
	var layers []map[string]any
	for _, l := range i.layers {
		d := map[string]any{"digest": l.sums.digest.String(), "mediaType": l.mediaType(), "size": l.sums.size}
		if l.annotations != nil {
			d["annotations"] = l.annotations
		}
		layers = append(layers, d)
	}
	annotations := i.manifestAnnotations()
	m := map[string]any{
		"schemaVersion": 2, "layers": layers, "config": map[string]any{
			"mediaType": ocispec.MediaTypeImageConfig, "digest": digest.FromBytes(config).String(), "size": len(config),
		},
	}
	if len(annotations) > 0 {
		m["annotations"] = annotations
	}
	manifest, err := canonjson.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("image manifest: %w", err)
	}
	if len(manifest) > oci.MaxManifestSize {
		return nil, fmt.Errorf("the image manifest has %s, and registries take %s: shorten labels and annotations, "+
			"or ask for fewer layers", sizes.Format(int64(len(manifest))), sizes.Format(oci.MaxManifestSize))
	}
	return manifest, nil
}

// manifestAnnotations returns the manifest's annotations. For the image of a commit they include labels, as
// upstream's do.
func (i *Image) manifestAnnotations() map[string]string {
	annotations := map[string]string{}
	if i.commit {
		annotations = i.publicLabels(i.layers[len(i.layers)-1].knownDiffID())
	}
	maps.Copy(annotations, i.annotations)
	return annotations
}

// componentsAnnotation returns the annotation that lists the packages of a chunk.
func componentsAnnotation(packages []string) map[string]string {
	sorted := slices.Sorted(slices.Values(packages))
	return map[string]string{upstream.AnnotationComponents: strings.Join(sorted, ",")}
}
