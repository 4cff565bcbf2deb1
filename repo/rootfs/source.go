package rootfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"path"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

// ErrNoObject says that something is neither file, symlink nor directory, and so cannot be in a commit.
var ErrNoObject = errors.New("neither a file nor a symlink nor a directory")

// Hashed is a tree whose entries all have objects.
type Hashed struct {
	Tree
	entries []Entry
}

// Entries implements [Tree].
func (h *Hashed) Entries() []Entry { return h.entries }

// Lender is a tree that was made for one use, and gives its list of entries away: a list of a million is too large to be there
// twice.
type Lender interface {
	Tree
	// Take returns the list, which the caller may change. Afterwards the tree has none; Open works on.
	Take() []Entry
}

// take returns a list of a tree's entries that may be changed.
func take(tree Tree) []Entry {
	if l, ok := tree.(Lender); ok {
		return l.Take()
	}
	return slices.Clone(tree.Entries())
}

// Hash reads the files of a tree, several at a time, and gives every entry but directories the checksum of its file object.
// Those that have one are not read. The list of a [Lender] is taken over. Special files get a checksum that stands for what they are.
func Hash(ctx context.Context, tree Tree) (*Hashed, error) {
	h := &Hashed{Tree: tree, entries: take(tree)}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	buffers := sync.Pool{New: func() any { return new([hashBuffer]byte) }}
	for i := range h.entries {
		e := &h.entries[i]
		if e.IsDir() || e.Link != i || !e.Object.IsZero() {
			continue
		}
		if !e.IsRegular() {
			var err error
			if e.Object, err = HeaderObject(e); err != nil {
				return nil, errors.Join(err, g.Wait())
			}
			continue
		}
		g.Go(func() (err error) {
			buf := buffers.Get().(*[hashBuffer]byte)
			defer buffers.Put(buf)
			e.Object, err = hashContent(ctx, h, i, buf[:])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("hashing the tree: %w", err)
	}
	for i := range h.entries {
		if e := &h.entries[i]; e.Link != i {
			e.Object = h.entries[e.Link].Object
		}
	}
	return h, nil
}

const hashBuffer = 128 << 10

// HeaderObject is the object of an entry without content: that of a symlink, or one that stands for what a special file is.
func HeaderObject(e *Entry) (c repo.Checksum, err error) {
	if e.IsSymlink() {
		s, err := repo.FileHasher(&e.FileHeader)
		if err != nil {
			return c, fmt.Errorf("%s: %w", e.Path, err)
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
	e := &tree.Entries()[i]
	s, err := repo.FileHasher(&e.FileHeader)
	if err != nil {
		return c, fmt.Errorf("%s: %w", e.Path, err)
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
	files map[repo.Checksum]int

	once sync.Once // for committed
	mu   sync.RWMutex
	meta map[repo.ObjectName][]byte
}

var _ repo.Source = (*Source)(nil)

// NewSource makes the tree objects of a tree, which it takes over. An error wraps [ErrNoObject] if there is something in it that
// no commit can have.
func NewSource(tree *Hashed) (*Source, error) {
	s := &Source{tree: tree, files: map[repo.Checksum]int{}, meta: map[repo.ObjectName][]byte{}}
	trees := map[string]*repo.DirTree{}
	// Backwards, since a directory stands before what is in it.
	for i := len(tree.entries) - 1; i >= 0; i-- {
		e := &tree.entries[i]
		parent, name := path.Split(e.Path)
		parent = path.Clean(parent)
		up := trees[parent]
		if up == nil && e.Path != "/" {
			up = &repo.DirTree{}
			trees[parent] = up
		}
		switch {
		case e.IsDir():
			d, meta, err := s.directory(e, trees[e.Path])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.Path, err)
			}
			delete(trees, e.Path)
			if e.Path == "/" {
				s.Tree, s.Meta = d, meta
				return s, nil
			}
			up.Dirs = append(up.Dirs, repo.DirEntry{Name: name, Tree: d, Meta: meta})
		case e.IsRegular(), e.IsSymlink():
			s.files[e.Object] = i
			up.Files = append(up.Files, repo.FileEntry{Name: name, Checksum: e.Object})
		default:
			return nil, fmt.Errorf("%s: %w", e.Path, ErrNoObject)
		}
	}
	return nil, errors.New("the tree has no root")
}

// committed is the tree as that of its commit: without times, and names of one object are links of one file.
func (s *Source) committed() *commitTree {
	s.once.Do(func() {
		linkObjects(s.tree.entries)
		for i := range s.tree.entries {
			e := &s.tree.entries[i]
			e.ModTime, e.Device = time.Time{}, 0
		}
	})
	return &commitTree{src: s, entries: s.tree.entries}
}

// directory makes the objects of a directory.
func (s *Source) directory(e *Entry, list *repo.DirTree) (tree, meta repo.Checksum, err error) {
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
	i, ok := s.files[c]
	if !ok {
		return nil, fmt.Errorf("file object %s: %w", c, repo.ErrObjectNotFound)
	}
	e := &s.tree.entries[i]
	return &repo.FileInfo{FileHeader: e.FileHeader, Size: e.Size}, nil
}

// OpenFile implements [repo.Source].
func (s *Source) OpenFile(ctx context.Context, c repo.Checksum) (io.ReadCloser, *repo.FileInfo, error) {
	info, err := s.FileInfo(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	i := s.files[c]
	h, err := repo.FileHasher(&info.FileHeader)
	if err != nil {
		return nil, nil, err
	}
	if info.IsSymlink() {
		return noContent{}, info, nil
	}
	r, err := s.tree.Open(ctx, i)
	if err != nil {
		return nil, nil, err
	}
	return &rehashed{ReadCloser: r, h: h, want: c, path: s.tree.entries[i].Path, left: info.Size}, info, nil
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
	for _, c := range slices.SortedFunc(maps.Keys(s.files), repo.Checksum.Compare) {
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
