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
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/internal/canonjson"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Keys of labels and annotations, all of upstream's making.
const (
	// LabelCommit holds the commit's checksum.
	LabelCommit = "ostree.commit"
	// LabelDiffID holds the diff-id of the last layer that is part of the commit.
	LabelDiffID = "ostree.final-diffid"
	// LabelBootc marks a bootable image.
	LabelBootc = "containers.bootc"

	keyBootable = "ostree.bootable"
	keyLinux    = "ostree.linux"
	keyCmd      = "ostree.container-cmd"
	keyVersion  = "version"
)

// ErrMetadata says that the commit's metadata lack a key that was asked for, or have it with another type. It is wrapped.
var ErrMetadata = errors.New("commit metadata")

// labels are the image's labels but for that of the diff-id, which nobody knows yet.
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
	out[LabelCommit] = id.String()
	maps.Copy(out, opts.Labels)
	return out, nil
}

// containerConfig is the "config" object of the image without its labels.
func containerConfig(c *object.Commit, opts *Options) (map[string]any, error) {
	config := map[string]any{}
	if len(opts.Config) > 0 {
		dec := json.NewDecoder(bytes.NewReader(opts.Config))
		dec.UseNumber()
		if err := dec.Decode(&config); err != nil {
			return nil, fmt.Errorf("container configuration: %w", err)
		}
		if _, err := dec.Token(); err != io.EOF {
			return nil, errors.New("container configuration: there is something after the JSON object")
		}
		if config == nil {
			config = map[string]any{}
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

// mergeLabels returns the configuration with labels over those that it has.
func mergeLabels(config map[string]any, labels map[string]string) (map[string]any, error) {
	merged := map[string]any{}
	switch old := config["Labels"].(type) {
	case nil:
	case map[string]any:
		maps.Copy(merged, old)
	default:
		return nil, fmt.Errorf("container configuration: Labels is no object")
	}
	for k, v := range labels {
		merged[k] = v
	}
	out := maps.Clone(config)
	out["Labels"] = merged
	return out, nil
}

// checkContainer reports what would keep the image's documents from being written or read when all layers are done.
func checkContainer(config map[string]any) error {
	merged, err := mergeLabels(config, nil)
	if err != nil {
		return err
	}
	data, err := canonjson.Marshal(merged)
	if err != nil {
		return fmt.Errorf("container configuration: %w", err)
	}
	if err := json.Unmarshal(data, &v1.Config{}); err != nil {
		return fmt.Errorf("container configuration: %w", err)
	}
	return nil
}

// historyText is what the history says of the first layer.
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

// created is the image's time in the form of RFC 3339, which has years of four digits.
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

// document writes configuration and manifest of an image whose layers all went through.
func (i *Image) document() (config, manifest []byte, err error) {
	finalLabels := map[string]string{}
	maps.Copy(finalLabels, i.labels)
	if i.commit {
		finalLabels[LabelDiffID] = i.layers[len(i.layers)-1].sums.diffID.String()
	}
	configLabels := maps.Clone(finalLabels)
	maps.Copy(configLabels, i.hidden)
	container, err := mergeLabels(i.container, configLabels)
	if err != nil {
		return nil, nil, err
	}
	var diffIDs []string
	var history, layers []map[string]any
	for _, l := range i.layers {
		diffIDs = append(diffIDs, l.sums.diffID.String())
		history = append(history, l.historyEntry(i.created))
		d := map[string]any{"digest": l.sums.digest.String(), "mediaType": string(l.mediaType()), "size": l.sums.size}
		if l.annotations != nil {
			d["annotations"] = l.annotations
		}
		layers = append(layers, d)
	}
	doc := map[string]any{
		"architecture": i.platform.Architecture, "os": i.platform.OS, "created": i.created, "config": container, "history": history,
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	}
	if i.platform.Variant != "" {
		doc["variant"] = i.platform.Variant
	}
	if config, err = canonjson.Marshal(doc); err != nil {
		return nil, nil, fmt.Errorf("image configuration: %w", err)
	}
	hash, size, err := v1.SHA256(bytes.NewReader(config))
	if err != nil {
		return nil, nil, err
	}
	annotations := finalLabels
	if !i.commit {
		// Labels are annotations, too, where upstream does that.
		annotations = map[string]string{}
	}
	maps.Copy(annotations, i.annotations)
	m := map[string]any{
		"schemaVersion": 2, "layers": layers,
		"config": map[string]any{"mediaType": ocispec.MediaTypeImageConfig, "digest": hash.String(), "size": size},
	}
	if len(annotations) > 0 {
		m["annotations"] = annotations
	}
	manifest, err = canonjson.Marshal(m)
	if err != nil {
		return nil, nil, fmt.Errorf("image manifest: %w", err)
	}
	return config, manifest, nil
}

// componentsAnnotation is the annotation of a chunk.
func componentsAnnotation(packages []string) map[string]string {
	sorted := slices.Sorted(slices.Values(packages))
	return map[string]string{chunking.AnnotationComponents: strings.Join(sorted, ",")}
}
