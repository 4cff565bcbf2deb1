package rootfs

import (
	"cmp"
	"iter"
	"slices"
	"sort"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Entry is one path of a tree.
type Entry struct {
	// Dir is the path of the directory that the entry is in, absolute and clean, and Name its name there. For the root
	// they are "/" and "".
	Dir, Name string
	// FileHeader has the owner, type, permissions, symlink target and xattrs, also for directories and special files.
	// Entries share it, so it must not be changed.
	*object.FileHeader
	// Size is the length of a regular file's content in bytes, and 0 for everything else.
	Size int64
	// Link is the index of the first entry that is the same file under another name (a hard link, or the same object of
	// a commit), or the entry's own.
	Link int
	// Device is the device number of a block or character device.
	Device uint64
	// Object is the checksum of the file object if the tree knows it, and zero otherwise.
	Object object.Checksum
}

// Path returns the path, absolute and clean; that of the root is "/".
func (e Entry) Path() string {
	if e.Dir == "/" {
		return "/" + e.Name
	}
	return e.Dir + "/" + e.Name
}

// AppendPath appends the path to b.
func (e Entry) AppendPath(b []byte) []byte {
	if e.Dir != "/" {
		b = append(b, e.Dir...)
	}
	return append(append(b, '/'), e.Name...)
}

// IsDir reports whether the entry is a directory.
func (e Entry) IsDir() bool { return e.Mode&object.ModeTypeMask == object.ModeDir }

// IsRegular reports whether the entry is a regular file.
func (e Entry) IsRegular() bool { return e.Mode&object.ModeTypeMask == object.ModeRegular }

// Split splits an absolute, clean path into directory and name as in [Entry].
func Split(p string) (dir, name string) {
	i := strings.LastIndexByte(p, '/')
	if i <= 0 {
		return "/", p[i+1:]
	}
	return p[:i], p[i+1:]
}

// List is an immutable list of entries, sorted by path bytewise: the root is first and each directory precedes its
// content. A tree may have a million entries and several lists. A list takes about 40 bytes for an entry, and 32 more
// if it has objects. Lists of one tree share what they can.
type List struct {
	names   names
	dirs    []string
	headers []header
	places  []place
	sizes   sizes
	links   links
	objects []object.Checksum // nil if none is known
}

// place says where the parts of an entry are in the tables of a list.
type place struct{ name, dir, header uint32 }

// header is the part of an entry that many entries usually share.
type header struct {
	object.FileHeader
	device uint64
}

// Len returns the number of entries.
func (l *List) Len() int { return len(l.places) }

// At returns the entry at an index.
func (l *List) At(i int) Entry {
	p := l.places[i]
	h := &l.headers[p.header]
	return Entry{
		Dir: l.dirs[p.dir], Name: l.names.at(p.name), FileHeader: &h.FileHeader, Size: l.sizes.at(i), Link: l.links.of(i),
		Device: h.device, Object: l.Object(i),
	}
}

// Object returns the object of the entry at an index, or zero if it is not known.
func (l *List) Object(i int) (c object.Checksum) {
	if l.objects != nil {
		c = l.objects[i]
	}
	return c
}

// All yields the entries with their indexes.
func (l *List) All() iter.Seq2[int, Entry] {
	return func(yield func(int, Entry) bool) {
		for i := range l.places {
			if !yield(i, l.At(i)) {
				return
			}
		}
	}
}

// WithHeaders returns the list with the headers that change returns. An entry whose header changed loses its object.
func (l *List) WithHeaders(change func(*object.FileHeader) *object.FileHeader) *List {
	out := *l
	out.headers = slices.Clone(l.headers)
	changed := make([]bool, len(l.headers))
	for i := range out.headers {
		if h := change(&l.headers[i].FileHeader); h != &l.headers[i].FileHeader {
			out.headers[i].FileHeader, changed[i] = *h, true
		}
	}
	return out.WithoutObjects(func(i int) bool { return changed[l.places[i].header] })
}

// WithoutObjects returns the list without the objects of some entries, by index.
func (l *List) WithoutObjects(of func(i int) bool) *List {
	out := *l
	if out.objects == nil {
		return &out
	}
	out.objects = slices.Clone(l.objects)
	for i := range out.objects {
		if of(i) {
			out.objects[i] = object.Checksum{}
		}
	}
	return &out
}

// withObjects returns the list with its own table of objects.
func (l *List) withObjects() *List {
	out := *l
	if out.objects = slices.Clone(l.objects); out.objects == nil {
		out.objects = make([]object.Checksum, len(l.places))
	}
	return &out
}

// linkedByObject returns the list with entries of the same object as links of one file.
func (l *List) linkedByObject() *List {
	out := *l
	out.link(func(a, b int) int { return out.objects[a].Compare(out.objects[b]) })
	return &out
}

func (l *List) isDir(i int) bool {
	return l.headers[l.places[i].header].Mode&object.ModeTypeMask == object.ModeDir
}

// isBelow reports whether an entry is below a directory. The directory's path has no trailing slash.
func (l *List) isBelow(i int, dir string) bool {
	in := l.dirs[l.places[i].dir]
	return strings.HasPrefix(in, dir) && (len(in) == len(dir) || in[len(dir)] == '/' || dir == "")
}

// behind returns the first index after i whose entry is not below a directory. The entry at i is.
func (l *List) behind(i int, dir string) int {
	step := 1
	for i+step < l.Len() && l.isBelow(i+step, dir) {
		step *= 2
	}
	// The end lies within the last step.
	from := i + step/2
	return from + sort.Search(min(i+step, l.Len())-from, func(n int) bool { return !l.isBelow(from+n, dir) })
}

// find returns the index at which a path is or would be.
func (l *List) find(p string) (int, bool) {
	return slices.BinarySearchFunc(l.places, p, func(at place, p string) int {
		return -comparePath(p, l.dirs[at.dir], l.names.at(at.name))
	})
}

// comparePath compares a path with that of a name in a directory.
func comparePath(p, dir, name string) int {
	if dir == "/" {
		dir = ""
	}
	n := min(len(p), len(dir))
	if c := strings.Compare(p[:n], dir[:n]); c != 0 {
		return c
	}
	if n == len(p) {
		return -1
	}
	if p[n] != '/' {
		return cmp.Compare(p[n], '/')
	}
	return strings.Compare(p[n+1:], name)
}

// compare compares the paths of two entries.
func (l *List) compare(a, b place) int {
	if a.dir == b.dir {
		return strings.Compare(l.names.at(a.name), l.names.at(b.name))
	}
	da, db := l.dirs[a.dir], l.dirs[b.dir]
	if len(da) > len(db) {
		return -l.compare(b, a)
	}
	if da == "/" {
		da = ""
	}
	n := len(da)
	if c := strings.Compare(da, db[:n]); c != 0 {
		return c
	}
	// Compare the rest of the longer path with the last element of the shorter one.
	if db[n] != '/' {
		return cmp.Compare('/', db[n])
	}
	return comparePath(l.names.at(a.name), db[n+1:], l.names.at(b.name))
}
