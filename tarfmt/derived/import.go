package derived

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/overlay"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/plain"
)

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
)

// Limits on a layer in bytes: the memory for its headers, and the content of all its files.
const (
	maxMemory  = 1 << 30
	perEntry   = 512
	maxContent = 256 << 30
)

// ErrTooLarge is wrapped by errors about a layer that exceeds a limit.
var ErrTooLarge = errors.New("the layer is too large")

// ImportOptions are the options of [Import].
type ImportOptions struct {
	Root Root
	// Label, if not nil, returns the SELinux label for a path in the commit, without a NUL, or "" for none.
	Label func(path string, mode uint32) (string, error)
}

// Layer is a layer that was imported.
type Layer struct {
	Commit object.Checksum
	// Filtered counts the entries that were left out, by name: the first directory of the path, or the second for /run,
	// /tmp, /proc, /sys and /dev. Devices, FIFOs and sockets are counted under their paths.
	Filtered map[string]int
}

// Import reads the decompressed stream of a layer and writes its commit. The commit has no parent, subject or time, so
// that the same layer always gives the same commit. Errors about the layer wrap [tarfmt.ErrInvalidStream]. After an
// error the transaction must be aborted.
//
// These differ from upstream's program, which fails: devices and FIFOs are left out, and a hard link to a file of a
// lower layer is recorded in the commit's metadata, for [Merge] to resolve. Symlinks have the mode 0777, whatever the
// archive says. Files below /sysroot/ostree/repo are never stored as such; upstream stores them if Root.Other is set.
func Import(ctx context.Context, txn *repo.Txn, r io.Reader, opts ImportOptions) (*Layer, error) {
	im := &importer{
		txn: txn, opts: opts, tree: repo.NewMutableTree(), filtered: map[string]int{},
		described: map[string]bool{}, links: map[string]string{}, objects: map[string]stored{},
	}
	im.in = plain.NewReader[struct{}](ctx, r, plain.ReadOptions{Memory: im.memory, Content: im.content})
	for {
		e, err := im.in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := im.entry(ctx, e); err != nil {
			return nil, fmt.Errorf("%.200q: %w", e.Path, err)
		}
	}
	commit, err := im.finish(ctx)
	if err != nil {
		return nil, err
	}
	return &Layer{Commit: commit, Filtered: im.filtered}, nil
}

type entry = overlay.Entry[struct{}]

// importer imports a layer.
type importer struct {
	txn      *repo.Txn
	in       *plain.Reader[struct{}]
	opts     ImportOptions
	tree     *repo.MutableTree
	filtered map[string]int

	described map[string]bool   // directories that have an entry
	links     map[string]string // hard links whose targets are not in the tree, by path in the commit
	objects   map[string]stored // objects below the repository in the layer, by path

	used    int   // memory
	written int64 // content
}

// stored is a file of the layer's own repository, to which visible files are hard links.
type stored struct {
	header object.FileHeader
	id     object.Checksum
}

func (im *importer) memory(n int) error {
	if im.used += n + perEntry; im.used > maxMemory {
		return fmt.Errorf("%w: its headers need more than %s of memory", ErrTooLarge, sizes.Format(maxMemory))
	}
	return nil
}

func (im *importer) content(n int64) error {
	if n > maxContent || im.written+n > maxContent {
		return fmt.Errorf("%w: its files have more than %s", ErrTooLarge, sizes.Format(maxContent))
	}
	im.written += n
	return nil
}

// entry adds one entry of the layer to the tree.
func (im *importer) entry(ctx context.Context, e entry) error {
	switch {
	case e.Mark == overlay.Reserved:
		return nil
	case e.Mark != overlay.None:
		return im.marker(ctx, e)
	case strings.HasPrefix(e.Path, objectsPath):
		if kept, err := im.object(ctx, e); kept || err != nil {
			return err
		}
	case strings.HasPrefix(e.Link, objectsPath):
		return im.linkToObject(ctx, e)
	}
	to, keep := im.opts.Root.place(e.Path)
	if !keep {
		im.filtered[to]++
		return nil
	}
	if e.Link != "" {
		return im.link(ctx, to, e.Link)
	}
	switch e.File.Mode & object.ModeTypeMask {
	case object.ModeDir:
		return im.directory(ctx, to, &e.File.FileHeader)
	case object.ModeRegular, object.ModeSymlink:
		id, err := im.write(ctx, to, e.File)
		if err != nil {
			return err
		}
		return im.set(ctx, to, id, &e.File.FileHeader)
	}
	im.filtered[strings.TrimPrefix(to, "/")]++
	return nil
}

