package flatten

import (
	"context"
	"fmt"
	"io"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Scanner checks the layers of an image without keeping the contents of their files.
type Scanner struct{ budget *budget }

// NewScanner returns a scanner for one image. It may scan several layers at the same time.
func NewScanner() *Scanner { return &Scanner{budget: newBudget(0)} }

// Layer is a layer that was scanned.
type Layer struct{ entries []entry }

// Scan reads the decompressed stream of a layer up to the end of the archive. It returns an error for everything that
// [Open] would refuse.
func (s *Scanner) Scan(ctx context.Context, r io.Reader) (*Layer, error) {
	list, err := (&spool{budget: s.budget}).read(ctx, r)
	if err != nil {
		return nil, err
	}
	return &Layer{entries: list}, nil
}

// Special returns the path of an entry that is a device or a FIFO, or "".
func (l *Layer) Special() string {
	for _, e := range l.entries {
		if e.File == nil {
			continue
		}
		switch e.File.Mode & object.ModeTypeMask {
		case object.ModeRegular, object.ModeDir, object.ModeSymlink:
		default:
			return e.Path
		}
	}
	return ""
}

// Stack applies layers in order, the lowest first, as unpacking the image does. If that fails, the error names the
// layer by its number, counted from 1.
func (s *Scanner) Stack(ctx context.Context, layers []*Layer) error {
	tree, err := newTree(s.budget)
	if err != nil {
		return err
	}
	for i, l := range layers {
		if err := tree.Apply(ctx, l.entries); err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return nil
}
