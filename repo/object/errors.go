package object

import (
	"errors"
	"fmt"
)

// Errors that callers branch on. They are returned wrapped, with what was asked for.
var (
	// ErrInvalidChecksum says that a checksum is not 64 lower-case hexadecimal digits, or not 32 bytes.
	ErrInvalidChecksum = errors.New("invalid checksum")
	// ErrInvalidName says that a name is not valid in a directory.
	ErrInvalidName = errors.New("invalid name")
	// ErrNotNormal says that an object is not in normal form, the one form in which it may be written.
	ErrNotNormal = errors.New("not a valid object")
	// ErrCorrupt says that bytes do not match their name or are malformed. See also [CorruptError].
	ErrCorrupt = errors.New("corrupt")
	// ErrTooDeep says that directories nest deeper than [MaxTreeDepth].
	ErrTooDeep = fmt.Errorf("more than %d directories inside each other", MaxTreeDepth)
	// ErrTooMany says that a tree has more than [MaxTreeEntries] files and directories.
	ErrTooMany = fmt.Errorf("more than %d files and directories", MaxTreeEntries)
)

// CorruptError says that the bytes of an object hash to another id than its name. It wraps [ErrCorrupt].
type CorruptError struct {
	Name   Name
	Actual Checksum
}

// Error implements error in libostree's words.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupted %s object; checksum expected='%s' actual='%s'", e.Name.Type, e.Name.Checksum, e.Actual)
}

// Unwrap returns [ErrCorrupt].
func (e *CorruptError) Unwrap() error { return ErrCorrupt }
