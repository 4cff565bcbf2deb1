package object

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"strings"
	"unicode/utf8"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
)

// maxTargetLength is the maximum length in bytes of a symlink's target on Linux.
const maxTargetLength = 4095

// check returns an error if a header cannot be that of a file object.
func (h *FileHeader) check() error {
	if err := checkMode(h.Mode, ModeRegular, ModeSymlink); err != nil {
		return err
	}
	if h.IsSymlink() {
		switch {
		case h.Mode != ModeSymlink|0o777:
			return fmt.Errorf("%w: symlink of mode %o", ErrNotNormal, h.Mode)
		case h.Target == "" || len(h.Target) > maxTargetLength || strings.Contains(h.Target, "\x00") ||
			!utf8.ValidString(h.Target):
			return fmt.Errorf("%w: symlink target %.80q", ErrNotNormal, h.Target)
		}
	} else if h.Target != "" {
		return fmt.Errorf("%w: regular file with a symlink target", ErrNotNormal)
	}
	return h.Xattrs.Validate()
}

// Validate returns an error that wraps [ErrNotNormal] if no file object can have this header and size.
func (f *FileInfo) Validate() error {
	if err := f.check(); err != nil {
		return err
	}
	if f.Size < 0 || f.IsSymlink() && f.Size != 0 {
		return fmt.Errorf("%w: size %d", ErrNotNormal, f.Size)
	}
	return nil
}

// appendHeader appends the fields that the hashed and the archived header share. base is where the header begins.
func (h *FileHeader) appendHeader(b []byte, base int) []byte {
	for _, n := range []uint32{h.UID, h.GID, h.Mode, 0} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	b = append(append(b, h.Target...), 0)
	targetEnd := len(b) - base
	b = appendXattrs(b, h.Xattrs)
	return gvariant.AppendOffsets(b, len(b)-base, targetEnd)
}

// EncodeFileHeader returns the header that is hashed before a file's content, of type (uuuusa(ayay)). If no file can
// have the header, the error wraps [ErrNotNormal].
func EncodeFileHeader(h *FileHeader) ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("file header: %w", err)
	}
	return h.appendHeader(nil, 0), nil
}

// EncodeArchiveHeader returns the header that a .filez begins with, of type (tuuuusa(ayay)), without the frame before
// it.
func EncodeArchiveHeader(f *FileInfo) ([]byte, error) {
	if err := f.Validate(); err != nil {
		return nil, fmt.Errorf("file header: %w", err)
	}
	return f.appendHeader(binary.BigEndian.AppendUint64(nil, uint64(f.Size)), 0), nil
}

// FrameHeader returns a header with its frame, as hashed and archived files begin: four bytes with its length,
// big-endian, and four zero bytes that align it.
func FrameHeader(header []byte) []byte {
	b := make([]byte, 8, 8+len(header))
	binary.BigEndian.PutUint32(b, uint32(len(header)))
	return append(b, header...)
}

// FileHasher returns a hash to which the framed header of a file was written. After the content is written too, its sum
// is the id of the file object.
func FileHasher(h *FileHeader) (hash.Hash, error) {
	header, err := EncodeFileHeader(h)
	if err != nil {
		return nil, err
	}
	s := sha256.New()
	s.Write(FrameHeader(header))
	return s, nil
}

// ParseFileHeader parses a header of type (uuuusa(ayay)). If it is not in normal form, the error wraps [ErrNotNormal].
func ParseFileHeader(data []byte) (*FileHeader, error) {
	v, err := gvariant.New("(uuuusa(ayay))", data)
	if err != nil {
		return nil, fmt.Errorf("file header: %w", err)
	}
	h, err := parseHeaderFields(v, 0)
	if err != nil {
		return nil, fmt.Errorf("file header: %w", err)
	}
	again, err := EncodeFileHeader(h)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, fmt.Errorf("file header: %w", ErrNotNormal)
	}
	return h, nil
}

// ParseArchiveHeader parses a header of type (tuuuusa(ayay)). Old writers stored xattrs in any order; the result has
// them sorted, as they are hashed.
func ParseArchiveHeader(data []byte) (*FileInfo, error) {
	v, err := gvariant.New("(tuuuusa(ayay))", data)
	if err != nil {
		return nil, fmt.Errorf("file header: %w", err)
	}
	size, err := v.Index(0)
	if err != nil {
		return nil, fmt.Errorf("file header: %w", err)
	}
	h, err := parseHeaderFields(v, 1)
	if err != nil {
		return nil, fmt.Errorf("file header: %w", err)
	}
	h.Xattrs = sortXattrs(h.Xattrs)
	f := &FileInfo{FileHeader: *h, Size: int64(binary.BigEndian.Uint64(size.Data()))}
	if err := f.Validate(); err != nil {
		return nil, fmt.Errorf("file header: %w", err)
	}
	return f, nil
}

// parseHeaderFields reads the fields from member i on.
func parseHeaderFields(v gvariant.Value, i int) (*FileHeader, error) {
	h := &FileHeader{}
	var rdev uint32
	var err error
	for j, p := range []*uint32{&h.UID, &h.GID, &h.Mode, &rdev} {
		if *p, err = bigEndian32(v, i+j); err != nil {
			return nil, err
		}
	}
	if rdev != 0 {
		return nil, fmt.Errorf("%w: device number %d", ErrNotNormal, rdev)
	}
	target, err := v.Index(i + 4)
	if err != nil {
		return nil, err
	}
	if h.Target, err = target.Text(); err != nil {
		return nil, fmt.Errorf("symlink target: %w", err)
	}
	h.Xattrs, err = xattrsMember(v, i+5)
	return h, err
}
