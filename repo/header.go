package repo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
)

// userOnlyPerm are the permission bits that files and directories of mode bare-user-only may have.
const userOnlyPerm = 0o775

// cleanHeader brings the xattrs of a header into the form in which they are hashed.
func (t *Txn) cleanHeader(h *FileHeader) *FileHeader {
	clean := *h
	if t.repo.Config().DisableXattrs {
		clean.Xattrs = nil
	} else if h.Xattrs.check() != nil || hasEmptyXattr(h.Xattrs) {
		clean.Xattrs = NewXattrs(h.Xattrs)
	}
	return &clean
}

func hasEmptyXattr(list Xattrs) bool {
	return slices.ContainsFunc(list, func(x Xattr) bool { return len(x.Value) == 0 })
}

// checkHeader refuses what is no file object, and what the mode could not give back.
func (t *Txn) checkHeader(j *contentJob) error {
	err := checkFile(j.header, j.size)
	if err == nil {
		err = t.storable(j.header)
	}
	if err != nil && j.prescribed {
		return fmt.Errorf("object %s: %w", fileName(j.want), err)
	}
	return err
}

func checkFile(h *FileHeader, size int64) error {
	if err := h.check(); err != nil {
		return err
	}
	if size < 0 || h.IsSymlink() && size != 0 {
		return fmt.Errorf("%w: size %d", ErrNotNormal, size)
	}
	return nil
}

// storable refuses file objects that would read back as others, and so fail every check from then on.
func (t *Txn) storable(h *FileHeader) error {
	switch t.repo.mode {
	case ModeBare:
		if hasEmptyXattr(h.Xattrs) {
			return errors.New("mode bare cannot store an xattr with an empty value")
		}
		if len(h.Xattrs) > 0 && t.repo.Config().DisableXattrs {
			return errors.New("the file has xattrs, which the key core.disable-xattrs forbids")
		}
	case ModeBareUserOnly:
		return canonical(h.UID, h.GID, h.Mode, h.Xattrs)
	}
	return nil
}

// canonical refuses what mode bare-user-only does not hold.
func canonical(uid, gid, mode uint32, xattrs Xattrs) error {
	perm := uint32(userOnlyPerm)
	if mode&ModeTypeMask == ModeSymlink {
		perm = 0o777
	}
	if bad := mode &^ (ModeTypeMask | perm); bad != 0 {
		return fmt.Errorf("invalid mode %#o with bits %#o: mode bare-user-only takes no others than %#o", mode, bad, perm)
	}
	if uid != 0 || gid != 0 {
		return fmt.Errorf("owner %d:%d: mode bare-user-only takes only 0:0", uid, gid)
	}
	if len(xattrs) > 0 {
		return fmt.Errorf("xattr %s: mode bare-user-only takes none", xattrs[0].Name)
	}
	return nil
}

func canonicalDirMeta(n ObjectName, data []byte) error {
	m, err := ParseDirMeta(data)
	if err == nil {
		err = canonical(m.UID, m.GID, m.Mode, m.Xattrs)
	}
	if err != nil {
		return fmt.Errorf("object %s: %w", n, err)
	}
	return nil
}

// encodeUserMeta is the value of the xattr of mode bare-user, (uuua(ayay)). The last member of a tuple has no
// framing, so it is simply appended.
func encodeUserMeta(h *FileHeader) []byte {
	b := make([]byte, 0, ownerSize+64)
	b = binary.BigEndian.AppendUint32(b, h.UID)
	b = binary.BigEndian.AppendUint32(b, h.GID)
	b = binary.BigEndian.AppendUint32(b, h.Mode)
	return append(b, EncodeXattrs(h.Xattrs)...)
}

// parseUserMeta is the inverse of encodeUserMeta. libostree before 2025.2 stored xattrs in any order here, and
// hashed them sorted.
func parseUserMeta(data []byte) (*FileHeader, error) {
	if len(data) < ownerSize {
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
	h.Xattrs, err = storedXattrs(data[ownerSize:])
	return h, err
}

// storedXattrs reads the xattrs of an object in whatever order they are stored. All of them count for its id.
func storedXattrs(data []byte) (Xattrs, error) {
	list, err := parseXattrsLoose(data)
	if err != nil {
		return nil, err
	}
	return sortXattrs(list), nil
}

// sortXattrs brings stored xattrs into the order in which they are hashed.
func sortXattrs(list Xattrs) Xattrs {
	slices.SortStableFunc(list, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// tombstone is the content of the mark of a deleted commit.
func tombstone(c Checksum) []byte {
	return gvariant.Dict{{Key: "commit", Value: gvariant.ByteArray(append([]byte(c.String()), 0))}}.Encode()
}
