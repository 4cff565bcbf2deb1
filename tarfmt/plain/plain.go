// Package plain writes and reads the layers of ordinary images: tar streams with the files of a root filesystem, from
// which container runtimes unpack it.
//
// The stream that [Write] makes depends only on paths, contents, owners, modes and xattrs. All times are the same, so
// that installing a file again does not change its layer. [Reader] reads layers of any program, with their whiteouts,
// as entries that package overlay applies to a tree.
package plain

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Options says how a layer is written.
type Options struct {
	// Whiteouts are the absolute paths that the layer hides in lower layers.
	Whiteouts []string
}

// ErrReservedName says that the name of a file begins with ".wh.". In a layer such a name hides files of lower layers.
var ErrReservedName = errors.New("in layers a name that begins with .wh. hides files: rename it, or leave it out")

const whiteoutPrefix = ".wh."

// epoch is the modification time of all entries.
var epoch = time.Unix(0, 0).UTC()

// dropped reports whether an xattr is left out of images: labels, which the runtime computes, xattrs of container
// storage, and directives for this program.
func dropped(name string) bool {
	switch name {
	case "security.selinux", "user.component", "user.update-interval":
		return true
	}
	return strings.HasPrefix(name, "trusted.") || strings.HasPrefix(name, "user.overlay.")
}

// view is a tree in the form in which layers have it.
type view struct {
	rootfs.Tree
	entries *rootfs.List
}

// View returns a tree in the form in which layers have it: without the xattrs that are left out of images, and with the
// source times in Python's compiled files set to the time of layers. Indexes stay the same. Objects that no longer
// match are zero.
func View(tree rootfs.Tree) rootfs.Tree {
	kept := tree.Entries().WithHeaders(func(h *object.FileHeader) *object.FileHeader {
		xattrs := keptXattrs(h.Xattrs)
		if len(xattrs) == len(h.Xattrs) {
			return h
		}
		other := *h
		other.Xattrs = xattrs
		return &other
	})
	return &view{Tree: tree, entries: kept.WithoutObjects(func(i int) bool { return isBytecode(kept, i) })}
}

// Entries implements [rootfs.Tree].
func (v *view) Entries() *rootfs.List { return v.entries }

// Open implements [rootfs.Tree].
func (v *view) Open(ctx context.Context, index int) (io.ReadCloser, error) {
	r, err := v.Tree.Open(ctx, index)
	if err != nil || !isBytecode(v.entries, index) {
		return r, err
	}
	return struct {
		io.Reader
		io.Closer
	}{&bytecode{r: r}, r}, nil
}

const bytecodeSuffix = ".pyc"

// isBytecode reports whether an entry is a compiled file of Python. The first name decides for all names of a file.
func isBytecode(entries *rootfs.List, i int) bool {
	e := entries.At(i)
	return e.IsRegular() && strings.HasSuffix(entries.At(e.Link).Name, bytecodeSuffix)
}

func keptXattrs(all object.Xattrs) object.Xattrs {
	var kept object.Xattrs
	for _, x := range all {
		if !dropped(x.Name) {
			kept = append(kept, x)
		}
	}
	return kept
}

// Write writes a layer with the entries of a tree at the given indexes, which must be ascending. It includes all their
// parent directories up to the root with owners and modes, since runtimes would make up missing ones. The first of
// several hard links in the layer has the content. Sockets are left out, since an archive cannot hold them. If a name
// is not possible in layers, the error wraps [ErrReservedName].
func Write(ctx context.Context, w io.Writer, tree rootfs.Tree, indexes []uint32, opts Options) error {
	l := &writer{tree: tree, x: rootfs.NewIndex(tree), out: tar.NewWriter(w), dirs: map[string]bool{},
		links: several(tree.Entries(), indexes), buf: make([]byte, 64<<10)}
	for _, p := range opts.Whiteouts {
		if err := l.whiteout(p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	for _, i := range indexes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.entry(ctx, int(i)); err != nil {
			return fmt.Errorf("%s: %w", tree.Entries().At(int(i)).Path(), err)
		}
	}
	return l.out.Close()
}

type writer struct {
	tree  rootfs.Tree
	x     *rootfs.Index
	out   *tar.Writer
	dirs  map[string]bool
	links map[int]string // by first entry of files with several names in the layer: the name that was written, or ""
	buf   []byte
}

// several returns the files that have several names among the given entries.
func several(entries *rootfs.List, indexes []uint32) map[int]string {
	files := map[int]string{}
	for _, i := range indexes {
		if first := entries.At(int(i)).Link; first != int(i) {
			files[first] = ""
		}
	}
	return files
}

// whiteout writes the whiteout of a path.
func (l *writer) whiteout(p string) error {
	dir, name := path.Split(p)
	if name == "" || path.Clean("/"+p) != p {
		return errors.New("not an absolute path below the root")
	}
	if strings.HasPrefix(name, whiteoutPrefix) {
		return ErrReservedName
	}
	if err := l.parents(p); err != nil {
		return err
	}
	return l.out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(dir, "/") + whiteoutPrefix + name,
		ModTime: epoch})
}

