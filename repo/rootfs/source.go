package rootfs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"slices"
	"sync"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// ErrNoObject says that an entry is neither a file nor a symlink nor a directory, and so cannot be in a commit.
var ErrNoObject = errors.New("neither a file nor a symlink nor a directory")

// Hashed is a tree in which every entry but directories has an object.
type Hashed struct {
	Tree
	entries *List
}

// Entries implements [Tree].
func (h *Hashed) Entries() *List { return h.entries }

// Hash reads the files of a tree, several at a time, and gives every entry but directories the checksum of its file
// object. Files that already have one are not read. Special files get a checksum that identifies them.
func Hash(ctx context.Context, tree Tree) (*Hashed, error) {
	h := &Hashed{Tree: tree, entries: tree.Entries().withObjects()}
	objects := h.entries.objects
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	buffers := sync.Pool{New: func() any { return new([hashBuffer]byte) }}
	for i, e := range tree.Entries().All() {
		if e.IsDir() || e.Link != i || !e.Object.IsZero() {
			continue
		}
		if !e.IsRegular() {
			var err error
			if objects[i], err = HeaderObject(e); err != nil {
				return nil, errors.Join(err, g.Wait())
			}
			continue
		}
		g.Go(func() (err error) {
			buf := buffers.Get().(*[hashBuffer]byte)
			defer buffers.Put(buf)
			objects[i], err = hashContent(ctx, tree, i, buf[:])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("hashing the tree: %w", err)
	}
	for _, n := range h.entries.links.names {
		objects[n.entry] = objects[n.first]
	}
	return h, nil
}

const hashBuffer = 128 << 10

// HeaderObject returns the object of an entry without content: that of a symlink, or a checksum that identifies what is
// not an object, a special file or a symlink whose target is not UTF-8.
func HeaderObject(e Entry) (c object.Checksum, err error) {
	s := sha256.New()
	switch {
	case e.IsSymlink() && !utf8.ValidString(e.Target):
		// No commit holds it, and ordinary images do.
		fmt.Fprintf(s, "symlink %d %d %q", e.UID, e.GID, e.Target)
	case e.IsSymlink():
		s, err := object.FileHasher(e.FileHeader)
		if err != nil {
			return c, fmt.Errorf("%s: %w", e.Path(), err)
		}
		s.Sum(c[:0])
		return c, nil
	default:
		fmt.Fprintf(s, "special %o %d %d %d", e.Mode, e.UID, e.GID, e.Device)
	}
	s.Write(object.EncodeXattrs(e.Xattrs))
	s.Sum(c[:0])
	return c, nil
}

func hashContent(ctx context.Context, tree Tree, i int, buf []byte) (c object.Checksum, err error) {
	e := tree.Entries().At(i)
	s, err := object.FileHasher(e.FileHeader)
	if err != nil {
		return c, fmt.Errorf("%s: %w", e.Path(), err)
	}
	r, err := tree.Open(ctx, i)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		n, err := r.Read(buf)
		s.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return c, err
		}
	}
	s.Sum(c[:0])
	return c, nil
}

// Source is the [repo.Source] of the commit of a tree. File objects are read from the tree and hashed again: if content
// has changed, Read returns an error. Dirtrees are made on demand, since those of a large tree are large.
type Source struct {
	// Tree is the root's dirtree, Meta its dirmeta.
	Tree, Meta object.Checksum

	tree  *Hashed
	x     *Index
	files []uint32    // entries with an object, sorted by object, each object once
	dirs  []directory // in the order of entries
	trees []uint32    // indexes of dirs, sorted by dirtree, each dirtree once

	once   sync.Once // for linked
	linked *List     // as in the commit: entries of one object are links of one file
	mu     sync.RWMutex
	meta   map[object.Name][]byte // dirmetas and commits
}

var _ repo.Source = (*Source)(nil)

// directory is a directory of a tree and its objects.
type directory struct {
	entry      uint32
	tree, meta object.Checksum
}

