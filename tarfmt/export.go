package tarfmt

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// ExportOptions chooses between the versions of the layer format.
type ExportOptions struct {
	// ParentDirs writes a directory entry before the first file of each directory, in every layer. Without it only the
	// final layer has directories.
	ParentDirs bool
}

// ExportCommit writes a whole commit with its detached metadata, as "tar export" does. It omits everything below the
// root directory "sysroot", as [ExportFinal] does.
func ExportCommit(ctx context.Context, w io.Writer, src repo.Source, commit object.Checksum) error {
	return export(ctx, w, src, plan{commit: commit, structure: true, files: true})
}

// ExportChunk writes a layer with the given file objects of a commit, and hard links to them at their paths.
func ExportChunk(ctx context.Context, w io.Writer, src repo.Source, commit object.Checksum, c repo.Files,
	opts ExportOptions) error {
	return export(ctx, w, src, plan{commit: commit, chunk: c, parents: opts.ParentDirs})
}

// ExportFinal writes the layer with the commit itself, its tree objects and all directories, followed by the file
// objects that no other layer has. In an image with a single layer those are all file objects.
//
// Tree objects below the root directory "sysroot" are not written, since the layer has its own repository there. A
// commit with content below it is therefore incomplete after an import.
func ExportFinal(ctx context.Context, w io.Writer, src repo.Source, commit object.Checksum, remainder repo.Files,
	opts ExportOptions) error {
	return export(ctx, w, src, plan{commit: commit, structure: true, chunk: remainder, parents: opts.ParentDirs})
}

// window is how many file objects are read ahead of the stream. It keeps several readers busy with small files. With
// buffers of 256 KiB it takes at most 8 MiB.
const window = 32

// export runs three stages. The planner walks the commit and emits steps; a few workers read the file objects of the
// next steps; this goroutine writes, strictly in the planner's order. So neither the bytes nor the reported error
// depend on timing: an error of the planner or a worker takes its place in the order. The writer returns slots for file
// objects to the planner, which bounds the memory.
func export(ctx context.Context, w io.Writer, src repo.Source, p plan) error {
	ctx, cancel := context.WithCancel(ctx)
	pl := planner{
		plan: p, src: src,
		steps: make(chan step, 4*window), jobs: make(chan *fetch, window), free: make(chan *fetch, window),
	}
	for range window {
		pl.free <- &fetch{ready: make(chan struct{}, 1)}
	}
	var g errgroup.Group
	g.Go(func() error {
		defer close(pl.steps)
		defer close(pl.jobs)
		if err := pl.run(ctx); err != nil {
			_ = pl.send(ctx, step{err: err})
		}
		return nil
	})
	for range min(runtime.GOMAXPROCS(0), 8) {
		g.Go(func() error {
			for f := range pl.jobs {
				f.run(ctx, src)
			}
			return nil
		})
	}
	e := exporter{out: newStreamWriter(w), free: pl.free}
	err := e.run(ctx, pl.steps)
	cancel()
	_ = g.Wait()
	e.out.release()
	return err
}

// exporter writes the planner's steps.
type exporter struct {
	out  *streamWriter
	free chan<- *fetch

	// The object of the last content step. header is as it was after writing the object, since links repeat it.
	current object.Checksum
	header  block
	empty   bool // a regular file without content
}

func (e *exporter) run(ctx context.Context, steps <-chan step) error {
	for s := range steps {
		if err := e.step(ctx, &s); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return e.out.end()
}

func (e *exporter) step(ctx context.Context, s *step) error {
	if s.err != nil {
		return s.err
	}
	switch s.kind {
	case stepSkeleton:
		return e.out.skeleton()
	case stepDir:
		return e.out.dir(s.path, s.attrs)
	case stepMetadata:
		return e.out.file(s.path, s.data)
	case stepContent:
		return e.content(ctx, s.fetch)
	default:
		return e.link(s.path)
	}
}

// content writes an object unless the stream has it already. It keeps the header for the links.
func (e *exporter) content(ctx context.Context, f *fetch) error {
	select {
	case <-f.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := e.object(ctx, f); err != nil {
		return fmt.Errorf("%s (file object %s): %w", f.path, f.checksum, err)
	}
	f.reset()
	e.free <- f
	return nil
}

func (e *exporter) object(ctx context.Context, f *fetch) error {
	if f.err != nil {
		return f.err
	}
	typ, size := byte(typeRegular), f.info.Size
	if f.info.IsSymlink() {
		typ, size = typeSymlink, 0
	}
	if size < 0 {
		return fmt.Errorf("size is %d", size)
	}
	if err := checkXattrs(f.info.Xattrs); err != nil {
		return err
	}
	if n := len(f.xattrs); n > maxXattrBodySize {
		return fmt.Errorf("%w: its extended attributes have %d bytes, and %d are allowed", ErrTooLarge, n, maxXattrBodySize)
	}
	e.current = f.checksum
	e.empty = typ == typeRegular && size == 0
	e.header = newHeader(typ, attributes{uid: f.info.UID, gid: f.info.GID, mode: f.info.Mode}, size)
	if f.infoOnly {
		return nil
	}
	if err := e.out.file(objectPath(f.checksum, "file-xattrs-link"), f.xattrs); err != nil {
		return err
	}
	records, err := paxXattrs(f.info.Xattrs)
	if err != nil {
		return err
	}
	if len(records) > 0 {
		e.out.pax(records)
	}
	var longTarget string
	if typ == typeSymlink {
		long, err := e.header.setTarget(f.info.Target)
		if err != nil {
			return err
		}
		if long {
			longTarget = f.info.Target
		}
	}
	if err := e.out.linkEntry(&e.header, objectPath(f.checksum, "file"), longTarget); err != nil {
		return err
	}
	if err := f.copyTo(ctx, e.out); err != nil {
		return err
	}
	e.out.pad(size)
	return e.out.err
}

// link writes a visible file: a hard link to the object, or a separate file if there is no content to share.
func (e *exporter) link(dest string) error {
	h := e.header
	if e.empty {
		return e.out.entry(&h, dest)
	}
	h[156] = typeHardLink
	putNumber(h.size(), 0)
	target := slotWriter{free: h.linkname()}
	if err := target.put(objectPath(e.current, "file")); err != nil {
		return err
	}
	return e.out.entry(&h, dest)
}