// marker stores a whiteout or an opaque mark as an empty file.
func (im *importer) marker(ctx context.Context, e entry) error {
	to, keep := im.opts.Root.place(e.Path)
	if !keep {
		if to == strings.TrimPrefix(e.Path, "/") {
			to = whiteoutPrefix + to
		}
		im.filtered[to]++
		return nil
	}
	at := path.Join(to, opaqueName)
	if e.Mark == overlay.Whiteout {
		at = beside(to, whiteoutPrefix+path.Base(to))
	}
	h := im.in.Header()
	file := &overlay.File[struct{}]{FileHeader: object.FileHeader{
		UID: uint32(h.Uid), GID: uint32(h.Gid), Mode: object.ModeRegular | uint32(h.Mode)&object.ModePermMask,
	}}
	if h.Typeflag == tar.TypeReg {
		file.Size = h.Size
	}
	id, err := im.write(ctx, at, file)
	if err != nil {
		return err
	}
	return im.set(ctx, at, id, &file.FileHeader)
}

// object stores a file of the layer's own repository. Tools that change a file of a commit in a container store the
// changed object there, with a time, and the visible file as a hard link to it. In an image without a commit all
// visible files may be such links.
func (im *importer) object(ctx context.Context, e entry) (kept bool, err error) {
	if e.File == nil || e.File.IsDir() || !strings.HasSuffix(e.Path, ".file") || !im.changed() && !im.opts.Root.Other {
		return false, nil
	}
	if t := e.File.Mode & object.ModeTypeMask; t != object.ModeRegular && t != object.ModeSymlink {
		return false, nil
	}
	id, err := im.txn.WriteFile(ctx, &e.File.FileHeader, e.File.Size, im.in)
	im.objects[e.Path] = stored{header: e.File.FileHeader, id: id}
	return true, err
}

// changed reports whether the entry was made by a tool in a container: the entries of a commit have no time.
func (im *importer) changed() bool { return im.in.Header().ModTime.Unix() > 0 }

// linkToObject adds a visible file that is a hard link to an object. If the layer does not have the object, the file is
// unchanged and is left to the lower layers.
func (im *importer) linkToObject(ctx context.Context, e entry) error {
	o, ok := im.objects[e.Link]
	if !ok {
		return nil
	}
	to, keep := im.opts.Root.place(e.Path)
	if !keep {
		im.filtered[to]++
		return nil
	}
	id := o.id
	if im.opts.Label != nil {
		header, err := labelled(&o.header, im.opts.Label, to)
		if err != nil {
			return err
		}
		if id, err = im.txn.WriteHeader(ctx, header, o.id); err != nil {
			return err
		}
	}
	return im.set(ctx, to, id, &o.header)
}

// write stores a file object for a path.
func (im *importer) write(ctx context.Context, p string, f *overlay.File[struct{}]) (object.Checksum, error) {
	h := &f.FileHeader
	if im.opts.Label != nil {
		var err error
		if h, err = labelled(h, im.opts.Label, p); err != nil {
			return object.Checksum{}, err
		}
	}
	return im.txn.WriteFile(ctx, h, f.Size, im.in)
}

// set puts a file into the tree in place of what is there.
func (im *importer) set(ctx context.Context, p string, id object.Checksum, owner *object.FileHeader) error {
	if err := im.clear(ctx, p, owner); err != nil {
		return err
	}
	return im.tree.SetFile(ctx, p, id)
}

