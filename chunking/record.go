package chunking

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/internal/deflate"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// LabelRecord is the label of an image's configuration that holds its [Record].
const LabelRecord = "ostree-ext.plan"

// Key identifies the content of a layer: equal keys mean equal bytes of the tar stream.
type Key [16]byte

// Known is what earlier images showed about a component. Days are counted from 1970-01-01 UTC.
type Known struct {
	// Digest is the digest of the content in the newest image.
	Digest Digest
	// First is the day of the first image with the component, and Last of the first image with this content.
	First, Last int64
	// Changes is how often the content differed from the previous image.
	Changes int
	// Size is the size of the content in bytes.
	Size uint64
	// Density is the compressed size in thousandths of Size, as estimated once, or 0 if it was not estimated.
	Density int
}

// Compressed returns the estimated compressed size of the content in bytes.
func (k Known) Compressed() uint64 { return k.weight(k.Size) }

// weight returns the approximate compressed size.
func (k Known) weight(size uint64) uint64 {
	if k.Density == 0 {
		return size
	}
	return size * uint64(k.Density) / maxDensity
}

// maxDensity is the density of content that does not compress.
const maxDensity = 1000

// Record is the arrangement of an image as it is stored in the image, so that the next build can continue from it.
type Record struct {
	// Format is the format of the layers. Keys of different formats cannot be compared.
	Format string
	// Reference is the day of the newest change in the package databases of the image.
	Reference int64
	// First is the key of the layer with the commit or the directories.
	First Key
	// Layers are the layers after that one, in the order of the image.
	Layers []RecordLayer
	// At is the position in the image of the layer with the commit or the directories. The layers of a base precede it.
	At int
	// Bound is a hash over the diff-ids of the layers that the record describes; see [Record.Bind]. It is zero in images
	// that were made before this field existed.
	Bound [sha256.Size]byte
	// Components are the components by ID.
	Components map[string]Known
}

// RecordLayer is one layer in a record.
type RecordLayer struct {
	// Components are the IDs of the layer's components, sorted. It is empty if the layer was taken over from another
	// program's image and does not follow components.
	Components []string
	Key        Key
}

// ErrRecord is wrapped by errors about an invalid record.
var ErrRecord = errors.New("invalid record of a plan")

// Limits on records that are parsed.
const (
	recordVersion   = 1
	maxRecordLabel  = 1 << 20
	maxRecordJSON   = 8 << 20
	maxRecordLayers = 4096
	// plainRecord is the length up to which a record is not compressed.
	plainRecord = 4 << 10
)

// recordJSON is the form in the label. Components are listed once, and layers refer to them by number.
type recordJSON struct {
	Version    int               `json:"v"`
	Format     string            `json:"format"`
	Reference  int64             `json:"ref"`
	First      []byte            `json:"first"`
	At         int               `json:"at,omitempty"`
	Bound      []byte            `json:"diff_ids,omitempty"`
	Layers     []recordLayerJSON `json:"layers"`
	Components []recordComponent `json:"components"`
}

// recordKeys are the keys of recordJSON.
var recordKeys = jsonkeys.Schema{
	"": {"v", "format", "ref", "first", "at", "diff_ids", "layers", "components"}, ".layers[]": {"c", "k"},
}

type recordLayerJSON struct {
	Members []int  `json:"c,omitempty"`
	Key     []byte `json:"k"`
}

// recordComponent is encoded as an array: ID, digest, first day, last day, changes, size, and the density if it is
// known.
type recordComponent struct {
	id    string
	known Known
}

func (c recordComponent) MarshalJSON() ([]byte, error) {
	k := c.known
	fields := []any{c.id, k.Digest[:], k.First, k.Last, k.Changes, k.Size}
	if k.Density != 0 {
		fields = append(fields, k.Density)
	}
	return json.Marshal(fields)
}

func (c *recordComponent) UnmarshalJSON(data []byte) error {
	var digest []byte
	fields := []any{&c.id, &digest, &c.known.First, &c.known.Last, &c.known.Changes, &c.known.Size, &c.known.Density}
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	if n := len(raw); n != len(fields) && n != len(fields)-1 {
		return fmt.Errorf("a component with %d fields", n)
	}
	for i := range raw {
		if err := json.Unmarshal(raw[i], fields[i]); err != nil {
			return err
		}
	}
	if len(digest) != len(c.known.Digest) || c.id == "" || c.known.Changes < 0 || c.known.Density < 0 ||
		c.known.Density > maxDensity {
		return errors.New("an invalid component")
	}
	copy(c.known.Digest[:], digest)
	return nil
}

// Encode returns the value of the label: JSON, which is compressed and encoded in base64 if it is long. Equal records
// give equal values.
func (r *Record) Encode() (string, error) {
	doc := recordJSON{Version: recordVersion, Format: r.Format, Reference: r.Reference, First: r.First[:], At: r.At}
	if r.Bound != ([sha256.Size]byte{}) {
		doc.Bound = r.Bound[:]
	}
	number := map[string]int{}
	for id := range r.Components {
		doc.Components = append(doc.Components, recordComponent{id, r.Components[id]})
	}
	slices.SortFunc(doc.Components, func(a, b recordComponent) int { return strings.Compare(a.id, b.id) })
	for i, c := range doc.Components {
		number[c.id] = i
	}
	for _, l := range r.Layers {
		var members []int
		for _, id := range l.Components {
			n, ok := number[id]
			if !ok {
				return "", fmt.Errorf("%w: a layer has the unknown component %s", ErrRecord, id)
			}
			members = append(members, n)
		}
		doc.Layers = append(doc.Layers, recordLayerJSON{members, bytes.Clone(l.Key[:])})
	}
	data, err := json.Marshal(doc)
	if err != nil || len(data) <= plainRecord {
		return string(data), err
	}
	var b bytes.Buffer
	text := base64.NewEncoder(base64.StdEncoding, &b)
	z, err := deflate.NewWriter(text, deflate.DefaultLevel, 1)
	if err != nil {
		return "", err
	}
	_, err = z.Write(data)
	if err = errors.Join(err, z.Close(), text.Close()); err != nil {
		return "", err
	}
	return b.String(), nil
}

