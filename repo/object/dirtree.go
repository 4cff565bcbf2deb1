package object

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
)

// maxNameLength is the maximum length in bytes of a file name on Linux.
const maxNameLength = 255

// ValidateName returns an error that wraps [ErrInvalidName] unless name can be the name of a directory entry: valid
// UTF-8, neither empty nor "." nor "..", at most 255 bytes, without slash and NUL.
func ValidateName(name string) error {
	switch {
	case name == "", name == ".", name == "..":
		return fmt.Errorf("%w: %q", ErrInvalidName, name)
	case len(name) > maxNameLength:
		return fmt.Errorf("%w: %.80q has %d bytes, more than %d", ErrInvalidName, name, len(name), maxNameLength)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("%w: %q has a slash or NUL", ErrInvalidName, name)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %q is not UTF-8", ErrInvalidName, name)
	}
	return nil
}

// Validate returns an error if the directory cannot be written because names are invalid, out of order or repeated. The
// error wraps [ErrInvalidName] or [ErrNotNormal].
func (t *DirTree) Validate() error {
	for i, f := range t.Files {
		if err := ValidateName(f.Name); err != nil {
			return err
		}
		if i > 0 && t.Files[i-1].Name >= f.Name {
			return fmt.Errorf("%w: files %q and %q are not in order", ErrNotNormal, t.Files[i-1].Name, f.Name)
		}
	}
	j := 0
	for i, d := range t.Dirs {
		if err := ValidateName(d.Name); err != nil {
			return err
		}
		if i > 0 && t.Dirs[i-1].Name >= d.Name {
			return fmt.Errorf("%w: directories %q and %q are not in order", ErrNotNormal, t.Dirs[i-1].Name, d.Name)
		}
		for j < len(t.Files) && t.Files[j].Name < d.Name {
			j++
		}
		if j < len(t.Files) && t.Files[j].Name == d.Name {
			return fmt.Errorf("%w: %q is both a file and a directory", ErrNotNormal, d.Name)
		}
	}
	return nil
}

// Dir finds a subdirectory by name.
func (t *DirTree) Dir(name string) (DirEntry, bool) {
	i, ok := slices.BinarySearchFunc(t.Dirs, name, func(e DirEntry, n string) int { return strings.Compare(e.Name, n) })
	if !ok {
		return DirEntry{}, false
	}
	return t.Dirs[i], true
}

// File finds a file by name.
func (t *DirTree) File(name string) (FileEntry, bool) {
	i, ok := slices.BinarySearchFunc(t.Files, name, func(e FileEntry, n string) int { return strings.Compare(e.Name, n) })
	if !ok {
		return FileEntry{}, false
	}
	return t.Files[i], true
}

// EncodeDirTree returns the bytes of a dirtree object, of type (a(say)a(sayay)). If names are invalid or out of order,
// the error wraps [ErrInvalidName] or [ErrNotNormal].
func EncodeDirTree(t *DirTree) ([]byte, error) {
	if err := t.Validate(); err != nil {
		return nil, fmt.Errorf("dirtree: %w", err)
	}
	size := 0
	for _, f := range t.Files {
		size += len(f.Name) + 1 + 32 + 6
	}
	for _, d := range t.Dirs {
		size += len(d.Name) + 1 + 64 + 8
	}
	b := make([]byte, 0, size+16)

	ends := make([]int, 0, len(t.Files))
	for _, f := range t.Files {
		start := len(b)
		b = append(append(b, f.Name...), 0)
		nameEnd := len(b) - start
		b = append(b, f.Checksum[:]...)
		b = gvariant.AppendOffsets(b, len(b)-start, nameEnd)
		ends = append(ends, len(b))
	}
	if len(ends) > 0 {
		b = gvariant.AppendOffsets(b, len(b), ends...)
	}
	filesEnd := len(b)

	ends = ends[:0]
	for _, d := range t.Dirs {
		start := len(b)
		b = append(append(b, d.Name...), 0)
		nameEnd := len(b) - start
		b = append(b, d.Tree[:]...)
		b = gvariant.AppendOffsets(append(b, d.Meta[:]...), nameEnd+64, nameEnd+32, nameEnd)
		ends = append(ends, len(b)-filesEnd)
	}
	if len(ends) > 0 {
		b = gvariant.AppendOffsets(b, len(b)-filesEnd, ends...)
	}
	return gvariant.AppendOffsets(b, len(b), filesEnd), nil
}

// ParseDirTree parses a dirtree object. It must be in normal form and valid as in [DirTree.Validate]; otherwise the
// error wraps [ErrInvalidName] or [ErrNotNormal].
func ParseDirTree(data []byte) (*DirTree, error) {
	t, err := ParseDirTreeLoose(data)
	if err != nil {
		return nil, fmt.Errorf("dirtree: %w", err)
	}
	again, err := EncodeDirTree(t)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, fmt.Errorf("dirtree: %w", ErrNotNormal)
	}
	return t, nil
}

// ParseDirTreeLoose parses a dirtree object in any form, as libostree does. It does not check the names; see
// [DirTree.Validate].
func ParseDirTreeLoose(data []byte) (*DirTree, error) {
	v, err := gvariant.New("(a(say)a(sayay))", data)
	if err != nil {
		return nil, err
	}
	files, err := v.Index(0)
	if err != nil {
		return nil, err
	}
	t := &DirTree{}
	if n := files.Len(); n > 0 {
		t.Files = make([]FileEntry, 0, n)
	}
	for e, err := range files.Elements() {
		if err != nil {
			return nil, err
		}
		var f FileEntry
		if f.Name, f.Checksum, err = namedChecksum(e); err != nil {
			return nil, err
		}
		t.Files = append(t.Files, f)
	}
	dirs, err := v.Index(1)
	if err != nil {
		return nil, err
	}
	for e, err := range dirs.Elements() {
		if err != nil {
			return nil, err
		}
		var d DirEntry
		if d.Name, d.Tree, err = namedChecksum(e); err != nil {
			return nil, err
		}
		if d.Meta, err = checksumMember(e, 2); err != nil {
			return nil, fmt.Errorf("%q: %w", d.Name, err)
		}
		t.Dirs = append(t.Dirs, d)
	}
	return t, nil
}

// namedChecksum reads the name and the first checksum of an entry.
func namedChecksum(e gvariant.Value) (string, Checksum, error) {
	m, err := e.Index(0)
	if err != nil {
		return "", Checksum{}, err
	}
	name, err := m.Text()
	if err != nil {
		return "", Checksum{}, fmt.Errorf("name: %w", err)
	}
	c, err := checksumMember(e, 1)
	if err != nil {
		return "", Checksum{}, fmt.Errorf("%q: %w", name, err)
	}
	return name, c, nil
}

func checksumMember(v gvariant.Value, i int) (Checksum, error) {
	b, err := byteMember(v, i)
	if err != nil {
		return Checksum{}, err
	}
	return ChecksumFromBytes(b)
}