// NewSource makes the dirtrees and dirmetas of a tree. If the tree has an entry that cannot be in a commit, the error
// wraps [ErrNoObject].
func NewSource(tree *Hashed) (*Source, error) {
	s := &Source{tree: tree, x: NewIndex(tree), meta: map[object.Name][]byte{}}
	for i, e := range tree.entries.All() {
		switch {
		case e.IsDir():
			s.dirs = append(s.dirs, directory{entry: uint32(i)})
		case e.IsRegular(), e.IsSymlink():
			s.files = append(s.files, uint32(i))
		default:
			return nil, fmt.Errorf("%s: %w", e.Path(), ErrNoObject)
		}
	}
	if len(s.dirs) == 0 || s.dirs[0].entry != 0 {
		return nil, errors.New("the tree has no root")
	}
	children := 0
	// Go backwards, since a directory precedes its content.
	for i := range slices.Backward(s.dirs) {
		n, err := s.makeDirectory(&s.dirs[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tree.entries.At(int(s.dirs[i].entry)).Path(), err)
		}
		children += n
	}
	if lost := tree.entries.Len() - 1 - children; lost > 0 {
		return nil, fmt.Errorf("%d files are in no directory of the tree", lost)
	}
	s.Tree, s.Meta = s.dirs[0].tree, s.dirs[0].meta
	s.files = sortBy(s.files, s.object)
	for i := range s.dirs {
		s.trees = append(s.trees, uint32(i))
	}
	s.trees = sortBy(s.trees, s.dirTree)
	return s, nil
}

func (s *Source) object(entry uint32) object.Checksum { return s.tree.entries.objects[entry] }
func (s *Source) dirTree(dir uint32) object.Checksum  { return s.dirs[dir].tree }

// sortBy sorts a list by sum, and keeps the first of several equal elements.
func sortBy(list []uint32, sum func(uint32) object.Checksum) []uint32 {
	slices.SortFunc(list, func(a, b uint32) int { return cmp.Or(sum(a).Compare(sum(b)), cmp.Compare(a, b)) })
	return slices.Clip(slices.CompactFunc(list, func(a, b uint32) bool { return sum(a) == sum(b) }))
}

// makeDirectory makes the objects of a directory, and returns the number of entries below it.
func (s *Source) makeDirectory(d *directory) (children int, err error) {
	e := s.tree.entries.At(int(d.entry))
	meta, err := object.EncodeDirMeta(&object.DirMeta{UID: e.UID, GID: e.GID, Mode: e.Mode, Xattrs: e.Xattrs})
	if err != nil {
		return 0, err
	}
	d.meta = s.put(object.TypeDirMeta, meta)
	tree, children, err := s.encodeTree(d)
	d.tree = object.HashMetadata(tree)
	return children, err
}

// encodeTree makes the dirtree of a directory. Those of its subdirectories must exist.
func (s *Source) encodeTree(d *directory) (data []byte, children int, err error) {
	list := &object.DirTree{}
	for i := range s.x.Children(s.tree.entries.At(int(d.entry)).Path()) {
		children++
		e := s.tree.entries.At(i)
		if !e.IsDir() {
			list.Files = append(list.Files, object.FileEntry{Name: e.Name, Checksum: e.Object})
			continue
		}
		n, _ := slices.BinarySearchFunc(s.dirs, uint32(i), func(d directory, i uint32) int { return cmp.Compare(d.entry, i) })
		list.Dirs = append(list.Dirs, object.DirEntry{Name: e.Name, Tree: s.dirs[n].tree, Meta: s.dirs[n].meta})
	}
	data, err = object.EncodeDirTree(list)
	return data, children, err
}

// find returns the entry with a file object.
func (s *Source) find(c object.Checksum) (int, error) {
	n, ok := slices.BinarySearchFunc(s.files, c, func(i uint32, c object.Checksum) int { return s.object(i).Compare(c) })
	if !ok {
		return 0, fmt.Errorf("file object %s: %w", c, repo.ErrObjectNotFound)
	}
	return int(s.files[n]), nil
}

// committed is the tree as the commit has it.
func (s *Source) committed() *commitTree {
	s.once.Do(func() { s.linked = s.tree.entries.linkedByObject() })
	return &commitTree{src: s, entries: s.linked}
}

func (s *Source) put(t object.Type, data []byte) object.Checksum {
	c := object.HashMetadata(data)
	s.mu.Lock()
	s.meta[object.Name{Checksum: c, Type: t}] = data
	s.mu.Unlock()
	return c
}

