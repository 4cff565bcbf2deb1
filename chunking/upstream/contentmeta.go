package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// ErrContentMeta is wrapped by errors about invalid content metadata.
var ErrContentMeta = errors.New("invalid content metadata")

// AnnotationComponents is the annotation of a layer that lists the names of its packages, joined by commas.
const AnnotationComponents = "ostree.components"

// PriorBins returns the bins of an image, given the annotations of its layers in the manifest's order. The first
// layer holds the commit and is skipped.
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

// ContentMeta is the file that upstream's command line takes. It says which object goes into which layer.
type ContentMeta struct {
	// Created is the image's time, or nil.
	Created *time.Time
	// Labels are labels of the image.
	Labels map[string]string
	// Mapping has a package for each layer of the file.
	Mapping Mapping
}

// contentMetaVersion is the only version of the file.
const contentMetaVersion = 1

// unpackaged is the ID of the layer with the files that belong to no package.
const unpackaged = "unpackaged"

// ParseContentMeta parses the file of upstream's command line. The error wraps [ErrContentMeta].
func ParseContentMeta(data []byte) (*ContentMeta, error) {
	var doc struct {
		Version uint32            `json:"version"`
		Created *time.Time        `json:"created"`
		Labels  map[string]string `json:"labels"`
		Layers  orderedStrings    `json:"layers"`
		Mapping orderedStrings    `json:"mapping"`
		Ordered *bool             `json:"ordered"`
	}
	if err := unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContentMeta, err)
	}
	if doc.Version != contentMetaVersion {
		return nil, fmt.Errorf("%w: unsupported metadata version: %d. Currently supported: %d",
			ErrContentMeta, doc.Version, contentMetaVersion)
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

// ParseLibraryContentMeta parses the form that upstream's library takes from rpm-ostree: packages, how often they
// change, and which are exclusive. Sizes are not set; see [Mapping.Measure].
func ParseLibraryContentMeta(data []byte) (*Mapping, error) {
	var doc struct {
		Packages []Package              `json:"components"`
		Map      orderedStrings         `json:"map"`
		Specific map[string][][2]string `json:"specific"`
	}
	if err := unmarshal(data, &doc); err != nil {
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

// unmarshal parses a file, with errors that say where the mistake is.
func unmarshal(data []byte, doc any) error {
	err := jsonplace.Unmarshal(data, doc)
	if _, ok := errors.AsType[*time.ParseError](err); ok {
		return jsonplace.At(data, jsonplace.Value(data, "created"), "created",
			"a time such as 2026-01-02T03:04:05Z is expected")
	}
	bad, ok := errors.AsType[*orderedError](err)
	if !ok {
		return err
	}
	// The decoder does not tell what it was decoding.
	for _, key := range []string{"layers", "mapping", "map"} {
		if at := jsonplace.Value(data, key); bytes.HasPrefix(data[at:], bad.data) {
			return jsonplace.At(data, at+bad.offset, key, bad.why)
		}
	}
	return err
}

// orderedError is an error at an offset of the JSON value data.
type orderedError struct {
	data   []byte
	offset int64
	why    string
}

func (e *orderedError) Error() string { return e.why }

// orderedStrings is a JSON object of strings whose order matters. A repeated key is an error, and so is a repeated
// object.
type orderedStrings []struct{ key, value string }

// UnmarshalJSON implements [json.Unmarshaler].
func (o *orderedStrings) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	var at int64
	wrong := func(format string, args ...any) error {
		return &orderedError{bytes.Clone(data), at, fmt.Sprintf(format, args...)}
	}
	if data[0] != '{' {
		return wrong("an object of strings is expected")
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if *o != nil {
		return wrong("it occurs twice")
	}
	*o = orderedStrings{}
	seen := map[string]bool{}
	for dec.More() {
		var e struct{ key, value string }
		var ok bool
		at = dec.InputOffset()
		k, err := dec.Token()
		if err != nil {
			return err
		}
		if e.key, ok = k.(string); !ok {
			return wrong("an object of strings is expected")
		}
		v, err := dec.Token()
		if err != nil {
			return err
		}
		if e.value, ok = v.(string); !ok {
			return wrong("%s: a string is expected", e.key)
		}
		if seen[e.key] {
			return wrong("%q occurs twice", e.key)
		}
		seen[e.key] = true
		*o = append(*o, e)
	}
	return nil
}
