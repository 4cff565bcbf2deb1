// Package flatten reads the layers of an image as one root filesystem, as a container runtime would unpack it, without being
// root: owners, modes and xattrs stay in memory, the contents of files go into temporary files.
//
// What comes out is a [rootfs.Tree], of which another image can be made.
package flatten

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// ErrInvalidLayer is wrapped by errors about layers that break the rules of tar or of images.
var ErrInvalidLayer = errors.New("invalid layer")

// Limits on what is held in memory.
const (
	maxEntries = 10_000_000
	maxPath    = 4096
	maxXattrs  = 1 << 20
)

// Options says how an image is read.
type Options struct {
	// TempDir is where the contents of files go until the image is closed; empty means the system's place.
	TempDir string
}

// Image is an image that was read.
type Image struct {
	entries []rootfs.Entry
	places  []place
	dir     string
	spools  []*os.File
}

var _ rootfs.Tree = (*Image)(nil)

// place is where the content of a file is.
type place struct {
	spool  int
	offset int64
}

// Open reads all layers of an image, several at a time. Diff-ids are checked; the blobs' digests are checked by the image's
// reader. The caller closes the result.
func Open(ctx context.Context, image *encapsulate.Prior, opts Options) (img *Image, err error) {
	dir, err := os.MkdirTemp(opts.TempDir, "ostree-ext-")
	if err != nil {
		return nil, err
	}
	img = &Image{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, img.Close())
			img = nil
		}
	}()
	layers := make([][]layerEntry, len(image.Layers))
	img.spools = make([]*os.File, len(image.Layers))
	for i := range layers {
		if img.spools[i], err = os.OpenFile(filepath.Join(dir, fmt.Sprint(i)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return img, err
		}
	}
	g, run := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, l := range image.Layers {
		g.Go(func() error {
			var err error
			if layers[i], err = readLayer(run, image, l, i, img.spools[i]); err != nil {
				return fmt.Errorf("layer %s: %w", l.Digest, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return img, err
	}
	m := newMerge()
	for i, entries := range layers {
		if err := m.apply(entries); err != nil {
			return img, fmt.Errorf("layer %s: %w", image.Layers[i].Digest, err)
		}
		layers[i] = nil
	}
	img.entries, img.places = m.list()
	return img, nil
}

// Close removes the temporary files.
func (i *Image) Close() error {
	var errs []error
	for _, f := range i.spools {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(i.dir))...)
}

// Entries implements [rootfs.Tree].
func (i *Image) Entries() []rootfs.Entry { return i.entries }

// Open implements [rootfs.Tree].
func (i *Image) Open(ctx context.Context, index int) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := i.places[index]
	return io.NopCloser(io.NewSectionReader(i.spools[p.spool], p.offset, i.entries[index].Size)), nil
}

// layerEntry is one entry of a layer's archive.
type layerEntry struct {
	typ    byte
	path   string // absolute and clean
	link   string // of a hard link, absolute and clean
	header repo.FileHeader
	size   int64
	time   time.Time
	device uint64
	place  place
}

// readLayer reads one layer, and puts the contents of its files into the spool.
func readLayer(ctx context.Context, image *encapsulate.Prior, l encapsulate.PriorLayer, n int, spool io.Writer) (list []layerEntry, err error) {
	blob, err := image.Open(ctx, l)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	z, err := encapsulate.Decompress(l.MediaType, blob)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	sum := sha256.New()
	stream := io.TeeReader(contextReader{ctx, z}, sum)
	r := &layerReader{in: tar.NewReader(stream), spool: spool, n: n}
	if err := r.read(); err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, blob); err != nil {
		return nil, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != l.DiffID.Hex {
		return nil, fmt.Errorf("%w: its diff-id is sha256:%s, not %s", ErrInvalidLayer, got, l.DiffID)
	}
	return r.list, nil
}

type layerReader struct {
	in     *tar.Reader
	spool  io.Writer
	n      int
	offset int64
	list   []layerEntry
}

func (r *layerReader) read() error {
	for {
		h, err := r.in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInvalidLayer, err)
		}
		if len(r.list) >= maxEntries {
			return fmt.Errorf("%w: more than %d entries", ErrInvalidLayer, maxEntries)
		}
		e, err := r.entry(h)
		if err != nil {
			return fmt.Errorf("%.200q: %w", h.Name, err)
		}
		if e != nil {
			r.list = append(r.list, *e)
		}
	}
}

func (r *layerReader) entry(h *tar.Header) (*layerEntry, error) {
	p, err := cleanPath(h.Name)
	if err != nil {
		return nil, err
	}
	e := &layerEntry{typ: h.Typeflag, path: p, time: h.ModTime}
	e.header = repo.FileHeader{UID: uint32(h.Uid), GID: uint32(h.Gid), Mode: uint32(h.Mode & 0o7777)}
	if e.header.Xattrs, err = xattrs(h); err != nil {
		return nil, err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		e.header.Mode |= repo.ModeRegular
		e.size, e.place = h.Size, place{r.n, r.offset}
		n, err := io.Copy(r.spool, r.in)
		r.offset += n
		if err != nil {
			return nil, fmt.Errorf("its content: %w", err)
		}
	case tar.TypeDir:
		e.header.Mode |= repo.ModeDir
	case tar.TypeSymlink:
		e.header.Mode, e.header.Target = repo.ModeSymlink|0o777, h.Linkname
		if h.Linkname == "" || len(h.Linkname) > maxPath {
			return nil, fmt.Errorf("%w: a symlink with a target of %d bytes", ErrInvalidLayer, len(h.Linkname))
		}
	case tar.TypeLink:
		if e.link, err = cleanPath(h.Linkname); err != nil {
			return nil, err
		}
	case tar.TypeFifo:
		e.header.Mode |= 0o010000
	case tar.TypeChar, tar.TypeBlock:
		e.header.Mode |= 0o020000
		if h.Typeflag == tar.TypeBlock {
			e.header.Mode ^= 0o040000 // that of a block device is 0060000
		}
		e.device = deviceNumber(h.Devmajor, h.Devminor)
	case tar.TypeXGlobalHeader:
		return nil, nil
	default:
		return nil, fmt.Errorf("%w: an entry of type %q", ErrInvalidLayer, h.Typeflag)
	}
	return e, nil
}

// cleanPath makes the path of an archive absolute. One that leads upwards is an error, though nothing could come of it.
func cleanPath(name string) (string, error) {
	if len(name) > maxPath || strings.Contains(name, "\x00") {
		return "", fmt.Errorf("%w: a path of %d bytes, or one with a NUL", ErrInvalidLayer, len(name))
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%w: the path %.200q leads upwards", ErrInvalidLayer, name)
		}
	}
	return filepath.Clean("/" + name), nil
}

const paxXattr = "SCHILY.xattr."

func xattrs(h *tar.Header) (repo.Xattrs, error) {
	var list []repo.Xattr
	size := 0
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok || name == "" || strings.Contains(name, "\x00") {
			continue
		}
		if size += len(key) + len(value); size > maxXattrs {
			return nil, fmt.Errorf("%w: more than %d bytes of xattrs", ErrInvalidLayer, maxXattrs)
		}
		list = append(list, repo.Xattr{Name: name, Value: []byte(value)})
	}
	return repo.NewXattrs(list), nil
}

// deviceNumber composes a device number as Linux does.
func deviceNumber(major, minor int64) uint64 {
	ma, mi := uint64(major), uint64(minor)
	return mi&0xff | (ma&0xfff)<<8 | (mi&^0xff)<<12 | (ma&^0xfff)<<32
}

// contextReader ends reading when the context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
