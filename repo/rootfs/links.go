package rootfs

import (
	"cmp"
	"slices"
)

// links says which entries are further names of files. It stores only those, since they are few among a million
// entries.
type links struct {
	bits  []uint64 // one bit for each entry: whether it is in names
	names []linkName
}

// linkName is a further name of a file.
type linkName struct{ entry, first uint32 }

// of returns the first entry of a file.
func (l *links) of(i int) int {
	if word := i / 64; word >= len(l.bits) || l.bits[word]>>(i%64)&1 == 0 {
		return i
	}
	n, _ := slices.BinarySearchFunc(l.names, uint32(i), func(a linkName, i uint32) int { return cmp.Compare(a.entry, i) })
	return int(l.names[n].first)
}

// newLinks makes a table for n entries.
func newLinks(size int, names []linkName) links {
	l := links{names: slices.Clip(names)}
	if len(names) == 0 {
		return l
	}
	slices.SortFunc(names, func(a, b linkName) int { return cmp.Compare(a.entry, b.entry) })
	l.bits = make([]uint64, (size+63)/64)
	for _, n := range names {
		l.bits[n.entry/64] |= 1 << (n.entry % 64)
	}
	return l
}

// link makes entries that are one file links of the first of them. compare compares entries by index and returns 0 if
// they are one file. link returns the indexes of all files; those of one file are adjacent and ascending. A map of a
// million files would be larger.
func (l *List) link(compare func(a, b int) int) []uint32 {
	var files []uint32
	for i := range l.places {
		if !l.isDir(i) {
			files = append(files, uint32(i))
		}
	}
	slices.SortFunc(files, func(a, b uint32) int { return cmp.Or(compare(int(a), int(b)), cmp.Compare(a, b)) })
	var names []linkName
	for n, first := 1, 0; n < len(files); n++ {
		if compare(int(files[first]), int(files[n])) == 0 {
			names = append(names, linkName{files[n], files[first]})
		} else {
			first = n
		}
	}
	l.links = newLinks(len(l.places), names)
	return files
}
