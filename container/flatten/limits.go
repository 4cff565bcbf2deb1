package flatten

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// ErrTooLarge says that an image has more than its reader is willing to hold.
var ErrTooLarge = errors.New("the image is too large")

// DefaultMaxSize is how many bytes all files of an image may have together if nothing else is said.
const DefaultMaxSize = 256 << 30

// Limits on what is held in memory, and on what is read for nothing.
const (
	maxMemory = 2 << 30 // for all headers
	perEntry  = 512     // that each takes, besides its strings
	maxRest   = 64 << 20
)

// budget is what the layers of an image may take together. It is safe for concurrent use.
type budget struct {
	memory, bytes atomic.Int64
	maxBytes      int64
}

func newBudget(maxBytes int64) *budget {
	if maxBytes <= 0 || maxBytes > 1<<56 {
		maxBytes = DefaultMaxSize
	}
	return &budget{maxBytes: maxBytes}
}

// entry counts an entry with so many bytes of strings.
func (b *budget) entry(n int) error {
	if b.memory.Add(int64(n)+perEntry) > maxMemory {
		return fmt.Errorf("%w: its headers need more than %d MiB of memory", ErrTooLarge, maxMemory>>20)
	}
	return nil
}

// content counts the bytes of a file.
func (b *budget) content(n int64) error {
	// The sum cannot overflow: what is too much ends the reading.
	if n > b.maxBytes || b.bytes.Add(n) > b.maxBytes {
		return fmt.Errorf("%w: its files have more than %d bytes", ErrTooLarge, b.maxBytes)
	}
	return nil
}
