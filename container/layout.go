package container

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Labels that encapsulation sets.
const (
	labelCommit = "ostree.commit"
	labelDiffID = "ostree.final-diffid"
)

// layer is a layer with what the configuration says of it.
type layer struct {
	descriptor ocispec.Descriptor
	diffID     digest.Digest
	index      int
	name       string
	// foreign says that any program may have made it, whose gzip streams have several members.
	foreign bool
}

// layout is the order of layers in an image: the commit layer, those with chunks of its content, and others that were
// put on top.
type layout struct {
	commit  layer
	chunks  []layer
	derived int
}

// imageConfig is what is read of a configuration.
type imageConfig struct {
	Config struct {
		Labels map[string]string `json:"Labels"`
	} `json:"config"`
	RootFS struct {
		DiffIDs []digest.Digest `json:"diff_ids"`
	} `json:"rootfs"`
	History []struct {
		CreatedBy string `json:"created_by"`
	} `json:"history"`
}

func parseConfig(data []byte) (*imageConfig, error) {
	var c imageConfig
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("image configuration: %w", err)
	}
	return &c, nil
}

// layoutOf tells the layers apart. The label may name a diff-id that several layers share; the first one counts, as for
// every other reader.
func layoutOf(m *ocispec.Manifest, c *imageConfig) (*layout, error) {
	if len(m.Layers) == 0 {
		return nil, notEncapsulated("No layers in manifest")
	}
	label, ok := c.Config.Labels[labelDiffID]
	if !ok {
		return nil, notEncapsulated("No %s label found, not an ostree encapsulated container", labelDiffID)
	}
	last := -1
	for i, id := range c.RootFS.DiffIDs {
		if string(id) == label {
			last = i
			break
		}
	}
	if last < 0 {
		return nil, notEncapsulated("Missing %s %.80s", labelDiffID, label)
	}
	if last >= len(m.Layers) {
		return nil, notEncapsulated("diffid position %d exceeds layer count %d", last, len(m.Layers))
	}
	return split(m, c, last)
}

func split(m *ocispec.Manifest, c *imageConfig, last int) (*layout, error) {
	target := m.Layers[last]
	l := &layout{}
	found := false
	for i, d := range m.Layers {
		if found && sameDescriptor(d, target) {
			return nil, notEncapsulated("Multiple entries for %s", d.Digest)
		}
		if found {
			l.derived++
			continue
		}
		found = sameDescriptor(d, target)
		// A chunk that equals the last one stands before it: what follows would be taken for foreign layers.
		entry := layer{descriptor: d, diffID: c.RootFS.DiffIDs[i], index: i, name: d.Digest.String()}
		if i < len(c.History) && c.History[i].CreatedBy != "" {
			entry.name = c.History[i].CreatedBy
		}
		if i == 0 {
			l.commit = entry
		} else {
			l.chunks = append(l.chunks, entry)
		}
	}
	return l, nil
}

func sameDescriptor(a, b ocispec.Descriptor) bool {
	return a.Digest == b.Digest && a.Size == b.Size && a.MediaType == b.MediaType && maps.Equal(a.Annotations, b.Annotations)
}
