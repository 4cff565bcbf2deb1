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

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

// ErrNoObject says that something is neither file, symlink nor directory, and so cannot be in a commit.
var ErrNoObject = errors.New("neither a file nor a symlink nor a directory")

// Hashed is a tree whose entries all have objects.
type Hashed struct {
	Tree
	entries *List
}

// Entries implements [Tree].
func (h *Hashed) Entries() *List { return h.entries }

// Hash reads the files of a tree, several at a time, and gives every entry but directories the checksum of its file object.
// Those that have one are not read. Special files get a checksum that stands for what they are.
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
	for i, first := range h.entries.links {
		objects[i] = objects[first]
	}
	return h, nil
}

const hashBuffer = 128 << 10

// HeaderObject is the object of an entry without content: that of a symlink, or one that stands for what a special file is.
func HeaderObject(e Entry) (c repo.Checksum, err error) {
	if e.IsSymlink() {
		s, err := repo.FileHasher(e.FileHeader)
		if err != nil {
			return c, fmt.Errorf("%s: %w", e.Path(), err)
		}
		s.Sum(c[:0])
		return c, nil
	}
	s := sha256.New()
	fmt.Fprintf(s, "special %o %d %d %d", e.Mode, e.UID, e.GID, e.Device)
	s.Write(repo.EncodeXattrs(e.Xattrs))
	s.Sum(c[:0])
	return c, nil
}

func hashContent(ctx context.Context, tree Tree, i int, buf []byte) (c repo.Checksum, err error) {
	e := tree.Entries().At(i)
	s, err := repo.FileHasher(e.FileHeader)
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

// Source is the [repo.Source] of the commit of a tree. File objects are read from the tree, and hashed again while they are:
// what is not as it was is an error of reading.
type Source struct {
	// Tree is the root's dirtree, Meta its dirmeta.
	Tree, Meta repo.Checksum

	tree  *Hashed
	files []uint32 // entries with an object, sorted by that, each object once

	once   sync.Once // for linked
	linked *List     // as in the commit: names of one object are links of one file
	mu     sync.RWMutex
	meta   map[repo.ObjectName][]byte
}

var _ repo.Source = (*Source)(nil)

// NewSource makes the tree objects of a tree. An error wraps [ErrNoObject] if there is something in it that no commit can have.
func NewSource(tree *Hashed) (*Source, error) {
	s := &Source{tree: tree, meta: map[repo.ObjectName][]byte{}}
	trees := map[string]*repo.DirTree{}
	// Backwards, since a directory stands before what is in it.
	for i := tree.entries.Len() - 1; i >= 0; i-- {
		e := tree.entries.At(i)
		up := trees[e.Dir]
		if up == nil && e.Name != "" {
			up = &repo.DirTree{}
			trees[e.Dir] = up
		}
		switch {
		case e.IsDir():
			p := e.Path()
			d, meta, err := s.directory(e, trees[p])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p, err)
			}
			delete(trees, p)
			if e.Name != "" {
				up.Dirs = append(up.Dirs, repo.DirEntry{Name: e.Name, Tree: d, Meta: meta})
				continue
			}
			for lost := range trees {
				return nil, fmt.Errorf("%s: there are files in it, and it is no directory of the tree", lost)
			}
			s.Tree, s.Meta = d, meta
		case e.IsRegular(), e.IsSymlink():
			s.files = append(s.files, uint32(i))
			up.Files = append(up.Files, repo.FileEntry{Name: e.Name, Checksum: e.Object})
		default:
			return nil, fmt.Errorf("%s: %w", e.Path(), ErrNoObject)
		}
	}
	if s.Tree.IsZero() {
		return nil, errors.New("the tree has no root")
	}
	objects := tree.entries.objects
	slices.SortFunc(s.files, func(a, b uint32) int { return cmp.Or(objects[a].Compare(objects[b]), cmp.Compare(a, b)) })
	s.files = slices.Clip(slices.CompactFunc(s.files, func(a, b uint32) bool { return objects[a] == objects[b] }))
	return s, nil
}

// find returns the entry with a file object.
func (s *Source) find(c repo.Checksum) (int, error) {
	n, ok := slices.BinarySearchFunc(s.files, c, func(i uint32, c repo.Checksum) int { return s.tree.entries.objects[i].Compare(c) })
	if !ok {
		return 0, fmt.Errorf("file object %s: %w", c, repo.ErrObjectNotFound)
	}
	return int(s.files[n]), nil
}