// ParseRecord parses the value of the label. The error wraps [ErrRecord].
func ParseRecord(label string) (*Record, error) {
	r, err := parseRecord(label)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return r, nil
}

func parseRecord(label string) (*Record, error) {
	if len(label) > maxRecordLabel {
		return nil, fmt.Errorf("the label has %d bytes", len(label))
	}
	data := []byte(label)
	if !strings.HasPrefix(label, "{") {
		z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(label)))
		if err != nil {
			return nil, err
		}
		if data, err = io.ReadAll(io.LimitReader(z, maxRecordJSON+1)); err != nil {
			return nil, err
		}
		if len(data) > maxRecordJSON {
			return nil, fmt.Errorf("more than %s", sizes.Format(maxRecordJSON))
		}
	}
	if err := jsonkeys.Check(data, recordKeys); err != nil {
		return nil, err
	}
	var doc recordJSON
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if doc.Version != recordVersion {
		return nil, fmt.Errorf("version %d is not known", doc.Version)
	}
	if len(doc.Layers) > maxRecordLayers {
		return nil, fmt.Errorf("%d layers", len(doc.Layers))
	}
	if doc.At < 0 || doc.At > maxRecordLayers || len(doc.Bound) != 0 && len(doc.Bound) != sha256.Size {
		return nil, errors.New("the position of its layers is invalid")
	}
	r := &Record{Format: doc.Format, Reference: doc.Reference, At: doc.At,
		Components: make(map[string]Known, len(doc.Components))}
	copy(r.Bound[:], doc.Bound)
	for _, c := range doc.Components {
		r.Components[c.id] = c.known
	}
	var err error
	if r.First, err = keyOf(doc.First); err != nil {
		return nil, err
	}
	used := make([]bool, len(doc.Components))
	for _, l := range doc.Layers {
		layer := RecordLayer{}
		if layer.Key, err = keyOf(l.Key); err != nil {
			return nil, err
		}
		for _, n := range l.Members {
			if n < 0 || n >= len(doc.Components) || used[n] {
				return nil, fmt.Errorf("component %d is unknown or in two layers", n)
			}
			used[n] = true
			layer.Components = append(layer.Components, doc.Components[n].id)
		}
		slices.Sort(layer.Components)
		r.Layers = append(r.Layers, layer)
	}
	return r, nil
}

// Bind sets which layers of an image the record describes: as many as the record has, from position at on. diffIDs
// are the diff-ids of all layers of the image.
func (r *Record) Bind(at int, diffIDs []string) error {
	if n := len(diffIDs) - at; at < 0 || n < 1+len(r.Layers) {
		return fmt.Errorf("%w: %d layers for the %d of the record", ErrRecord, n, 1+len(r.Layers))
	}
	r.At, r.Bound = at, hashDiffIDs(diffIDs[at:at+1+len(r.Layers)])
	return nil
}

// hashDiffIDs returns the SHA-256 of diff-ids, each followed by a newline.
func hashDiffIDs(diffIDs []string) [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.Join(diffIDs, "\n") + "\n"))
}

// Fit says whether a record describes the layers of the image in which it was found.
type Fit uint8

const (
	// Unfit means that the record describes other layers: layers were converted or replaced after the image was made.
	Unfit Fit = iota
	// Unbound means that the record does not say which layers it describes.
	Unbound
	// Fitting means that the record describes the layers from Record.At on. Layers after them were added later.
	Fitting
)

// Fit compares the record with the diff-ids of all layers of the image in which it was found.
func (r *Record) Fit(diffIDs []string) Fit {
	n := 1 + len(r.Layers)
	switch {
	case r.Bound == [sha256.Size]byte{} && n > len(diffIDs):
		return Unfit
	case r.Bound == [sha256.Size]byte{}:
		return Unbound
	case r.At+n <= len(diffIDs) && r.Bound == hashDiffIDs(diffIDs[r.At:r.At+n]):
		return Fitting
	}
	return Unfit
}

func keyOf(b []byte) (k Key, err error) {
	if len(b) != len(k) {
		return k, fmt.Errorf("a key of %d bytes", len(b))
	}
	copy(k[:], b)
	return k, nil
}

// learn returns what is known about a component after an image of the given day has this content of it.
func (k Known) learn(isKnown bool, digest Digest, size uint64, day int64) Known {
	if !isKnown {
		return Known{Digest: digest, First: day, Last: day, Size: size}
	}
	if k.Digest != digest {
		k.Changes++
		k.Digest, k.Last, k.Size = digest, max(k.Last, day), size
	}
	return k
}

// dayOf returns the day of a time, or 0 for the zero time.
func dayOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix() / (24 * 60 * 60)
}
