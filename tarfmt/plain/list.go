package plain

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// File is something in a layer.
type File struct {
	// Path is absolute and clean.
	Path string
	// Object is what [rootfs.Hash] gives an entry like this, or for a directory the checksum of its dirmeta. It is zero for a
	// hard link.
	Object object.Checksum
	// Link is the path of the file that a hard link is another name of, else empty.
	Link string
}

// maxFiles bounds the entries of one layer.
const maxFiles = 10_000_000

// List reads a layer, whoever wrote it, and says what is in it as [View] shows it: times aside, those in Python's compiled
// files, too. It does not see whether something is there twice, or a link leads nowhere. An error, which is the last that is
// said, wraps [tarfmt.ErrInvalidStream] for a stream that breaks the rules or has whiteouts, which mean something only above other
// layers.
func List(ctx context.Context, r io.Reader) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		in := tar.NewReader(r)
		for n := 0; ; n++ {
			if err := ctx.Err(); err != nil {
				yield(File{}, err)
				return
			}
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(File{}, fmt.Errorf("%w: %w", tarfmt.ErrInvalidStream, err))
				return
			}
			if n == maxFiles {
				yield(File{}, fmt.Errorf("%w: more than %d entries", tarfmt.ErrInvalidStream, maxFiles))
				return
			}
			f, err := file(h, contextReader{ctx, in})
			if err != nil {
				yield(File{}, fmt.Errorf("%.200s: %w", h.Name, err))
				return
			}
			if !yield(f, nil) {
				return
			}
		}
	}
}

func file(h *tar.Header, content io.Reader) (f File, err error) {
	f.Path = path.Join("/", h.Name)
	if slices.Contains(strings.Split(h.Name, "/"), "..") || strings.Contains(f.Path, "/"+whiteoutPrefix) {
		return f, fmt.Errorf("%w: a whiteout, or a path that leads upwards", tarfmt.ErrInvalidStream)
	}
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > math.MaxUint32 || int64(h.Gid) > math.MaxUint32 {
		return f, fmt.Errorf("%w: the owner %d:%d", tarfmt.ErrInvalidStream, h.Uid, h.Gid)
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			// A few bytes would stand for as many zeros as they like.
			return f, fmt.Errorf("%w: a sparse file", tarfmt.ErrInvalidStream)
		}
	}
	if h.Typeflag == tar.TypeLink {
		f.Link = path.Join("/", h.Linkname)
		return f, nil
	}
	f.Object, err = objectOf(h, f.Path, content)
	return f, err
}

func objectOf(h *tar.Header, p string, content io.Reader) (c object.Checksum, err error) {
	e := rootfs.Entry{FileHeader: &object.FileHeader{UID: uint32(h.Uid), GID: uint32(h.Gid), Mode: uint32(h.Mode & 0o7777), Xattrs: xattrs(h)}}
	e.Dir, e.Name = rootfs.Split(p)
	switch h.Typeflag {
	case tar.TypeDir:
		e.Mode |= object.ModeDir
		data, err := object.EncodeDirMeta(&object.DirMeta{UID: e.UID, GID: e.GID, Mode: e.Mode, Xattrs: e.Xattrs})
		if err != nil {
			return c, fmt.Errorf("%w: %w", tarfmt.ErrInvalidStream, err)
		}
		return object.HashMetadata(data), nil
	case tar.TypeSymlink:
		e.Mode, e.Target = object.ModeSymlink|0o777, h.Linkname
		return rootfs.HeaderObject(e)
	case tar.TypeFifo:
		e.Mode |= modeFIFO
		return rootfs.HeaderObject(e)
	case tar.TypeChar, tar.TypeBlock:
		e.Mode |= modeChar
		if h.Typeflag == tar.TypeBlock {
			e.Mode ^= modeChar ^ modeBlock
		}
		e.Device = deviceNumber(h.Devmajor, h.Devminor)
		return rootfs.HeaderObject(e)
	case tar.TypeReg:
		e.Mode |= object.ModeRegular
		s, err := object.FileHasher(e.FileHeader)
		if err != nil {
			return c, fmt.Errorf("%w: %w", tarfmt.ErrInvalidStream, err)
		}
		if strings.HasSuffix(p, bytecodeSuffix) {
			content = &bytecode{r: content}
		}
		if _, err := io.Copy(s, content); err != nil {
			return c, fmt.Errorf("%w: %w", tarfmt.ErrInvalidStream, err)
		}
		s.Sum(c[:0])
		return c, nil
	}
	return c, fmt.Errorf("%w: an entry of type %q", tarfmt.ErrInvalidStream, h.Typeflag)
}

// xattrs returns the xattrs of a header that stay in images.
func xattrs(h *tar.Header) object.Xattrs {
	var list []object.Xattr
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, paxXattr); ok && name != "" && !dropped(name) {
			list = append(list, object.Xattr{Name: name, Value: []byte(value)})
		}
	}
	return object.NewXattrs(list)
}

// deviceNumber composes a device number as Linux does.
func deviceNumber(major, minor int64) uint64 {
	ma, mi := uint64(major), uint64(minor)
	return mi&0xff | (ma&0xfff)<<8 | (mi&^0xff)<<12 | (ma&^0xfff)<<32
}
