package flatten

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
)

// Scanner checks the layers of an image without keeping the contents of their files.
type Scanner struct{ budget *budget }

// NewScanner returns a scanner for one image. It may scan several layers at the same time.
func NewScanner() *Scanner { return &Scanner{budget: newBudget(0)} }

// Layer is a layer that was scanned.
type Layer struct{ entries []layerEntry }

// Scan reads the decompressed stream of a layer to the end of its archive. What [Open] would refuse of it is an error.
func (s *Scanner) Scan(ctx context.Context, r io.Reader) (*Layer, error) {
	reader := &layerReader{spool: io.Discard, budget: s.budget}
	if err := reader.read(&layerStream{ctx: ctx, r: r}); err != nil {
		return nil, err
	}
	return &Layer{entries: reader.list}, nil
}

// Special returns the path of an entry that is a device or a FIFO, or "".
func (l *Layer) Special() string {
	for _, e := range l.entries {
		switch e.typ {
		case tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
			return e.path
		}
	}
	return ""
}

// Stack puts layers on top of each other, the lowest first, as whoever unpacks the image does. What cannot be unpacked is an
// error that names the layer by its number from one on.
func (s *Scanner) Stack(layers []*Layer) error {
	m := newMerge(s.budget)
	for i, l := range layers {
		if err := m.apply(l.entries); err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return nil
}
