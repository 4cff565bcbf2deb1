package tarfmt_test

import (
	"archive/tar"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// memSource is a [repo.Source] in memory.
type memSource struct {
	metadata map[object.Name][]byte
	files    map[object.Checksum]memFile
}

type memFile struct {
	info object.FileInfo
	data []byte
}

func newMemSource() *memSource {
	return &memSource{metadata: map[object.Name][]byte{}, files: map[object.Checksum]memFile{}}
}

func (m *memSource) Metadata(_ context.Context, name object.Name) ([]byte, error) {
	data, ok := m.metadata[name]
	if !ok {
		return nil, fmt.Errorf("%w: %s", repo.ErrObjectNotFound, name)
	}
	return data, nil
}

func (m *memSource) FileInfo(_ context.Context, c object.Checksum) (*object.FileInfo, error) {
	f, ok := m.files[c]
	if !ok {
		return nil, fmt.Errorf("%w: %s.file", repo.ErrObjectNotFound, c)
	}
	info := f.info
	return &info, nil
}

func (m *memSource) OpenFile(ctx context.Context, c object.Checksum) (io.ReadCloser, *object.FileInfo, error) {
	info, err := m.FileInfo(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	return io.NopCloser(bytes.NewReader(m.files[c].data)), info, nil
}

func (m *memSource) addMetadata(t object.Type, data []byte) object.Checksum {
	c := object.HashMetadata(data)
	m.metadata[object.Name{Checksum: c, Type: t}] = data
	return c
}

func (m *memSource) addFile(tb testing.TB, h object.FileHeader, data []byte) object.Checksum {
	tb.Helper()
	hash, err := object.FileHasher(&h)
	if err != nil {
		tb.Fatal(err)
	}
	hash.Write(data)
	c := object.Checksum(hash.Sum(nil))
	m.files[c] = memFile{info: object.FileInfo{FileHeader: h, Size: int64(len(data))}, data: data}
	return c
}

// node is a file, symlink or directory of a test's tree. Missing parent directories are made.
type node struct {
	path   string
	mode   uint32 // a regular file unless it has the type bits of a directory or symlink
	data   string
	target string
	uid    uint32
	gid    uint32
	xattrs object.Xattrs
}

// addTree stores a tree and returns its root. The attributes of directories without a node are those of def.
func (m *memSource) addTree(tb testing.TB, def object.DirMeta, nodes []node) (tree, meta object.Checksum) {
	tb.Helper()
	type dir struct {
		meta  object.DirMeta
		files map[string]object.Checksum
		dirs  map[string]*dir
	}
	newDir := func() *dir { return &dir{meta: def, files: map[string]object.Checksum{}, dirs: map[string]*dir{}} }
	root := newDir()
	find := func(p string) *dir {
		d := root
		for name := range strings.SplitSeq(p, "/") {
			if name == "" || name == "." {
				continue
			}
			if d.dirs[name] == nil {
				d.dirs[name] = newDir()
			}
			d = d.dirs[name]
		}
		return d
	}
	for _, n := range nodes {
		if n.mode&object.ModeTypeMask == object.ModeDir {
			find(n.path).meta = object.DirMeta{UID: n.uid, GID: n.gid, Mode: n.mode, Xattrs: n.xattrs}
			continue
		}
		h := object.FileHeader{UID: n.uid, GID: n.gid, Mode: object.ModeRegular | n.mode, Xattrs: n.xattrs}
		if n.target != "" {
			h.Mode, h.Target = object.ModeSymlink|0o777, n.target
		}
		find(path.Dir(n.path)).files[path.Base(n.path)] = m.addFile(tb, h, []byte(n.data))
	}
	var store func(d *dir) (tree, meta object.Checksum)
	store = func(d *dir) (object.Checksum, object.Checksum) {
		var dt object.DirTree
		for _, name := range sortedKeys(d.files) {
			dt.Files = append(dt.Files, object.FileEntry{Name: name, Checksum: d.files[name]})
		}
		for _, name := range sortedKeys(d.dirs) {
			tree, meta := store(d.dirs[name])
			dt.Dirs = append(dt.Dirs, object.DirEntry{Name: name, Tree: tree, Meta: meta})
		}
		return m.addMetadata(object.TypeDirTree, must(object.EncodeDirTree(&dt))),
			m.addMetadata(object.TypeDirMeta, must(object.EncodeDirMeta(&d.meta)))
	}
	return store(root)
}

func (m *memSource) addCommit(tb testing.TB, c object.Commit, def object.DirMeta, nodes []node) object.Checksum {
	tb.Helper()
	c.Tree, c.Meta = m.addTree(tb, def, nodes)
	return m.addMetadata(object.TypeCommit, must(object.EncodeCommit(&c)))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// loadArchive reads the tar of an archive repository into memory.
func loadArchive(tb testing.TB, file string) *memSource {
	tb.Helper()
	m := newMemSource()
	r := tar.NewReader(bytes.NewReader(unzstd(tb, file)))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return m
		}
		if err != nil {
			tb.Fatal(err)
		}
		_, rest, ok := strings.Cut(h.Name, "/objects/")
		if !ok || h.Typeflag != tar.TypeReg {
			continue
		}
		data := must(io.ReadAll(r))
		sum, ext, _ := strings.Cut(strings.Replace(rest, "/", "", 1), ".")
		c := must(object.ParseChecksum(sum))
		if ext == "filez" {
			m.files[c] = parseFilez(tb, data)
			continue
		}
		for _, t := range []object.Type{object.TypeCommit, object.TypeCommitMeta, object.TypeDirTree, object.TypeDirMeta} {
			if ext == t.String() {
				m.metadata[object.Name{Checksum: c, Type: t}] = data
			}
		}
	}
}

func parseFilez(tb testing.TB, data []byte) memFile {
	tb.Helper()
	n := binary.BigEndian.Uint32(data)
	info, err := object.ParseArchiveHeader(data[8 : 8+n])
	if err != nil {
		tb.Fatal(err)
	}
	f := memFile{info: *info}
	if !info.IsSymlink() {
		f.data = must(io.ReadAll(flate.NewReader(bytes.NewReader(data[8+n:]))))
	}
	return f
}

func unzstd(tb testing.TB, file string) []byte {
	tb.Helper()
	f, err := os.Open(file)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	defer z.Close()
	return must(io.ReadAll(z))
}

// addFlatCommit adds a commit of a single directory.
func (m *memSource) addFlatCommit(tb testing.TB, root *object.DirTree) object.Checksum {
	tb.Helper()
	tree, err := object.EncodeDirTree(root)
	if err != nil {
		tb.Fatal(err)
	}
	meta, err := object.EncodeDirMeta(&object.DirMeta{Mode: object.ModeDir | 0o755})
	if err != nil {
		tb.Fatal(err)
	}
	commit, err := object.EncodeCommit(&object.Commit{
		Tree: m.addMetadata(object.TypeDirTree, tree), Meta: m.addMetadata(object.TypeDirMeta, meta),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return m.addMetadata(object.TypeCommit, commit)
}
