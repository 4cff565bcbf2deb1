package repo

import (
	"context"
	"fmt"
	"io"
)

// ObjectType says what kind of object a checksum names. The numbers are libostree's.
type ObjectType uint8

// The object types that exist on disk.
const (
	TypeFile           ObjectType = 1 // regular file or symlink, with owner, mode and xattrs
	TypeDirTree        ObjectType = 2 // names of a directory
	TypeDirMeta        ObjectType = 3 // owner, mode and xattrs of a directory
	TypeCommit         ObjectType = 4
	TypeTombstone      ObjectType = 5 // mark of a deleted commit; named by the commit, not hashed
	TypeCommitMeta     ObjectType = 6 // detached metadata; named by the commit, not hashed
	TypePayloadLink    ObjectType = 7
	TypeFileXattrs     ObjectType = 8
	TypeFileXattrsLink ObjectType = 9
)

var typeNames = [...]string{
	TypeFile: "file", TypeDirTree: "dirtree", TypeDirMeta: "dirmeta", TypeCommit: "commit",
	TypeTombstone: "tombstone-commit", TypeCommitMeta: "commitmeta", TypePayloadLink: "payload-link",
	TypeFileXattrs: "file-xattrs", TypeFileXattrsLink: "file-xattrs-link",
}

// String returns the file name extension of the type, which for files is that of the bare modes.
func (t ObjectType) String() string {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	return fmt.Sprintf("object-type-%d", uint8(t))
}

// IsMetadata reports whether objects of the type are GVariant bytes that are stored alike in every mode.
func (t ObjectType) IsMetadata() bool { return t >= TypeDirTree && t <= TypeCommitMeta }

// ObjectName identifies an object.
type ObjectName struct {
	Checksum Checksum
	Type     ObjectType
}

// String returns "<checksum>.<type>", as libostree prints object names.
func (n ObjectName) String() string { return n.Checksum.String() + "." + n.Type.String() }

// The limits that readers of untrusted data apply.
const (
	// MaxMetadataSize is libostree's limit on the size in bytes of a metadata object.
	MaxMetadataSize = 128 << 20
	// MaxTreeDepth bounds the nesting of directories.
	MaxTreeDepth = 2048
)

// File types in the mode of file objects and dirmetas (octal, as in stat(2)).
const (
	ModeTypeMask = 0o170000
	ModeRegular  = 0o100000
	ModeDir      = 0o040000
	ModeSymlink  = 0o120000
)

// Xattr is one extended attribute. Name has no trailing NUL.
type Xattr struct {
	Name  string
	Value []byte
}

// Xattrs is a list of extended attributes in the order in which it is hashed: sorted by name bytewise. Names are
// unique and non-empty.
type Xattrs []Xattr

// FileHeader is what a file object holds besides its content.
type FileHeader struct {
	UID, GID uint32
	// Mode has the file type bits, which are those of a regular file or a symlink, and the permission bits 07777.
	// A symlink's mode is 0120777.
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

// DirMeta is the content of a dirmeta object.
type DirMeta struct {
	UID, GID uint32
	// Mode has the file type bits of a directory and the permission bits 07777.
	Mode   uint32
	Xattrs Xattrs
}

// DirTree is the content of a dirtree object. Both lists are sorted by name bytewise; no name occurs twice, in
// one list or in both.
type DirTree struct {
	Files []FileEntry
	Dirs  []DirEntry
}

// FileEntry names a file object in a directory.
type FileEntry struct {
	Name     string
	Checksum Checksum
}

// DirEntry names a subdirectory.
type DirEntry struct {
	Name string
	Tree Checksum // dirtree
	Meta Checksum // dirmeta
}

// Source reads the objects that commits are made of. A [Repo] is one; so is a root filesystem that is hashed where
// it lies. Everything above this package reads through it and never asks which it is. Implementations are safe for
// concurrent use. An absent object is an error that wraps [ErrObjectNotFound].
type Source interface {
	// Metadata returns the stored bytes of a commit, dirtree or dirmeta, or the detached metadata of a commit. The
	// caller must not change them.
	Metadata(ctx context.Context, name ObjectName) ([]byte, error)
	// FileInfo returns the header and size of a file object.
	FileInfo(ctx context.Context, c Checksum) (*FileInfo, error)
	// OpenFile returns the same with the content, which is empty for symlinks. The content has exactly Size bytes;
	// a shorter or longer one is an error of Read. It is not hashed again.
	OpenFile(ctx context.Context, c Checksum) (io.ReadCloser, *FileInfo, error)
}
