package object

import "fmt"

// Type is the type of an object. The numbers are libostree's.
type Type uint8

// The object types that exist on disk.
const (
	TypeFile           Type = 1 // regular file or symlink, with owner, mode and xattrs
	TypeDirTree        Type = 2 // names of a directory
	TypeDirMeta        Type = 3 // owner, mode and xattrs of a directory
	TypeCommit         Type = 4
	TypeTombstone      Type = 5 // mark of a deleted commit; named by the commit, not hashed
	TypeCommitMeta     Type = 6 // detached metadata; named by the commit, not hashed
	TypePayloadLink    Type = 7
	TypeFileXattrs     Type = 8
	TypeFileXattrsLink Type = 9
)

var typeNames = [...]string{
	TypeFile: "file", TypeDirTree: "dirtree", TypeDirMeta: "dirmeta", TypeCommit: "commit",
	TypeTombstone: "tombstone-commit", TypeCommitMeta: "commitmeta", TypePayloadLink: "payload-link",
	TypeFileXattrs: "file-xattrs", TypeFileXattrsLink: "file-xattrs-link",
}

// String returns the file name extension of the type; for files, that of the bare modes.
func (t Type) String() string {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	return fmt.Sprintf("object-type-%d", uint8(t))
}

// IsMetadata reports whether objects of the type are GVariant bytes that are stored alike in every mode.
func (t Type) IsMetadata() bool { return t >= TypeDirTree && t <= TypeCommitMeta }

// Name identifies an object.
type Name struct {
	Checksum Checksum
	Type     Type
}

// String returns "<checksum>.<type>", as libostree prints object names.
func (n Name) String() string { return n.Checksum.String() + "." + n.Type.String() }

// The limits that readers of untrusted data apply.
const (
	// MaxMetadataSize is libostree's limit on the size in bytes of a metadata object.
	MaxMetadataSize = 128 << 20
	// MaxTreeDepth bounds the nesting of directories. Exceeding it is [ErrTooDeep].
	MaxTreeDepth = 2048
	// MaxTreeEntries bounds the files and directories of one tree. A few small dirtrees can name more paths than fit in
	// any memory; no real tree comes near the limit. Exceeding it is [ErrTooMany].
	MaxTreeEntries = 10_000_000
)

// File types in the mode of file objects and dirmetas (octal, as in stat(2)).
const (
	ModeTypeMask = 0o170000
	ModeRegular  = 0o100000
	ModeDir      = 0o040000
	ModeSymlink  = 0o120000
	// ModePermMask masks the bits of a mode that are not its file type.
	ModePermMask = 0o7777
)

// Xattr is one extended attribute. Name has no trailing NUL.
type Xattr struct {
	Name  string
	Value []byte
}

// Xattrs is a list of extended attributes in the order in which they are hashed: sorted by name bytewise. Names are
// unique and not empty.
type Xattrs []Xattr

// FileHeader is the metadata of a file object.
type FileHeader struct {
	UID, GID uint32
	// Mode consists of the file type bits, of a regular file or a symlink, and the permission bits 07777. A symlink's mode
	// is 0120777.
	Mode uint32
	// Target is the symlink's target, empty for regular files.
	Target string
	Xattrs Xattrs
}

// IsSymlink reports whether the header is that of a symlink.
func (h *FileHeader) IsSymlink() bool { return h.Mode&ModeTypeMask == ModeSymlink }

// FileInfo is a file header with the length of the content in bytes, which is 0 for symlinks.
type FileInfo struct {
	FileHeader
	Size int64
}

// DirMeta is a decoded dirmeta object.
type DirMeta struct {
	UID, GID uint32
	// Mode consists of the file type bits of a directory and the permission bits 07777.
	Mode   uint32
	Xattrs Xattrs
}

// DirTree is a decoded dirtree object. Both lists are sorted by name bytewise. A name occurs only once in the two
// lists.
type DirTree struct {
	Files []FileEntry
	Dirs  []DirEntry
}

// FileEntry is a file in a directory.
type FileEntry struct {
	Name     string
	Checksum Checksum
}

// DirEntry is a subdirectory in a directory.
type DirEntry struct {
	Name string
	Tree Checksum // dirtree
	Meta Checksum // dirmeta
}
