package repo

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// FS returns the tree as a file system. It implements [fs.ReadLinkFS]. Everything is read with ctx. Symlinks are
// followed inside the tree. Times are those of a checkout, the beginning of 1970. [fs.FileInfo.Sys] returns an
// [*object.FileInfo] for files and an [*object.DirMeta] for directories.
func (v *TreeView) FS(ctx context.Context) fs.FS { return viewFS{ctx, v} }

type viewFS struct {
	ctx  context.Context
	view *TreeView
}

var _ fs.ReadLinkFS = viewFS{}

// Open implements [fs.FS].
func (f viewFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	file, err := f.open(name)
	return file, pathError("open", name, err)
}

func (f viewFS) open(name string) (fs.File, error) {
	item, err := f.view.Resolve(f.ctx, name)
	if err != nil {
		return nil, err
	}
	if item.IsDir() {
		info, err := f.stat(&item, path.Base(name))
		return &viewDir{viewInfo: info, fs: f, dir: &item, name: name}, err
	}
	r, info, err := f.view.src.OpenFile(f.ctx, item.File)
	if err != nil {
		return nil, err
	}
	return &viewFile{r, fileStat(path.Base(name), info)}, nil
}

// Lstat implements [fs.ReadLinkFS].
func (f viewFS) Lstat(name string) (fs.FileInfo, error) {
	info, err := f.lstat(name)
	return info, pathError("lstat", name, err)
}

// ReadLink implements [fs.ReadLinkFS].
func (f viewFS) ReadLink(name string) (string, error) {
	info, err := f.lstat(name)
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	file, ok := info.sys.(*object.FileInfo)
	if !ok || !file.IsSymlink() {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return file.Target, nil
}

func (f viewFS) lstat(name string) (viewInfo, error) {
	if !fs.ValidPath(name) {
		return viewInfo{}, fs.ErrInvalid
	}
	item, err := f.view.Resolve(f.ctx, path.Dir(name))
	if err != nil {
		return viewInfo{}, err
	}
	if name == "." {
		return f.stat(&item, name)
	}
	item, ok, err := f.view.child(f.ctx, &item, path.Base(name))
	if err != nil {
		return viewInfo{}, err
	}
	if !ok {
		return viewInfo{}, fs.ErrNotExist
	}
	return f.stat(&item, path.Base(name))
}

// stat describes an item itself.
func (f viewFS) stat(item *TreeItem, name string) (viewInfo, error) {
	if !item.IsDir() {
		info, err := f.view.src.FileInfo(f.ctx, item.File)
		if err != nil {
			return viewInfo{}, err
		}
		return fileStat(name, info), nil
	}
	meta, err := LoadDirMeta(f.ctx, f.view.src, item.Meta)
	if err != nil {
		return viewInfo{}, err
	}
	return viewInfo{name: name, mode: meta.Mode, sys: meta}, nil
}

// pathError wraps an error in the [*fs.PathError] that callers of [io/fs] expect, with the path that they gave.
func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if inner := (*fs.PathError)(nil); errors.As(err, &inner) {
		err = inner.Err
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// viewInfo implements [fs.FileInfo].
type viewInfo struct {
	name string
	size int64
	mode uint32
	sys  any
}

func fileStat(name string, info *object.FileInfo) viewInfo {
	return viewInfo{name: name, size: info.Size, mode: info.Mode, sys: info}
}

func (i viewInfo) Name() string               { return i.name }
func (i viewInfo) Size() int64                { return i.size }
func (i viewInfo) ModTime() time.Time         { return time.Unix(0, 0).UTC() }
func (i viewInfo) IsDir() bool                { return i.Mode().IsDir() }
func (i viewInfo) Sys() any                   { return i.sys }
func (i viewInfo) Stat() (fs.FileInfo, error) { return i, nil }

// Mode implements [fs.FileInfo].
func (i viewInfo) Mode() fs.FileMode {
	mode := fs.FileMode(i.mode & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if i.mode&bit != 0 {
			mode |= flag
		}
	}
	switch i.mode & object.ModeTypeMask {
	case object.ModeDir:
		mode |= fs.ModeDir
	case object.ModeSymlink:
		mode |= fs.ModeSymlink
	}
	return mode
}

// viewFile is an open regular file.
type viewFile struct {
	io.ReadCloser
	viewInfo
}

// viewDir is an open directory.
type viewDir struct {
	viewInfo
	fs      viewFS
	dir     *TreeItem
	name    string
	entries []fs.DirEntry // the entries not read yet
	read    bool
}

func (d *viewDir) Close() error { return nil }

func (d *viewDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

// ReadDir implements [fs.ReadDirFile].
func (d *viewDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if !d.read {
		if err := d.list(); err != nil {
			return nil, pathError("readdir", d.name, err)
		}
		d.read = true
	}
	if n > 0 && len(d.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.entries) {
		n = len(d.entries)
	}
	list := d.entries[:n:n]
	d.entries = d.entries[n:]
	return list, nil
}

func (d *viewDir) list() error {
	list, err := LoadDirTree(d.fs.ctx, d.fs.view.src, d.dir.Tree)
	if err != nil {
		return err
	}
	add := func(item TreeItem, name string) error {
		info, err := d.fs.stat(&item, name)
		d.entries = append(d.entries, fs.FileInfoToDirEntry(info))
		return err
	}
	for _, f := range list.Files {
		if err := add(TreeItem{File: f.Checksum}, f.Name); err != nil {
			return err
		}
	}
	for _, e := range list.Dirs {
		if err := add(TreeItem{Tree: e.Tree, Meta: e.Meta}, e.Name); err != nil {
			return err
		}
	}
	slices.SortFunc(d.entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return nil
}
