package flatten

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// ErrTooLarge is wrapped by errors about an image that exceeds a limit.
var ErrTooLarge = errors.New("the image is too large")

// DefaultMaxSize is the default of Options.MaxSize in bytes.
const DefaultMaxSize = 256 << 30

// Limits in bytes.
const (
	maxMemory = 2 << 30  // memory for the headers of all entries
	perEntry  = 512      // memory for one entry, besides its strings
	maxRest   = 64 << 20 // data after the end of an archive
)

// budget counts what the layers of an image use together. It is safe for concurrent use.
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

// entry counts an entry with n bytes of strings.
func (b *budget) entry(n int) error {
	if b.memory.Add(int64(n)+perEntry) > maxMemory {
		return fmt.Errorf("%w: its headers need more than %s of memory", ErrTooLarge, sizes.Format(maxMemory))
	}
	return nil
}

// content counts the bytes of a file.
func (b *budget) content(n int64) error {
	// The sum cannot overflow, because exceeding the limit ends the reading.
	if n > b.maxBytes || b.bytes.Add(n) > b.maxBytes {
		return fmt.Errorf("%w: its files have more than %s", ErrTooLarge, sizes.Format(b.maxBytes))
	}
	return nil
}