// clear makes the directory that a path is in, and removes what is at the path.
func (im *importer) clear(ctx context.Context, p string, owner *object.FileHeader) error {
	if p == "/" {
		return fmt.Errorf("%w: the root is not a directory", tarfmt.ErrInvalidStream)
	}
	if err := im.parents(ctx, p, owner); err != nil {
		return err
	}
	delete(im.links, p)
	if err := im.tree.Remove(ctx, p); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// isDir reports whether a path is a directory of the tree that has its metadata.
func (im *importer) isDir(ctx context.Context, p string) bool {
	e, err := im.tree.Lookup(ctx, p)
	return err == nil && e.Dir && !e.Meta.IsZero()
}

// parents makes the missing directories above a path. They belong to the owner of the entry that needs them. If there
// are any, those above them that no entry described belong to that owner too from now on, as with libostree.
func (im *importer) parents(ctx context.Context, p string, owner *object.FileHeader) error {
	if im.isDir(ctx, path.Dir(p)) {
		return nil
	}
	h := &object.FileHeader{UID: owner.UID, GID: owner.GID, Mode: object.ModeDir | 0o755}
	for dir := range ancestors(p) {
		if im.described[dir] && im.isDir(ctx, dir) {
			continue
		}
		if err := im.setDir(ctx, dir, h); err != nil {
			return err
		}
	}
	return nil
}

// ancestors yields the directories above a path, from the root down.
func ancestors(p string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield("/") {
			return
		}
		for i := 1; i < len(p); i++ {
			if p[i] == '/' && !yield(p[:i]) {
				return
			}
		}
	}
}

// directory adds a directory, or changes the metadata of one that is there.
func (im *importer) directory(ctx context.Context, p string, h *object.FileHeader) error {
	if p != "/" {
		if err := im.parents(ctx, p, h); err != nil {
			return err
		}
	}
	im.described[p] = true
	return im.setDir(ctx, p, h)
}

func (im *importer) setDir(ctx context.Context, p string, h *object.FileHeader) error {
	if im.opts.Label != nil {
		var err error
		if h, err = labelled(h, im.opts.Label, p); err != nil {
			return err
		}
	}
	meta, err := writeDirMeta(ctx, im.txn, &object.DirMeta{UID: h.UID, GID: h.GID, Mode: h.Mode, Xattrs: h.Xattrs})
	if err != nil {
		return err
	}
	if p != "/" && !im.isDir(ctx, p) {
		delete(im.links, p)
		if err := im.tree.Remove(ctx, p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return im.tree.SetDirMeta(ctx, p, meta)
}

// link adds a hard link. Its target may come later in the layer, or be in a lower layer.
func (im *importer) link(ctx context.Context, p, target string) error {
	to, keep := im.opts.Root.place(target)
	if !keep {
		return fmt.Errorf("%w: a hard link to %.200q, which has no place on a host", tarfmt.ErrInvalidStream, target)
	}
	if p == to {
		return fmt.Errorf("%w: a hard link to itself", tarfmt.ErrInvalidStream)
	}
	root := &object.FileHeader{}
	if found, err := im.tree.Lookup(ctx, to); err == nil && !found.Dir {
		return im.set(ctx, p, found.File, root)
	}
	if err := im.clear(ctx, p, root); err != nil {
		return err
	}
	im.links[p] = to
	return nil
}

// maxHops is how many hard links to hard links are followed.
const maxHops = 40

// resolve returns the file that the target of a hard link is in the whole layer, or the path that it has in a lower
// layer.
func (im *importer) resolve(ctx context.Context, target string) (id object.Checksum, lower string) {
	for range maxHops {
		if found, err := im.tree.Lookup(ctx, target); err == nil && !found.Dir {
			return found.File, ""
		}
		next, ok := im.links[target]
		if !ok {
			break
		}
		target = next
	}
	return id, target
}

// finish resolves hard links to later entries and writes the commit. The links that remain are to lower layers.
func (im *importer) finish(ctx context.Context) (object.Checksum, error) {
	lower, found := map[string]string{}, map[string]object.Checksum{}
	for p, target := range im.links {
		if !im.isDir(ctx, path.Dir(p)) {
			continue // its directory was replaced
		}
		if id, rest := im.resolve(ctx, target); rest == "" {
			found[p] = id
		} else {
			lower[p] = rest
		}
	}
	for p, id := range found {
		if err := im.tree.SetFile(ctx, p, id); err != nil {
			return object.Checksum{}, fmt.Errorf("%.200q: %w", p, err)
		}
	}
	if !im.isDir(ctx, "/") {
		if err := im.setDir(ctx, "/", &object.FileHeader{Mode: object.ModeDir | 0o755}); err != nil {
			return object.Checksum{}, err
		}
	}
	c := &object.Commit{Metadata: layerMetadata(im.opts.Root, lower)}
	var err error
	if c.Tree, c.Meta, err = im.tree.WriteTo(ctx, im.txn); err != nil {
		return object.Checksum{}, err
	}
	return im.txn.WriteCommit(ctx, c)
}
