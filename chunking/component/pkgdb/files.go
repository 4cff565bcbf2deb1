package pkgdb

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"slices"
)

// File is a path of a package.
type File struct {
	// Path is absolute.
	Path string
	// Ghost says that the package does not contain the file. The database only lists its path.
	Ghost bool
	// Digest is the SHA-256 of the content if the database has it, and zero otherwise.
	Digest [sha256.Size]byte
	// Size is the length of the content in bytes if the database has it.
	Size int64
}

// Files is a list of files. Each path is stored as the difference to the previous one, in about 20 bytes, since the
// databases of a large system have half a million files. The zero value is empty.
type Files struct {
	n    int
	data []byte
	last []byte // path
}

// Flags of the data that follows a path.
const (
	isGhost = 1 << iota
	hasDigest
	hasSize
)

// FilesOf returns a list of the given files.
func FilesOf(list ...File) (files Files) {
	for _, f := range list {
		files.Add(f)
	}
	return files
}

// Add appends a file.
func (l *Files) Add(f File) {
	common := 0
	for common < min(len(l.last), len(f.Path)) && l.last[common] == f.Path[common] {
		common++
	}
	var flags byte
	if f.Ghost {
		flags |= isGhost
	}
	if f.Digest != ([sha256.Size]byte{}) {
		flags |= hasDigest
	}
	if f.Size != 0 {
		flags |= hasSize
	}
	l.data = binary.AppendUvarint(append(l.data, flags), uint64(common))
	l.data = binary.AppendUvarint(l.data, uint64(len(f.Path)-common))
	l.data = append(l.data, f.Path[common:]...)
	if flags&hasDigest != 0 {
		l.data = append(l.data, f.Digest[:]...)
	}
	if flags&hasSize != 0 {
		l.data = binary.AppendUvarint(l.data, uint64(f.Size))
	}
	l.last = append(l.last[:common], f.Path[common:]...)
	l.n++
}

// Len returns the number of files.
func (l *Files) Len() int { return l.n }

// All yields the files in the order in which they were added.
func (l *Files) All() iter.Seq[File] {
	return func(yield func(File) bool) {
		var name []byte
		for data := l.data; len(data) > 0; {
			flags := data[0]
			data = data[1:]
			common, size := number(&data), number(&data)
			name = append(name[:common], data[:size]...)
			data = data[size:]
			f := File{Path: string(name), Ghost: flags&isGhost != 0}
			if flags&hasDigest != 0 {
				data = data[copy(f.Digest[:], data):]
			}
			if flags&hasSize != 0 {
				f.Size = int64(number(&data))
			}
			if !yield(f) {
				return
			}
		}
	}
}

// Equal reports whether two lists have the same files.
func (l Files) Equal(other Files) bool {
	return slices.Equal(slices.Collect(l.All()), slices.Collect(other.All()))
}

// number removes the number at the front of data and returns it.
func number(data *[]byte) uint64 {
	v, n := binary.Uvarint(*data)
	*data = (*data)[n:]
	return v
}
