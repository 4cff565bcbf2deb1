package rootfs

import (
	"cmp"
	"errors"
	"hash/maphash"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// ErrTooLong says that the names of a tree have more bytes than a list can hold.
var ErrTooLong = errors.New("the names of the files and directories are too long")

// Builder makes a [List].
type Builder struct {
	list   List
	dirs   map[string]uint32
	last   string // directory
	lastID uint32
	seed   maphash.Seed
	known  map[uint64]uint32 // headers by hash
	large  map[*object.FileHeader]uint32
}

// NewBuilder returns a builder with room for about n entries.
func NewBuilder(size int) *Builder { return newBuilder(size, names{}) }

func newBuilder(size int, names names) *Builder {
	b := &Builder{dirs: map[string]uint32{}, seed: maphash.MakeSeed(), known: map[uint64]uint32{},
		large: map[*object.FileHeader]uint32{}}
	b.list = List{names: names.clone(), places: make([]place, 0, size), sizes: sizes{list: make([]uint32, 0, size)}}
	return b
}

// Add adds an entry. Its Link is ignored.
func (b *Builder) Add(e Entry) error {
	name, err := b.list.names.add(e.Name)
	if err != nil {
		return err
	}
	b.add(name, &e)
	return nil
}

// add adds an entry whose name is in the table.
func (b *Builder) add(name uint32, e *Entry) { b.put(name, b.header(e.FileHeader, e.Device), e) }

// put adds an entry whose name and header are in the tables.
func (b *Builder) put(name, header uint32, e *Entry) {
	l := &b.list
	l.places = append(l.places, place{name: name, dir: b.dir(e.Dir), header: header})
	l.sizes.add(e.Size)
	if l.objects == nil && !e.Object.IsZero() {
		l.objects = make([]object.Checksum, len(l.places)-1, cap(l.places))
	}
	if l.objects != nil {
		l.objects = append(l.objects, e.Object)
	}
}

func (b *Builder) dir(p string) uint32 {
	if p == b.last {
		return b.lastID
	}
	id, ok := b.dirs[p]
	if !ok {
		id = uint32(len(b.list.dirs))
		b.list.dirs = append(b.list.dirs, p)
		b.dirs[p] = id
	}
	b.last, b.lastID = p, id
	return id
}

// header returns the index of a header in the table. A header whose hash collides with another's may be there several
// times. A large header is hashed only once: a few bytes of a hostile tree can name it a million times.
func (b *Builder) header(f *object.FileHeader, device uint64) uint32 {
	if !isLargeHeader(f) {
		return b.hashed(f, device)
	}
	id, ok := b.large[f]
	if !ok || b.list.headers[id].device != device {
		id = b.hashed(f, device)
		b.large[f] = id
	}
	return id
}

// isLargeHeader reports whether hashing a header takes long.
func isLargeHeader(f *object.FileHeader) bool {
	if len(f.Xattrs) > 16 {
		return true
	}
	size := 0
	for _, x := range f.Xattrs {
		size += len(x.Name) + len(x.Value)
	}
	return size > 1<<10
}

func (b *Builder) hashed(f *object.FileHeader, device uint64) uint32 {
	var h maphash.Hash
	h.SetSeed(b.seed)
	maphash.WriteComparable(&h, [...]uint64{uint64(f.UID)<<32 | uint64(f.GID), uint64(f.Mode), device,
		uint64(len(f.Target))})
	_, _ = h.WriteString(f.Target)
	for _, x := range f.Xattrs {
		maphash.WriteComparable(&h, [...]int{len(x.Name), len(x.Value)})
		_, _ = h.WriteString(x.Name)
		_, _ = h.Write(x.Value)
	}
	hash := h.Sum64()
	id, taken := b.known[hash]
	if taken {
		if old := &b.list.headers[id]; old.device == device && sameHeader(&old.FileHeader, f) {
			return id
		}
	}
	id = uint32(len(b.list.headers))
	b.list.headers = append(b.list.headers, header{*f, device})
	if !taken {
		b.known[hash] = id
	}
	return id
}

func sameHeader(a, b *object.FileHeader) bool {
	return a.UID == b.UID && a.GID == b.GID && a.Mode == b.Mode && a.Target == b.Target &&
		slices.EqualFunc(a.Xattrs, b.Xattrs, func(a, b object.Xattr) bool {
			return a.Name == b.Name && string(a.Value) == string(b.Value)
		})
}

// List returns the list, and for each of its entries its number in the order of adding. compare compares two added
// entries that are not directories, by their numbers; it returns 0 if they are names of one file. If compare is nil,
// every file has one name. The builder must not be used afterwards.
func (b *Builder) List(compare func(a, b int) int) (*List, []uint32) {
	order := b.sort()
	if compare == nil {
		compare = cmp.Compare[int]
	}
	b.list.link(func(i, j int) int { return compare(int(order[i]), int(order[j])) })
	return b.done(), order
}

// done returns the list, without the tables that only the builder needs.
func (b *Builder) done() *List {
	l := b.list
	return &l
}

// sort sorts the entries. Each is a file of its own.
func (b *Builder) sort() []uint32 {
	l := &b.list
	order := make([]uint32, len(l.places))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(i, j uint32) int { return l.compare(l.places[i], l.places[j]) })
	l.places, l.sizes, l.objects = reorder(l.places, order), l.sizes.reorder(order), reorder(l.objects, order)
	l.headers, l.dirs = slices.Clip(l.headers), slices.Clip(l.dirs)
	return order
}

// reorder returns a list whose element i is element order[i] of the old one.
func reorder[T any](list []T, order []uint32) []T {
	if list == nil {
		return nil
	}
	out := make([]T, len(list))
	for i, from := range order {
		out[i] = list[from]
	}
	return out
}
