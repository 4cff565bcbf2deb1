package object

import (
	"encoding/binary"
	"fmt"
)

// userMetaOwner is the size in bytes of uid, gid and mode, which precede the xattrs.
const userMetaOwner = 12

// EncodeUserMeta returns the value of the xattr in which repositories of mode bare-user keep a header, of type
// (uuua(ayay)). The last member of a tuple has no framing offset, so it is simply appended.
func EncodeUserMeta(h *FileHeader) []byte {
	b := make([]byte, 0, userMetaOwner+64)
	b = binary.BigEndian.AppendUint32(b, h.UID)
	b = binary.BigEndian.AppendUint32(b, h.GID)
	b = binary.BigEndian.AppendUint32(b, h.Mode)
	return append(b, EncodeXattrs(h.Xattrs)...)
}

// ParseUserMeta is the inverse of [EncodeUserMeta]. Libostree before 2025.2 stored xattrs in any order here, and hashed
// them sorted. The error wraps [ErrCorrupt], or is about the xattrs.
func ParseUserMeta(data []byte) (*FileHeader, error) {
	if len(data) < userMetaOwner {
		return nil, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(data))
	}
	h := &FileHeader{
		UID:  binary.BigEndian.Uint32(data),
		GID:  binary.BigEndian.Uint32(data[4:]),
		Mode: binary.BigEndian.Uint32(data[8:]),
	}
	if typ := h.Mode & ModeTypeMask; typ != ModeRegular && typ != ModeSymlink {
		return nil, fmt.Errorf("%w: mode %#o is neither that of a regular file nor of a symlink", ErrCorrupt, h.Mode)
	}
	var err error
	h.Xattrs, err = ParseXattrsLoose(data[userMetaOwner:])
	return h, err
}
