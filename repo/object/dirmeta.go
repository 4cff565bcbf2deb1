package object

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
)

// checkMode returns an error if a mode has another type than wanted, or bits that no file has.
func checkMode(mode uint32, types ...uint32) error {
	for _, t := range types {
		if mode&^ModePermMask == t {
			return nil
		}
	}
	return fmt.Errorf("%w: mode %o", ErrNotNormal, mode)
}

// EncodeDirMeta returns the bytes of a dirmeta object, of type (uuua(ayay)). If the mode is not that of a directory, or
// the xattrs are out of order, the error wraps [ErrNotNormal].
func EncodeDirMeta(m *DirMeta) ([]byte, error) {
	if err := checkMode(m.Mode, ModeDir); err != nil {
		return nil, fmt.Errorf("dirmeta: %w", err)
	}
	if err := m.Xattrs.Validate(); err != nil {
		return nil, fmt.Errorf("dirmeta: %w", err)
	}
	b := binary.BigEndian.AppendUint32(nil, m.UID)
	b = binary.BigEndian.AppendUint32(b, m.GID)
	b = binary.BigEndian.AppendUint32(b, m.Mode)
	return appendXattrs(b, m.Xattrs), nil
}

// ParseDirMeta parses a dirmeta object. If it is not in normal form, the error wraps [ErrNotNormal].
func ParseDirMeta(data []byte) (*DirMeta, error) {
	m, err := ParseDirMetaLoose(data)
	if err != nil {
		return nil, fmt.Errorf("dirmeta: %w", err)
	}
	again, err := EncodeDirMeta(m)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, fmt.Errorf("dirmeta: %w", ErrNotNormal)
	}
	return m, nil
}

// ParseDirMetaLoose parses a dirmeta object in any form. Its mode must be that of a directory.
func ParseDirMetaLoose(data []byte) (*DirMeta, error) {
	v, err := gvariant.New("(uuua(ayay))", data)
	if err != nil {
		return nil, err
	}
	m := &DirMeta{}
	for i, p := range []*uint32{&m.UID, &m.GID, &m.Mode} {
		if *p, err = bigEndian32(v, i); err != nil {
			return nil, err
		}
	}
	if m.Xattrs, err = xattrsMember(v, 3); err != nil {
		return nil, err
	}
	return m, checkMode(m.Mode, ModeDir)
}

func bigEndian32(v gvariant.Value, i int) (uint32, error) {
	m, err := v.Index(i)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(m.Data()), nil
}

func xattrsMember(v gvariant.Value, i int) (Xattrs, error) {
	m, err := v.Index(i)
	if err != nil {
		return nil, err
	}
	return parseXattrsLoose(m.Data())
}
