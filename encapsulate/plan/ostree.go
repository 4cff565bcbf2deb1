package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/canonjson"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/repo/selinux"
)

// OSTreeOptions says how a root filesystem becomes a commit.
type OSTreeOptions struct {
	Prepare rootfs.PrepareOptions
	// Time is the time of the commit.
	Time time.Time
	// Subject is the subject of the commit.
	Subject string
	// Metadata is the metadata of the commit. CommitTree adds the keys for bootable systems and the version.
	Metadata gvariant.Dict
}

// Committed is a commit of a root filesystem. Its objects are read from the tree.
type Committed struct {
	Source *rootfs.Source
	Commit object.Checksum
	// Dropped lists what the commit leaves out.
	Dropped []rootfs.Dropped
}

// CommitTree makes a commit of the root filesystem of an operating system; see [rootfs.Prepare]. It stores nothing:
// the objects are read from the tree.
func CommitTree(ctx context.Context, tree rootfs.Tree, opts OSTreeOptions) (*Committed, error) {
	prepared, dropped, err := rootfs.Prepare(tree, opts.Prepare)
	if err != nil {
		return nil, err
	}
	hashed, err := rootfs.Hash(ctx, prepared)
	if err != nil {
		return nil, err
	}
	src, err := rootfs.NewSource(hashed)
	if err != nil {
		return nil, err
	}
	metadata := opts.Metadata
	kernel, err := repo.FindKernel(ctx, src, src.Tree)
	switch {
	case err == nil:
		metadata = repo.MarkBootable(metadata, kernel)
	case !errors.Is(err, repo.ErrNoKernel):
		return nil, err
	}
	if _, ok := metadata.Lookup("version"); !ok {
		if v := osVersion(ctx, repo.ViewTree(src, src.Tree, src.Meta)); v != "" {
			metadata = metadata.Set("version", gvariant.String(v))
		}
	}
	c := object.Commit{Subject: opts.Subject, Metadata: metadata}
	if t := opts.Time.Unix(); t > 0 {
		c.Timestamp = uint64(t)
	}
	commit, err := src.AddCommit(c)
	if err != nil {
		return nil, fmt.Errorf("committing the tree: %w", err)
	}
	return &Committed{Source: src, Commit: commit, Dropped: dropped}, nil
}

// osVersion returns the version in os-release, preferably the version of the image.
func osVersion(ctx context.Context, tree *repo.TreeView) string {
	var data []byte
	for _, name := range []string{"/usr/etc/os-release", "/usr/lib/os-release"} {
		var err error
		if data, err = tree.ReadFile(ctx, name, 1<<20); err == nil {
			break
		}
	}
	values := map[string]string{}
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		if unquoted, err := strconv.Unquote(value); err == nil {
			value = unquoted
		}
		values[key] = strings.Trim(value, `'`)
	}
	for _, key := range []string{"IMAGE_VERSION", "OSTREE_VERSION", "VERSION_ID"} {
		if v := values[key]; v != "" {
			return v
		}
	}
	return ""
}

// commitLabels are the labels that describe the commit in an image.
var commitLabels = []string{oci.LabelCommit, oci.LabelDiffID, "ostree.linux", "ostree.bootable", "rpmostree.inputhash"}

// WithCommitLabels returns a container configuration ("config" in an OCI image) whose labels about a commit are those
// in labels, and no others. It also returns the names of the labels for which the configuration had another value.
func WithCommitLabels(config json.RawMessage, labels map[string]string) (json.RawMessage, []string, error) {
	var replaced []string
	out, err := editLabels(config, func(own map[string]string) {
		for _, name := range commitLabels {
			had, was := own[name]
			want, is := labels[name]
			if delete(own, name); is {
				own[name] = want
			}
			if was && (!is || had != want) {
				replaced = append(replaced, name)
			}
		}
	})
	return out, replaced, err
}