// parents writes the directories above a path that were not written yet.
func (l *writer) parents(p string) error {
	dir := path.Dir(p)
	if l.dirs[dir] {
		return nil
	}
	if dir != "/" {
		if err := l.parents(dir); err != nil {
			return err
		}
	}
	i, ok := l.x.Find(dir)
	if !ok || !l.x.Entry(i).IsDir() {
		return fmt.Errorf("its directory %s is not in the tree", dir)
	}
	l.dirs[dir] = true
	h, err := header(l.x.Entry(i))
	if err != nil {
		return err
	}
	return l.out.WriteHeader(h)
}

func (l *writer) entry(ctx context.Context, i int) error {
	e := l.tree.Entries().At(i)
	if strings.HasPrefix(e.Name, whiteoutPrefix) {
		return ErrReservedName
	}
	p := e.Path()
	if e.Name != "" {
		if err := l.parents(p); err != nil {
			return err
		}
	}
	switch {
	case e.IsDir():
		if l.dirs[p] {
			return nil
		}
		l.dirs[p] = true
	case e.Mode&object.ModeTypeMask == modeSocket:
		return nil
	}
	h, err := header(e)
	if err != nil {
		return err
	}
	if first, ok := l.links[e.Link]; ok && e.IsRegular() {
		if first != "" {
			h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, first, 0, nil
			return l.out.WriteHeader(h)
		}
		l.links[e.Link] = h.Name
	}
	if err := l.out.WriteHeader(h); err != nil || !e.IsRegular() {
		return err
	}
	return l.content(ctx, i, e)
}

func (l *writer) content(ctx context.Context, i int, e rootfs.Entry) (err error) {
	r, err := l.tree.Open(ctx, i)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var in io.Reader = r
	if isBytecode(l.tree.Entries(), i) {
		in = &bytecode{r: r}
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{l.out}, ctxio.Reader(ctx, in), l.buf)
	if err == nil && n != e.Size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

const (
	modeSocket = 0o140000
	modeFIFO   = 0o010000
	modeBlock  = 0o060000
	modeChar   = 0o020000
)

// header makes the tar header of an entry.
func header(e rootfs.Entry) (*tar.Header, error) {
	h := &tar.Header{
		Name: e.Path()[1:], Mode: int64(e.Mode & 0o7777), Uid: int(e.UID), Gid: int(e.GID), ModTime: epoch,
	}
	switch e.Mode & object.ModeTypeMask {
	case object.ModeRegular:
		h.Typeflag, h.Size = tar.TypeReg, e.Size
	case object.ModeDir:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
		if e.Name == "" {
			h.Name = "./"
		}
	case object.ModeSymlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Target
	case modeFIFO:
		h.Typeflag = tar.TypeFifo
	case modeChar, modeBlock:
		h.Typeflag = tar.TypeChar
		if e.Mode&object.ModeTypeMask == modeBlock {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = device(e.Device)
	default:
		return nil, fmt.Errorf("mode %#o is of no type that an archive holds", e.Mode)
	}
	for _, x := range e.Xattrs {
		if dropped(x.Name) {
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[paxXattr+encodeXattr(x.Name)] = string(x.Value)
	}
	return h, nil
}

// device splits a Linux device number.
func device(d uint64) (major, minor int64) {
	return int64(d>>8&0xfff | d>>32&^0xfff), int64(d&0xff | d>>12&^0xff&0xffffffff)
}

// bytecode sets the source time in Python's compiled files. Otherwise Python would consider them stale and compile the
// source at each start. Files that are validated by hash, which have flags, stay as they are.
type bytecode struct {
	r    io.Reader
	n    int
	head [16]byte
	have int
}

func (b *bytecode) Read(p []byte) (int, error) {
	if b.n == 0 && b.have == 0 {
		have, err := io.ReadFull(b.r, b.head[:])
		b.have = have
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return 0, err
		}
		if have == len(b.head) && b.head[4]|b.head[5]|b.head[6]|b.head[7] == 0 {
			clear(b.head[8:12])
		}
	}
	if b.n < b.have {
		n := copy(p, b.head[b.n:b.have])
		b.n += n
		return n, nil
	}
	return b.r.Read(p)
}
