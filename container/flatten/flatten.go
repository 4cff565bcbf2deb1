// Package flatten reads the layers of an image as one root filesystem, as a container runtime would unpack it. It does
// not need root: owners, modes and xattrs stay in memory, and the contents of files go into temporary files. Package
// plain reads the layers, and package overlay applies them in order.
//
// The result is a [rootfs.Tree], from which another image can be made. Errors about layers that break the rules of tar
// or of images wrap [tarfmt.ErrInvalidStream].
package flatten

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Options are the options of [Open].
type Options struct {
	// TempDir is where the contents of files are stored until the image is closed; empty means the system's temporary
	// directory.
	TempDir string
	// MaxSize is the most bytes that all files of all layers may have together; 0 means [DefaultMaxSize]. Exceeding it is
	// an error that wraps [ErrTooLarge].
	MaxSize int64
	// Strict refuses layers that are not compressed as their media type says: those of an image whose blobs are kept.
	Strict bool
	// Hidden asks for the files that a layer has and the root filesystem does not; see [Image.Hidden].
	Hidden bool
}

// Image is the root filesystem of an image.
type Image struct {
	entries *rootfs.List
	places  []place
	dir     string
	spools  []*os.File
	hidden  []Hidden
	diffIDs []digest.Digest // of the layers
}

var _ rootfs.Tree = (*Image)(nil)

// Open reads all layers of an image, several at a time. It checks diff-ids; the image's reader checks the digests of
// blobs. The caller closes the result.
func Open(ctx context.Context, image *oci.Image, opts Options) (img *Image, err error) {
	dir, err := os.MkdirTemp(opts.TempDir, "ostree-ext-")
	if err != nil {
		return nil, fmt.Errorf("a directory for temporary files (set TMPDIR to another place): %w", err)
	}
	img = &Image{dir: dir}
	defer func() {
		if errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%w (set TMPDIR to another place)", err)
		}
		if err != nil {
			err = errors.Join(err, img.Close())
			img = nil
		}
	}()
	limits := newBudget(opts.MaxSize)
	layers := make([][]entry, len(image.Layers))
	img.spools = make([]*os.File, len(image.Layers))
	img.diffIDs = image.Config.RootFS.DiffIDs
	for i := range layers {
		name := filepath.Join(dir, strconv.Itoa(i))
		if img.spools[i], err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return img, err
		}
	}
	g, run := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range image.Layers {
		l := &image.Layers[i]
		g.Go(func() error {
			s := &spool{number: i, file: img.spools[i], budget: limits}
			err := image.ReadLayer(run, l, oci.ReadOptions{Rest: maxRest, Strict: opts.Strict}, func(r io.Reader) (err error) {
				layers[i], err = s.read(run, r)
				return err
			})
			if err != nil {
				return fmt.Errorf("layer %s: %w", l.Descriptor.Digest, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return img, err
	}
	tree, err := newTree(limits)
	if err != nil {
		return img, err
	}
	for i, entries := range layers {
		if err := tree.Apply(ctx, entries); err != nil {
			return img, fmt.Errorf("layer %s: %w", image.Layers[i].Descriptor.Digest, err)
		}
		if !opts.Hidden {
			layers[i] = nil
		}
	}
	if opts.Hidden {
		if img.hidden, err = hiddenFiles(tree, layers); err != nil {
			return img, err
		}
	}
	_, noCommit := image.CommitLayers()
	img.entries, img.places, err = list(tree, noCommit == nil)
	return img, err
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
func (i *Image) Entries() *rootfs.List { return i.entries }

// Open implements [rootfs.Tree].
func (i *Image) Open(ctx context.Context, index int) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := i.places[index]
	return io.NopCloser(io.NewSectionReader(i.spools[p.spool], p.offset, i.entries.At(index).Size)), nil
}
