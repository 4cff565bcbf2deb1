package object

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// Checksum is a SHA-256 digest: the id of an object. The zero value stands for "none", as the empty parent of a
// commit does in the serialised form.
type Checksum [32]byte

// ParseChecksum parses the 64 lower-case hexadecimal digits of a checksum in paths and refs. No other spelling is
// accepted, so equal checksums have equal spellings.
func ParseChecksum(s string) (Checksum, error) {
	var c Checksum
	if len(s) != hex.EncodedLen(len(c)) {
		return Checksum{}, fmt.Errorf("%w: %.80q has %d characters, not 64", ErrInvalidChecksum, s, len(s))
	}
	for i := range len(s) {
		if d := s[i]; (d < '0' || d > '9') && (d < 'a' || d > 'f') {
			return Checksum{}, fmt.Errorf("%w: %q", ErrInvalidChecksum, s)
		}
	}
	if _, err := hex.Decode(c[:], []byte(s)); err != nil {
		return Checksum{}, fmt.Errorf("%w: %q: %w", ErrInvalidChecksum, s, err)
	}
	return c, nil
}

// ChecksumFromBytes converts the 32 raw bytes of a checksum in objects.
func ChecksumFromBytes(b []byte) (Checksum, error) {
	var c Checksum
	if len(b) != len(c) {
		return Checksum{}, fmt.Errorf("%w: %d bytes, not %d", ErrInvalidChecksum, len(b), len(c))
	}
	return Checksum(b), nil
}

// String returns the 64 lower-case hexadecimal digits.
func (c Checksum) String() string { return hex.EncodeToString(c[:]) }

// IsZero reports whether c stands for "none".
func (c Checksum) IsZero() bool { return c == Checksum{} }

// Compare orders checksums in the order of their spellings.
func (c Checksum) Compare(o Checksum) int { return bytes.Compare(c[:], o[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (c Checksum) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *Checksum) UnmarshalText(b []byte) (err error) {
	*c, err = ParseChecksum(string(b))
	return err
}
