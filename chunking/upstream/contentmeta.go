package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// ErrContentMeta says that content metadata are not what they should be. It is wrapped.
var ErrContentMeta = errors.New("invalid content metadata")

// AnnotationComponents is the annotation of a layer that names what is in it, joined by commas: of each [Package] the name.
const AnnotationComponents = "ostree.components"

// PriorBins reads the bins of an image from the annotations of its layers, in the manifest's order. The first layer is that of
// the commit and has none.
func PriorBins(annotations []map[string]string) ([][]string, error) {
	var bins [][]string
	for i, a := range annotations {
		if i == 0 {
			continue
		}
		names, ok := a[AnnotationComponents]
		if !ok {
			return nil, fmt.Errorf("%w: missing %s on prior build, layer %d", ErrCannotPack, AnnotationComponents, i)
		}
		bins = append(bins, strings.Split(names, ","))
	}
	return bins, nil
}

// ContentMeta is the file that upstream's command line takes: which object goes into which layer.
type ContentMeta struct {
	// Created is the image's time, unless nil.
	Created *time.Time
	// Labels of the image.
	Labels map[string]string
	// Mapping gives each layer of the file a layer of its own.
	Mapping Mapping
}

// contentMetaVersion is the one version of the file.
const contentMetaVersion = 1

// unpackaged is the ID of the layer with what belongs to no package.
const unpackaged = "unpackaged"

// ParseContentMeta reads such a file. The error wraps [ErrContentMeta].
func ParseContentMeta(data []byte) (*ContentMeta, error) {
	var doc struct {
		Version uint32            `json:"version"`
		Created *time.Time        `json:"created"`
		Labels  map[string]string `json:"labels"`
		Layers  orderedStrings    `json:"layers"`
		Mapping orderedStrings    `json:"mapping"`
		Ordered *bool             `json:"ordered"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContentMeta, err)
	}
	if doc.Version != contentMetaVersion {
		return nil, fmt.Errorf("%w: unsupported metadata version: %d. Currently supported: %d", ErrContentMeta, doc.Version, contentMetaVersion)
	}
	if doc.Ordered != nil && *doc.Ordered {
		return nil, fmt.Errorf("%w: ordered mapping not currently supported", ErrContentMeta)
	}
	m := &ContentMeta{Created: doc.Created, Labels: doc.Labels, Mapping: Mapping{MaxChunks: len(doc.Layers) + 1}}
	known := map[string]bool{}
	for _, l := range doc.Layers {
		c := Package{ID: l.key, Source: l.key, Name: l.value, Size: 1, ChangeFrequency: 1, ChangeTimeOffset: 1}
		if l.key == unpackaged {
			c.ChangeFrequency = component.AlwaysChanges
		}
		known[l.key] = true
		m.Mapping.Packages = append(m.Mapping.Packages, c)
	}
	for _, o := range doc.Mapping {
		c, err := object.ParseChecksum(o.key)
		if err != nil {
			return nil, fmt.Errorf("%w: mapping: %w", ErrContentMeta, err)
		}
		if !known[o.value] {
			return nil, fmt.Errorf("%w: %w: object %s is mapped to layer %q", ErrContentMeta, ErrUnknownPackage, o.key, o.value)
		}
		m.Mapping.Objects = append(m.Mapping.Objects, Assignment{Object: c, Package: o.value})
	}
	return m, nil
}

// ParseLibraryContentMeta reads the form that upstream's library takes from rpm-ostree: packages with what is known of their
// changes, and possibly exclusive ones. The sizes are missing; see [Mapping.Measure].
func ParseLibraryContentMeta(data []byte) (*Mapping, error) {
	var doc struct {
		Packages []Package              `json:"components"`
		Map      orderedStrings         `json:"map"`
		Specific map[string][][2]string `json:"specific"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContentMeta, err)
	}
	m := &Mapping{Packages: doc.Packages}
	for _, o := range doc.Map {
		c, err := object.ParseChecksum(o.key)
		if err != nil {
			return nil, fmt.Errorf("%w: map: %w", ErrContentMeta, err)
		}
		m.Objects = append(m.Objects, Assignment{Object: c, Package: o.value})
	}
	for id, list := range doc.Specific {
		if m.Exclusive == nil {
			m.Exclusive = map[string][]PathObject{}
		}
		for _, p := range list {
			c, err := object.ParseChecksum(p[1])
			if err != nil {
				return nil, fmt.Errorf("%w: specific: %s: %w", ErrContentMeta, p[0], err)
			}
			m.Exclusive[id] = append(m.Exclusive[id], PathObject{Path: p[0], Object: c})
		}
	}
	return m, nil
}

// orderedStrings is a JSON object of strings whose order counts. A key that comes again is an error, and so is a whole
// object that does.
type orderedStrings []struct{ key, value string }

// UnmarshalJSON implements [json.Unmarshaler].
func (o *orderedStrings) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("an object of strings is expected")
	}
	if *o != nil {
		return fmt.Errorf("an object of strings is there twice")
	}
	*o = orderedStrings{}
	seen := map[string]bool{}
	for dec.More() {
		var e struct{ key, value string }
		var ok bool
		k, err := dec.Token()
		if err != nil {
			return err
		}
		e.key, ok = k.(string)
		if !ok {
			return fmt.Errorf("an object of strings is expected")
		}
		v, err := dec.Token()
		if err != nil {
			return err
		}
		if e.value, ok = v.(string); !ok {
			return fmt.Errorf("%s: a string is expected", e.key)
		}
		if seen[e.key] {
			return fmt.Errorf("%q is there twice", e.key)
		}
		seen[e.key] = true
		*o = append(*o, e)
	}
	return nil
}