// WithoutStaleLabels removes from a container configuration ("config" in an OCI image) the labels that would be wrong
// for another image with the same content. kept are the diff-ids of layers that stay: labels that describe a commit
// are kept if the commit's last layer is among them. Everything else is unchanged.
func WithoutStaleLabels(config json.RawMessage, kept []string) (json.RawMessage, error) {
	return editLabels(config, func(labels map[string]string) {
		delete(labels, "dev.hhd.rechunk.info")
		delete(labels, chunking.LabelRecord)
		delete(labels, chunking.LabelPackages)
		delete(labels, oci.LabelBootBytes)
		if !slices.Contains(kept, labels[oci.LabelDiffID]) {
			for _, l := range commitLabels {
				delete(labels, l)
			}
		}
	})
}

// editLabels returns a container configuration with other labels.
func editLabels(config json.RawMessage, edit func(map[string]string)) (json.RawMessage, error) {
	if len(config) == 0 || string(config) == "null" {
		config = json.RawMessage("{}")
	}
	fields, labels := map[string]json.RawMessage{}, map[string]string{}
	if err := json.Unmarshal(config, &fields); err != nil {
		return nil, err
	}
	if raw, ok := fields["Labels"]; ok && string(raw) != "null" {
		if err := json.Unmarshal(raw, &labels); err != nil {
			return nil, fmt.Errorf("labels: %w", err)
		}
	}
	edit(labels)
	delete(fields, "Labels")
	if len(labels) > 0 {
		var err error
		if fields["Labels"], err = json.Marshal(labels); err != nil {
			return nil, err
		}
	}
	return json.Marshal(fields)
}

// InheritedAnnotations returns the annotations of a manifest that stay right for another image with the same content.
// It leaves out those that describe a commit, and adds those that were asked for.
func InheritedAnnotations(old, asked map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, old)
	for _, l := range commitLabels {
		delete(out, l)
	}
	maps.Copy(out, asked)
	return out
}

// DroppedOfManifest returns the fields of a manifest that an image with the same content does not take over, although
// they are not about its layers.
func DroppedOfManifest(m *ocispec.Manifest) (dropped []string) {
	if m.ArtifactType != "" {
		dropped = append(dropped, "artifactType")
	}
	if m.Subject != nil {
		dropped = append(dropped, "subject")
	}
	for _, key := range slices.Sorted(maps.Keys(m.Config.Annotations)) {
		dropped = append(dropped, "config.annotations."+key)
	}
	return dropped
}

// layerFields are fields of configurations that older builders wrote about the layers, or about the container that
// became the last one.
var layerFields = []string{
	"id", "parent", "parent_id", "layer_id", "throwaway", "checksum", "Size", "container", "container_config",
}

// layerFieldPrefix begins the fields that BuildKit adds about layers: its cache and its build information.
const layerFieldPrefix = "moby.buildkit."

// InheritedFields returns the fields of an image's configuration that stay right for another image with the same
// content, besides those that [encapsulate.Options] have. The names of other fields are dropped.
func InheritedFields(config []byte) (fields map[string]json.RawMessage, dropped []string, err error) {
	if err := json.Unmarshal(config, &fields); err != nil {
		return nil, nil, err
	}
	for name, value := range fields {
		switch {
		case encapsulate.IsOwnField(name) || string(value) == "null":
			delete(fields, name)
		case slices.Contains(layerFields, name) || strings.HasPrefix(name, layerFieldPrefix) || !isCanonical(value):
			dropped = append(dropped, name)
			delete(fields, name)
		}
	}
	slices.Sort(dropped)
	return fields, dropped, nil
}

func isCanonical(value json.RawMessage) bool {
	_, err := canonjson.Canonicalize(value)
	return err == nil
}

// PolicyOf returns a function that computes SELinux labels from the policy in a tree. It returns nil if the tree has
// no policy, or a disabled one.
func PolicyOf(ctx context.Context, tree rootfs.Tree) (func(path string, mode uint32) (string, error), error) {
	policy, err := selinux.Load(ctx, rootfs.NewIndex(tree))
	if errors.Is(err, selinux.ErrNoPolicy) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return func(path string, mode uint32) (string, error) {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		return policy.Label(path, mode)
	}, nil
}