// committed is the tree as that of its commit.
func (s *Source) committed() *commitTree {
	s.once.Do(func() { s.linked = s.tree.entries.linkedByObject() })
	return &commitTree{src: s, entries: s.linked}
}

// directory makes the objects of a directory.
func (s *Source) directory(e Entry, list *repo.DirTree) (tree, meta repo.Checksum, err error) {
	if list == nil {
		list = &repo.DirTree{}
	}
	slices.Reverse(list.Files)
	slices.Reverse(list.Dirs)
	data, err := repo.EncodeDirTree(list)
	if err != nil {
		return tree, meta, err
	}
	tree = s.put(repo.TypeDirTree, data)
	if data, err = repo.EncodeDirMeta(&repo.DirMeta{UID: e.UID, GID: e.GID, Mode: e.Mode, Xattrs: e.Xattrs}); err != nil {
		return tree, meta, err
	}
	return tree, s.put(repo.TypeDirMeta, data), nil
}

func (s *Source) put(t repo.ObjectType, data []byte) repo.Checksum {
	c := repo.HashMetadata(data)
	s.mu.Lock()
	s.meta[repo.ObjectName{Checksum: c, Type: t}] = data
	s.mu.Unlock()
	return c
}

// AddCommit adds a commit of the tree. Tree and Meta of the commit are set.
func (s *Source) AddCommit(c repo.Commit) (repo.Checksum, error) {
	c.Tree, c.Meta = s.Tree, s.Meta
	data, err := repo.EncodeCommit(&c)
	if err != nil {
		return repo.Checksum{}, err
	}
	return s.put(repo.TypeCommit, data), nil
}

// Metadata implements [repo.Source].
func (s *Source) Metadata(_ context.Context, name repo.ObjectName) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if data, ok := s.meta[name]; ok {
		return data, nil
	}
	return nil, fmt.Errorf("%s: %w", name, repo.ErrObjectNotFound)
}

// FileInfo implements [repo.Source].
func (s *Source) FileInfo(_ context.Context, c repo.Checksum) (*repo.FileInfo, error) {
	i, err := s.find(c)
	if err != nil {
		return nil, err
	}
	e := s.tree.entries.At(i)
	return &repo.FileInfo{FileHeader: *e.FileHeader, Size: e.Size}, nil
}

// OpenFile implements [repo.Source].
func (s *Source) OpenFile(ctx context.Context, c repo.Checksum) (io.ReadCloser, *repo.FileInfo, error) {
	i, err := s.find(c)
	if err != nil {
		return nil, nil, err
	}
	e := s.tree.entries.At(i)
	h, err := repo.FileHasher(e.FileHeader)
	if err != nil {
		return nil, nil, err
	}
	info := &repo.FileInfo{FileHeader: *e.FileHeader, Size: e.Size}
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

// rehashed sees that content is still what was hashed. It tells so with the last bytes, since readers that know the size
// stop there.
type rehashed struct {
	io.ReadCloser
	h    hash.Hash
	want repo.Checksum
	path string
	left int64
}

func (r *rehashed) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.h.Write(p[:n])
	r.left -= int64(n)
	if r.left == 0 && (err == nil || err == io.EOF) && (n > 0 || err == io.EOF) {
		var got repo.Checksum
		r.h.Sum(got[:0])
		if got != r.want {
			return n, fmt.Errorf("%s: %w", r.path, ErrChanged)
		}
	}
	return n, err
}

// WriteTo stores all objects, also the commits that were added, in a transaction.
func (s *Source) WriteTo(ctx context.Context, txn *repo.Txn) error {
	g, run := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, i := range s.files {
		c := s.tree.entries.objects[i]
		g.Go(func() (err error) {
			if had, err := txn.HasObject(repo.ObjectName{Checksum: c, Type: repo.TypeFile}); had || err != nil {
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
	s.mu.RLock()
	defer s.mu.RUnlock()
	for name, data := range s.meta {
		if err := txn.WriteMetadataAs(ctx, name, data); err != nil {
			return fmt.Errorf("storing the tree: %w", err)
		}
	}
	return nil
}