// AddCommit adds a commit of the tree. It sets Tree and Meta of the commit.
func (s *Source) AddCommit(c object.Commit) (object.Checksum, error) {
	c.Tree, c.Meta = s.Tree, s.Meta
	data, err := object.EncodeCommit(&c)
	if err != nil {
		return object.Checksum{}, err
	}
	return s.put(object.TypeCommit, data), nil
}

// Metadata implements [repo.Source].
func (s *Source) Metadata(_ context.Context, name object.Name) ([]byte, error) {
	if name.Type == object.TypeDirTree {
		if n, ok := slices.BinarySearchFunc(s.trees, name.Checksum, func(i uint32, c object.Checksum) int {
			return s.dirTree(i).Compare(c)
		}); ok {
			data, _, err := s.encodeTree(&s.dirs[s.trees[n]])
			return data, err
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if data, ok := s.meta[name]; ok {
		return data, nil
	}
	return nil, fmt.Errorf("%s: %w", name, repo.ErrObjectNotFound)
}

// FileInfo implements [repo.Source].
func (s *Source) FileInfo(_ context.Context, c object.Checksum) (*object.FileInfo, error) {
	i, err := s.find(c)
	if err != nil {
		return nil, err
	}
	e := s.tree.entries.At(i)
	return &object.FileInfo{FileHeader: *e.FileHeader, Size: e.Size}, nil
}

// OpenFile implements [repo.Source].
func (s *Source) OpenFile(ctx context.Context, c object.Checksum) (io.ReadCloser, *object.FileInfo, error) {
	i, err := s.find(c)
	if err != nil {
		return nil, nil, err
	}
	e := s.tree.entries.At(i)
	h, err := object.FileHasher(e.FileHeader)
	if err != nil {
		return nil, nil, err
	}
	info := &object.FileInfo{FileHeader: *e.FileHeader, Size: e.Size}
	if info.IsSymlink() {
		return noContent{}, info, nil
	}
	r, err := s.tree.Open(ctx, i)
	if err != nil {
		return nil, nil, err
	}
	return &rehashed{ReadCloser: r, h: h, want: c, path: e.Path(), left: info.Size}, info, nil
}

type noContent struct{}

func (noContent) Read([]byte) (int, error) { return 0, io.EOF }
func (noContent) Close() error             { return nil }

// rehashed checks that content is still what was hashed. It reports a mismatch together with the last bytes, since
// readers that know the size stop there.
type rehashed struct {
	io.ReadCloser
	h    hash.Hash
	want object.Checksum
	path string
	left int64
}

func (r *rehashed) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.h.Write(p[:n])
	r.left -= int64(n)
	if r.left == 0 && (err == nil || err == io.EOF) && (n > 0 || err == io.EOF) {
		var got object.Checksum
		r.h.Sum(got[:0])
		if got != r.want {
			return n, fmt.Errorf("%s: %w", r.path, ErrChanged)
		}
	}
	return n, err
}

// WriteTo stores all objects, including the added commits, in a transaction.
func (s *Source) WriteTo(ctx context.Context, txn *repo.Txn) error {
	g, run := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, i := range s.files {
		c := s.object(i)
		g.Go(func() (err error) {
			if had, err := txn.HasObject(object.Name{Checksum: c, Type: object.TypeFile}); had || err != nil {
				return err
			}
			r, info, err := s.OpenFile(run, c)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, r.Close()) }()
			return txn.WriteFileAs(run, c, &info.FileHeader, info.Size, r)
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("storing the tree: %w", err)
	}
	for _, i := range s.trees {
		data, _, err := s.encodeTree(&s.dirs[i])
		if err == nil {
			err = txn.WriteMetadataAs(ctx, object.Name{Checksum: s.dirTree(i), Type: object.TypeDirTree}, data)
		}
		if err != nil {
			return fmt.Errorf("storing the tree: %w", err)
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for name, data := range s.meta {
		if err := txn.WriteMetadataAs(ctx, name, data); err != nil {
			return fmt.Errorf("storing the tree: %w", err)
		}
	}
	return nil
}
